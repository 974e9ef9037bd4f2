/**
 * The schemas are the contract that callers read: they must compile, their examples must be true, nothing in them may
 * be left unsaid, and they must name the same values as the code.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { expect } from 'chai'
import { describe, it } from 'mocha'
import { scopes } from '#src/domain/access.ts'
import { bodyFormats } from '#src/domain/body.ts'
import { deliveryStatuses } from '#src/domain/delivery.ts'
import { outcomes } from '#src/domain/outcome.ts'
import { retryDelaySecondsMax, retryDelaysMax, retryPolicyNames } from '#src/domain/retry.ts'
import { signatureSchemes } from '#src/domain/sign.ts'
import { signingKeyBytesMax, signingKeyBytesMin } from '#src/domain/signing-key.ts'
import { methods } from '#src/domain/subscription.ts'
import { headersMax, headerValueBytesMax, paramsMax, urlBytesMax } from '#src/domain/target.ts'
import { statusOf } from '#src/http/problem.ts'

type Schema = { [keyword: string]: unknown }

const folder = new URL('../schemas/', import.meta.url)
const files = readdirSync(folder).filter(file => file.endsWith('.json'))
const read = (file: string): Schema => JSON.parse(readFileSync(new URL(file, folder), 'utf8'))
const schemas = new Map(files.map(file => [file, read(file)]))

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true })
formats.default(ajv)
for (const schema of schemas.values()) ajv.addSchema(schema)

/** What a `$ref` between files, or into one, stands for. */
function resolve(reference: string, from: string): Schema {
  const [file = '', pointer = ''] = reference.split('#')
  return pointer
    .split('/')
    .slice(1)
    .reduce((schema, token) => schema[token] as Schema, schemas.get(file || from)!)
}

/** Every schema inside a schema, with its place; examples and enums are no schemas. */
function* walk(schema: unknown, place: string): Generator<{ schema: Schema; place: string }> {
  if (typeof schema !== 'object' || schema === null) return
  if (!Array.isArray(schema)) yield { schema: schema as Schema, place }
  for (const [keyword, inner] of Object.entries(schema)) {
    if (
      ['examples', 'enum', 'required', 'default', 'const'].includes(keyword) &&
      !place.endsWith('/properties')
    )
      continue
    yield* walk(inner, `${place}/${keyword}`)
  }
}

/** Only schemas proper: the maps under `properties` and `$defs` are not schemas themselves. */
const everySchema = [...schemas].flatMap(([file, schema]) =>
  [...walk(schema, file)].filter(({ place }) => !/\/(properties|\$defs)$/.test(place)),
)

