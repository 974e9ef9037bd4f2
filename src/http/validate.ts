/**
 * Checks requests and replies against the JSON Schemas of `schemas/`, and says in words what is wrong. Schemas are
 * compiled when they are first needed: all of them at once would take 0.15 s of every start.
 */
import { readdirSync, readFileSync } from 'node:fs'
import assert from 'node:assert/strict'
import {
  Ajv2020,
  type AnySchemaObject,
  type ErrorObject,
  type Options,
  type ValidateFunction,
} from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { faultsMax, type Fault } from '../errors.ts'

/**
 * What is wrong with a parsed body, at most `faultsMax` faults and one per place; none when it fits. Pointers are JSON
 * Pointers (RFC 6901) into the body. Parts that were kept as bytes may stand in it as Buffers where the schema allows
 * any value. Nothing is changed: defaults are not filled in.
 *
 * Control characters and lone surrogates are not looked for here, `domain/json.ts` has refused them.
 */
export function validateBody(schemaName: string, body: unknown): Fault[] {
  const check = validatorFor('first', schemaName)
  if (check(body)) return []
  if (!isSmall(body)) return faultsOf(check.errors, bodyWords)

  const checkAll = validatorFor('all', schemaName)
  checkAll(body)
  return faultsOf(checkAll.errors, bodyWords)
}

/**
 * The parameters of a query string with defaults filled in and numbers as numbers; or what is wrong with them, with
 * pointers of the form `?limit`. Unknown, repeated and empty parameters are faults: ignoring a misspelt filter would
 * answer with what the caller did not ask for.
 */
export function validateQuery(
  schemaName: string,
  params: URLSearchParams,
): { value: Record<string, unknown> } | Fault[] {
  const value: Record<string, unknown> = Object.fromEntries(params)
  const faults = [...new Set(params.keys())].flatMap(name => faultsOfParam(name, params.getAll(name)))
  if (faults.length > 0) return faults.slice(0, faultsMax)

  const check = validatorFor('query', schemaName)
  if (!check(value)) return faultsOf(check.errors, queryWords)

  // ajv reads numbers as JavaScript does: 0x10, 1e1 and " 5" would do as well.
  const misspelt = Object.keys(value).filter(
    name => params.has(name) && String(value[name]) !== params.get(name),
  )
  if (misspelt.length > 0)
    return misspelt.map(name => ({ pointer: `?${name}`, detail: 'must be written in digits only' }))
  return { value }
}

/** Where a reply, as parsed back from its JSON, differs from its schema; empty when it fits. Any difference is our bug. */
export function checkReply(schemaName: string, reply: unknown): string[] {
  const check = validatorFor('first', schemaName)
  if (check(reply)) return []
  return faultsOf(check.errors, bodyWords).map(
    ({ pointer, detail }) => `${pointer || 'the reply'}: ${detail}`,
  )
}

/** `first` stops at the first fault, so that what a hostile body costs does not grow with it. */
type Mode = 'first' | 'all' | 'query'

const optionsOf: Record<Mode, Options> = {
  first: { allErrors: false },
  all: { allErrors: true },
  query: { allErrors: true, coerceTypes: true, useDefaults: true },
}

const instances = new Map<Mode, Ajv2020>()
const validators = new Map<string, ValidateFunction>()

function validatorFor(mode: Mode, schemaName: string): ValidateFunction {
  const key = `${mode} ${schemaName}`
  const known = validators.get(key)
  if (known !== undefined) return known

  const compiled = instanceFor(mode).getSchema(`${schemaName}.json`)
  assert(compiled, `there is no schema ${schemaName}`)
  validators.set(key, compiled)
  return compiled
}