describe('every schema', () => {
  for (const [file, schema] of schemas) {
    it(`${file} is strict JSON Schema 2020-12 under its own name, and its examples are true`, () => {
      const validate = ajv.getSchema(file)
      expect(schema['$id']).to.equal(file)
      expect(schema['title']).to.be.a('string')
      if ('$defs' in schema) return

      expect(schema['description']).to.be.a('string')
      expect(schema['examples']).to.be.an('array').with.length.greaterThan(0)
      for (const example of schema['examples'] as unknown[]) {
        expect(
          validate?.(example),
          `${JSON.stringify(example)}: ${ajv.errorsText(validate?.errors)}`,
        ).to.equal(true)
      }
    })
  }

  it('says of every object which members it has, so that none slips through', () => {
    const open = everySchema.filter(
      ({ schema }) =>
        [schema['type']].flat().includes('object') && (schema['additionalProperties'] ?? true) === true,
    )
    // A sample is the payload of an event type, and a payload is free.
    expect(open.map(({ place }) => place)).to.deep.equal([
      'catalogue.json/properties/samples/additionalProperties',
    ])
  })

  it('describes every property, where it stands or where it points to', () => {
    const mute = everySchema
      .filter(({ place }) => /\/properties\/[^/]+$/.test(place) && !/\/(anyOf|oneOf)\//.test(place))
      .filter(({ schema, place }) => !isDescribed(schema, place.slice(0, place.indexOf('/'))))
    expect(mute.map(({ place }) => place)).to.deep.equal([])
  })

  it('has words for every pattern, since a fault tells them instead of the pattern', () => {
    const mute = everySchema.filter(
      ({ schema }) => ('pattern' in schema || 'not' in schema) && !schema['description'],
    )
    expect(mute.map(({ place }) => place)).to.deep.equal([])
  })

  it('bounds every string, list and map that a caller sends', () => {
    const requests = /^(common|rotate-signing-key|.*-(create|patch|publish|batch|query|fields))\.json\//
    const unbounded = everySchema.filter(({ schema, place }) => requests.test(place) && !isBounded(schema))
    expect(unbounded.map(({ place }) => place)).to.deep.equal([])
  })
})

function isDescribed(schema: Schema, file: string): boolean {
  if (typeof schema['description'] === 'string') return true
  const reference = schema['$ref']
  if (typeof reference !== 'string') return false
  return isDescribed(resolve(reference, file), reference.split('#')[0] || file)
}

function isBounded(schema: Schema): boolean {
  if (
    'enum' in schema ||
    'const' in schema ||
    schema['format'] === 'uuid' ||
    schema['format'] === 'date-time'
  )
    return true
  const types = [schema['type']].flat()
  if (types.includes('string')) return 'maxLength' in schema
  if (types.includes('array')) return 'maxItems' in schema
  if (types.includes('object')) return schema['additionalProperties'] === false || 'maxProperties' in schema
  return true
}

describe('the values that schemas name', () => {
  const fields = 'webhook-subscription-fields.json#/$defs'
  const cases: { of: string; at: string; values: readonly unknown[] }[] = [
    { of: 'scopes', at: 'common.json#/$defs/scope/enum', values: scopes },
    { of: 'delivery statuses', at: 'common.json#/$defs/deliveryStatus/enum', values: deliveryStatuses },
    { of: 'outcomes', at: 'common.json#/$defs/outcome/enum', values: outcomes },
    { of: 'body formats', at: `${fields}/format/enum`, values: bodyFormats },
    { of: 'methods', at: `${fields}/method/enum`, values: methods },
    { of: 'signatures', at: `${fields}/signatures/items/enum`, values: signatureSchemes },
    { of: 'retry policies', at: `${fields}/retryPolicy/anyOf/0/enum`, values: retryPolicyNames },
  ]
  for (const { of, at, values } of cases) {
    it(`are those of the code: ${of}`, () => {
      expect(resolve(at, '')).to.deep.equal(values)
    })
  }

  const limits: { of: string; at: string; value: number }[] = [
    { of: 'a URL', at: `${fields}/url/maxLength`, value: urlBytesMax },
    { of: 'headers', at: `${fields}/headers/maxProperties`, value: headersMax },
    {
      of: 'a header value',
      at: `${fields}/headers/additionalProperties/maxLength`,
      value: headerValueBytesMax,
    },
    { of: 'params', at: `${fields}/params/maxProperties`, value: paramsMax },
    { of: 'a signing key, at least', at: `${fields}/signingKey/minLength`, value: signingKeyBytesMin },
    { of: 'a signing key, at most', at: `${fields}/signingKey/maxLength`, value: signingKeyBytesMax },
    {
      of: 'retry delays',
      at: `${fields}/retryPolicy/anyOf/1/properties/delays/maxItems`,
      value: retryDelaysMax,
    },
    {
      of: 'a retry delay',
      at: `${fields}/retryPolicy/anyOf/1/properties/delays/items/maximum`,
      value: retryDelaySecondsMax,
    },
  ]
  for (const { of, at, value } of limits) {
    it(`have the limit of the code: ${of}`, () => {
      expect(resolve(at, '')).to.equal(value)
    })
  }
})

describe('a problem', () => {
  const problem = { type: 'about:blank', title: 'T', detail: 'D.', requestId: 'r' }

  it('has the codes of the closed list, and no others', () => {
    expect(resolve('problem.json#/properties/code/enum', '')).to.have.members(Object.keys(statusOf))
  })

  for (const [code, status] of Object.entries(statusOf)) {
    it(`${code} goes with ${status} only`, () => {
      const validate = ajv.getSchema('problem.json')
      expect(validate?.({ ...problem, code, status })).to.equal(true)
      expect(validate?.({ ...problem, code, status: 418 })).to.equal(false)
    })
  }
})

describe('replies that belong together', () => {
  const members = (file: string): string[] => Object.keys(schemas.get(file)!['properties'] as Schema)

  it('differ by the secret alone where something is created', () => {
    expect(members('webhook-subscription-created.json')).to.deep.equal([
      ...members('webhook-subscription.json'),
      'signingKey',
    ])
    expect(members('access-key-created.json')).to.deep.equal([...members('access-key.json'), 'secret'])
  })

  it('differ by the payload alone between an event and its summary', () => {
    expect(members('event.json')).to.deep.equal([...members('event-summary.json'), 'payload'])
  })

  it('show what a subscription was told, but for its signing key', () => {
    const told = members('webhook-subscription-create.json').filter(name => name !== 'signingKey')
    expect(members('webhook-subscription.json')).to.include.members(told)
  })

  it('let everything be changed that can be told, but for service and event', () => {
    const told = members('webhook-subscription-create.json')
    expect(members('webhook-subscription-patch.json')).to.have.members([...told, 'status'])
  })
})