function instanceFor(mode: Mode): Ajv2020 {
  const known = instances.get(mode)
  if (known !== undefined) return known

  // The schemas are ours and a test checks them against their dialect: doing it here would slow every start.
  const ajv = new Ajv2020({
    strict: true,
    allowUnionTypes: true,
    verbose: true,
    validateSchema: false,
    ...optionsOf[mode],
  })
  formats.default(ajv, ['date-time', 'json-pointer'])
  ajv.addFormat('uuid', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i)
  for (const schema of readSchemas()) ajv.addSchema(schema)
  instances.set(mode, ajv)
  return ajv
}

const folder = new URL('../../schemas/', import.meta.url)

function readSchemas(): AnySchemaObject[] {
  return readdirSync(folder)
    .filter(file => file.endsWith('.json'))
    .map(file => JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as AnySchemaObject)
}

/** Values in a body, and items in one of its lists, up to which all faults are looked for; else only the first. */
const valuesMax = 10_000
const itemsMax = 1_000

/**
 * Whether looking for every fault is cheap. ajv copies the errors of a list at each of its items: a list of 10,000
 * empty objects would take half a second.
 */
function isSmall(body: unknown): boolean {
  const open = [body]
  let count = 0
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) continue
    const inner: unknown[] = Object.values(value)
    count += inner.length
    if (count > valuesMax || (Array.isArray(value) && value.length > itemsMax)) return false
    open.push(...inner)
  }
  return true
}

function faultsOfParam(name: string, values: readonly string[]): Fault[] {
  const pointer = `?${name}`
  if (values.length > 1) return [{ pointer, detail: 'must be given only once' }]
  if (values[0] === '') return [{ pointer, detail: 'must not be empty; leave it out instead' }]
  if (/\p{Cc}/u.test(name + values[0])) return [{ pointer, detail: 'must not contain control characters' }]
  return []
}

/** How one kind of input is spoken of. */
type Words = { member: string; pointerTo(pointer: string): string }

const bodyWords: Words = { member: 'property', pointerTo: pointer => pointer }
const queryWords: Words = { member: 'parameter', pointerTo: pointer => `?${unescapeToken(pointer.slice(1))}` }

function faultsOf(errors: ErrorObject[] | null | undefined, words: Words): Fault[] {
  assert(errors, 'ajv says that something is wrong, but not what')
  const faults = new Map<string, Fault>()
  for (const error of withoutNoise(errors)) {
    const pointer = words.pointerTo(placeOf(error))
    if (!faults.has(pointer)) faults.set(pointer, { pointer, detail: detailOf(error, words) })
    if (faults.size === faultsMax) break
  }
  return [...faults.values()]
}

/**
 * The errors a person wants to read. What a name in `propertyNames` did wrong is said by an error of its own. Where
 * there are alternatives, ajv tells what each of them had to say: worth reading is only the one for a list or an
 * object if that is what was given; else the sentence that names all alternatives.
 */
function withoutNoise(errors: readonly ErrorObject[]): ErrorObject[] {
  const hidden = new Set(errors.filter(({ keyword }) => keyword === 'propertyNames'))
  for (const error of errors) {
    if (error.keyword !== 'anyOf' && error.keyword !== 'oneOf') continue

    const branches = error.schema as AnySchemaObject[]
    const chosen = branches.findIndex(branch => isCompositeOf(branch['type'], error.data))
    const inner = errors.filter(({ schemaPath }) => schemaPath.startsWith(`${error.schemaPath}/`))
    for (const other of inner) {
      if (!other.schemaPath.startsWith(`${error.schemaPath}/${chosen}/`)) hidden.add(other)
    }
    if (chosen >= 0) hidden.add(error)
  }
  return errors.filter(error => !hidden.has(error))
}

function isCompositeOf(type: unknown, value: unknown): boolean {
  if (Array.isArray(value)) return type === 'array'
  return type === 'object' && typeof value === 'object' && value !== null
}

/** Where the fault is; of a missing or unknown member, where it is or would be. */
function placeOf({ instancePath, keyword, params, propertyName }: ErrorObject): string {
  const name =
    keyword === 'required' ? params['missingProperty'] : (params['additionalProperty'] ?? propertyName)
  return typeof name === 'string' ? `${instancePath}/${escapeToken(name)}` : instancePath
}

function detailOf(error: ErrorObject, words: Words): string {
  const schema: AnySchemaObject = error.parentSchema ?? {}
  const detail = detailOfKeyword(error, schema, words)
  return error.propertyName === undefined ? detail : `the name ${detail}`
}

function detailOfKeyword(
  { keyword, params, message }: ErrorObject,
  schema: AnySchemaObject,
  words: Words,
): string {
  switch (keyword) {
    case 'required':
      return 'is required'
    case 'additionalProperties':
      return `unknown ${words.member}; known ones are: ${knownNames(schema).join(', ')}`
    case 'type':
      return `must be ${typesInWords(schema['type'])}`
    case 'enum':
    case 'const':
    case 'anyOf':
      return `must be ${inWords(schema)}`
    case 'oneOf':
      return `must have exactly one of: ${schema['oneOf'].flatMap((branch: AnySchemaObject) => branch['required']).join(', ')}`
    case 'not':
      return asClause(schema['description'])
    case 'format':
    case 'pattern':
      return formatsInWords[schema['format']] ?? `must have this form: ${asClause(schema['description'])}`
    case 'minLength':
    case 'maxLength':
      return `must have ${rangeInWords(schema['minLength'], schema['maxLength'])} characters`
    case 'minItems':
    case 'maxItems':
      return `must have ${rangeInWords(schema['minItems'], schema['maxItems'])} items`
    case 'minimum':
    case 'maximum':
      return `must be ${rangeInWords(schema['minimum'], schema['maximum'])}`
    case 'minProperties':
      return `must have at least one of: ${knownNames(schema).join(', ')}`
    case 'maxProperties':
      return `must have at most ${schema['maxProperties']} members`
    case 'uniqueItems':
      return `must not hold the same value twice, as items ${[params['i'], params['j']].sort((a, b) => a - b).join(' and ')} do`
    default:
      return message ?? 'is not valid'
  }
}

const formatsInWords: Record<string, string> = {
  uuid: 'must be a UUID',
  'date-time': 'must be a date and time with its zone (RFC 3339), such as 2026-03-01T09:30:00Z',
}

const typeInWords: Record<string, string> = {
  string: 'a string',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  object: 'an object',
  array: 'a list',
  null: 'null',
}

function typesInWords(types: string | string[]): string {
  return [types]
    .flat()
    .map(type => typeInWords[type])
    .join(' or ')
}

/** What a value can be: the alternatives, the listed values, or a type. */
function inWords(schema: AnySchemaObject): string {
  if ('anyOf' in schema) return [...new Set(schema['anyOf'].map(inWords))].join(', or ')
  if ('const' in schema) return String(schema['const'])
  if ('enum' in schema) return `one of: ${schema['enum'].join(', ')}`
  return 'type' in schema ? typesInWords(schema['type']) : 'of another form'
}

function rangeInWords(min: number | undefined, max: number | undefined): string {
  const [from, to] = [min?.toLocaleString('en'), max?.toLocaleString('en')]
  if (from === undefined) return `at most ${to}`
  return to === undefined ? `at least ${from}` : `between ${from} and ${to}`
}

/** The members that may be given; one whose schema is `not` is only there to say why it may not. */
function knownNames(schema: AnySchemaObject): string[] {
  const properties: Record<string, AnySchemaObject> = schema['properties'] ?? {}
  return Object.keys(properties).filter(name => !('not' in properties[name]!))
}

/** A description as the end of a sentence. */
function asClause(description: string): string {
  return description.charAt(0).toLowerCase() + description.slice(1).replace(/\.$/, '')
}

/** A reference token of a JSON Pointer (RFC 6901 section 3). */
function escapeToken(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}

function unescapeToken(token: string): string {
  return token.replaceAll('~1', '/').replaceAll('~0', '~')
}
