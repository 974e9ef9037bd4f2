/**
 * Input as nobody should send it. Whatever comes is answered with a problem document of a stable code, never with a
 * fault of ours, and nothing of it is stored.
 */

import { expect } from 'chai'
import { after, before, beforeEach, describe, it } from 'mocha'
import { once } from 'node:events'
import { connect } from 'node:net'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { checkReply } from '#src/http/validate.ts'
import type { Client } from '#test/support/api-client.ts'
import { problemOf, startApp, type App, type Tenant } from '#test/support/app.ts'

let app: App
let tenant: Tenant
let client: Client
before(async () => {
  app = await startApp()
})
after(() => app.close())
beforeEach(async () => {
  tenant = await app.newTenant()
  client = tenant.client
})

const event = { service: 'channels', event: 'sms.outbound', payload: { status: 'sent' } }
const eventBytes = Buffer.from(JSON.stringify(event))
const subscription = { service: 'channels', event: 'sms.outbound', url: 'https://example.com/webhook' }

function publish(body: unknown, headers: Record<string, string | undefined> = {}) {
  return client.post(`${tenant.workspace}/events`, body, { headers })
}

/** Everything that a refused request could have left in the tenant. */
async function expectNothingStored(): Promise<void> {
  const { organization, workspace } = tenant
  const names = ['events', 'webhook-subscriptions', 'deliveries', 'access-keys', 'trusted-issuers']
  for (const path of [...names.map(name => `${workspace}/${name}`), `${organization}/trusted-issuers`]) {
    const reply = await client.get(path)
    expect(reply.body, path).to.deep.equal({ results: [] })
  }
  const workspaces = await client.get<{ results: unknown[] }>(`${organization}/workspaces`)
  expect(workspaces.body.results).to.have.length(1)
}

describe('a body', () => {
  const broken = [
    { what: 'empty', body: '', code: 'invalid_json' },
    { what: 'blank', body: ' \r\n\t', code: 'invalid_json' },
    { what: 'cut short', body: eventBytes.subarray(0, -1), code: 'invalid_json' },
    { what: 'followed by more', body: `${eventBytes.toString()}{}`, code: 'invalid_json' },
    { what: 'not JSON', body: 'service=channels', code: 'invalid_json' },
    { what: 'JSON with a comment', body: `${eventBytes.toString()}//`, code: 'invalid_json' },
    { what: 'JSON with a trailing comma', body: '{"service":"channels",}', code: 'invalid_json' },
    { what: 'JSON with single quotes', body: "{'service':'channels'}", code: 'invalid_json' },
    { what: 'JSON with NaN', body: '{"payload":NaN}', code: 'invalid_json' },
    { what: 'JSON with a number that starts with 0', body: '{"payload":01}', code: 'invalid_json' },
    { what: 'JSON with a raw line feed in a string', body: '{"service":"a\nb"}', code: 'invalid_json' },
    { what: 'JSON with a raw NUL', body: '{"service":"a\0"}', code: 'invalid_json' },
    { what: 'JSON after a byte order mark', body: `\ufeff${eventBytes.toString()}`, code: 'invalid_json' },
    { what: 'UTF-16', body: Buffer.from(eventBytes.toString(), 'utf16le'), code: 'invalid_json' },
    { what: 'Latin-1', body: Buffer.from('{"service":"caf\xe9"}', 'latin1'), code: 'invalid_utf8' },
    { what: 'an encoded surrogate', body: withPayload('"\xed\xa0\x80"'), code: 'invalid_utf8' },
    { what: 'an overlong slash', body: withPayload('"\xc0\xaf"'), code: 'invalid_utf8' },
    { what: 'broken UTF-8 in the payload', body: withPayload('"\xff"'), code: 'invalid_utf8' },
    {
      what: 'an envelope with a member twice',
      body: '{"service":"channels","service":"numbers","event":"sms.outbound","payload":1}',
      code: 'invalid_json',
      pointers: ['/service'],
    },
    {
      what: 'an envelope with a member twice, once escaped',
      body: '{"service":"channels","event":"sms.outbound","payload":1,"p\\u0061yload":2}',
      code: 'invalid_json',
      pointers: ['/payload'],
    },
    { what: 'nested 33 deep', body: `{"service":${nested(32)}}`, code: 'invalid_json' },
    { what: 'nested without end', body: '['.repeat(60_000), code: 'invalid_json' },
    { what: 'a payload that is nested 501 deep', body: withPayload(nested(501)), code: 'invalid_json' },
    {
      what: 'a payload that is nested 100,000 deep',
      body: withPayload('['.repeat(100_000)),
      code: 'invalid_json',
    },
  ]
  for (const { what, body, code, pointers = [] } of broken) {
    it(`that is ${what} is refused as ${code}`, async () => {
      const reply = await publish(Buffer.from(body))
      expect(problemOf(reply)).to.deep.equal({ status: 400, code, pointers })
      await expectNothingStored()
    })
  }

  for (const body of ['null', 'true', '0', '"channels"', '[]', `[${eventBytes.toString()}]`]) {
    it(`that is ${body.slice(0, 10)} and not an object is refused`, async () => {
      const reply = await publish(Buffer.from(body))
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: [''] })
      expect(reply.body).to.have.nested.property('errors[0].detail', 'must be an object')
      await expectNothingStored()
    })
  }

  it('may have a payload that is nested 500 deep, and white space around everything', async () => {
    const body = ` { "service" : "channels" , "event" : "sms.outbound" , "payload" : ${nested(500)} } \n`
    expect(await publish(Buffer.from(body))).to.include({ status: 202 })
  })

  const contentTypes = [
    undefined,
    '',
    'text/plain',
    'text/json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonp',
    'application/problem+json',
    'application/json, application/json',
    'application/json; charset=utf-16',
    'application/json; charset=latin1',
    'application/json; charset="utf-8',
    'json',
    '*/*',
  ]
  for (const contentType of contentTypes) {
    it(`with the content type ${contentType ?? 'left out'} is refused`, async () => {
      const reply = await publish(eventBytes, { 'content-type': contentType })
      expect(problemOf(reply)).to.deep.equal({ status: 415, code: 'unsupported_media_type', pointers: [] })
      await expectNothingStored()
    })
  }

  for (const contentType of [
    'application/json; charset=utf-8',
    'Application/JSON;Charset="UTF-8"',
    'application/json;v=1',
  ]) {
    it(`with the content type ${contentType} is taken`, async () => {
      expect(await publish(eventBytes, { 'content-type': contentType })).to.include({ status: 202 })
    })
  }

  const codings = [
    { what: 'gzip', coding: 'gzip', body: gzipSync(eventBytes) },
    { what: 'gzip in capitals', coding: 'GZIP', body: gzipSync(eventBytes) },
    { what: 'brotli', coding: 'br', body: brotliCompressSync(eventBytes) },
    { what: 'identity', coding: 'identity', body: eventBytes },
  ]
  for (const { what, coding, body } of codings) {
    it(`in ${what} is taken`, async () => {
      const reply = await publish(body, { 'content-encoding': coding })
      expect(reply.status).to.equal(202)
      const { id } = reply.body as { id: string }
      const read = await client.get(`${tenant.workspace}/events/${id}`)
      expect(read.body).to.deep.include({ payload: event.payload })
    })
  }

  const bomb = Buffer.concat([Buffer.from('{"payload":"'), Buffer.alloc(20_000_000, 'a')])
  const brokenCodings = [
    {
      what: 'gzip that is cut short',
      coding: 'gzip',
      body: gzipSync(eventBytes).subarray(0, -5),
      status: 400,
    },
    {
      what: 'gzip with a wrong checksum',
      coding: 'gzip',
      body: withoutChecksum(gzipSync(eventBytes)),
      status: 400,
    },
    { what: 'gzip that is none', coding: 'gzip', body: eventBytes, status: 400 },
    { what: 'brotli that is none', coding: 'br', body: gzipSync(eventBytes), status: 400 },
    {
      what: 'brotli that is cut short',
      coding: 'br',
      body: brotliCompressSync(eventBytes).subarray(0, -3),
      status: 400,
    },
    { what: 'an empty gzip', coding: 'gzip', body: Buffer.alloc(0), status: 400 },
    { what: 'a gzip bomb', coding: 'gzip', body: gzipSync(bomb), status: 413 },
    { what: 'a brotli bomb', coding: 'br', body: brotliCompressSync(bomb), status: 413 },
    { what: 'deflate', coding: 'deflate', body: deflateSync(eventBytes), status: 415 },
    { what: 'zstd', coding: 'zstd', body: eventBytes, status: 415 },
    { what: 'gzip twice', coding: 'gzip, gzip', body: gzipSync(gzipSync(eventBytes)), status: 415 },
  ]
  const codes: Record<number, string> = {
    400: 'invalid_encoding',
    413: 'payload_too_large',
    415: 'unsupported_media_type',
  }
  for (const { what, coding, body, status } of brokenCodings) {
    it(`in ${what} is refused with ${status}`, async () => {
      const reply = await publish(body, { 'content-encoding': coding })
      expect(problemOf(reply)).to.deep.equal({ status, code: codes[status], pointers: [] })
      await expectNothingStored()
    })
  }

  it('that is larger than its route takes is refused with 413, whether it says so or not', async () => {
    const large = Buffer.from(JSON.stringify({ name: 'a'.repeat(70_000) }))
    const said = await app.operator.post('/organizations', large)
    expect(problemOf(said)).to.deep.equal({ status: 413, code: 'payload_too_large', pointers: [] })

    const unsaid = await sendRaw(app.port, [
      'POST /organizations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n',
      `Authorization: AccessKey ${app.operatorKey}\r\nTransfer-Encoding: chunked\r\n\r\n`,
      ...Array.from({ length: 10 }, () => `2000\r\n${'a'.repeat(0x2000)}\r\n`),
      '0\r\n\r\n',
    ])
    expect(unsaid).to.include({ status: 413 })
    expect(unsaid.body).to.include({ code: 'payload_too_large' })
  })

  it('in chunks is taken', async () => {
    const reply = await sendRaw(app.port, [
      'POST /organizations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n',
      `Authorization: AccessKey ${app.operatorKey}\r\nTransfer-Encoding: chunked\r\n\r\n`,
      '3\r\n{"n\r\n',
      '9\r\name":"A"}\r\n0\r\n\r\n',
    ])
    expect(reply).to.include({ status: 201 })
    expect(reply.body).to.include({ name: 'A' })
  })

  it('that is never finished is not taken, and leaves no fault in the log', async () => {
    const { path, head } = rawPublish(200)
    const socket = connect(app.port, '127.0.0.1')
    socket.write(`${head}${eventBytes.toString()}`)
    await once(socket, 'connect')
    socket.destroy()
    await once(socket, 'close')
    expect(path).to.include(tenant.workspaceId)
    await expectNothingStored()
  })

  function rawPublish(contentLength: number): { path: string; head: string } {
    const path = `${tenant.workspace}/events`
    const authorization = `Authorization: AccessKey ${app.operatorKey}`
    const head = `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${authorization}\r\nContent-Type: application/json\r\nContent-Length: ${contentLength}\r\n\r\n`
    return { path, head }
  }
})

type JsonType = 'null' | 'boolean' | 'number' | 'string' | 'array' | 'object'

const valuesOf: Record<JsonType, unknown> = {
  null: null,
  boolean: false,
  number: 0,
  string: 'x',
  array: [],
  object: {},
}

type Body = {
  what: string
  method: 'post' | 'patch'
  path(): string | Promise<string>
  good: Record<string, unknown>
  /** The JSON types that each property may have. */
  types: Record<string, JsonType[]>
}

const any: JsonType[] = ['null', 'boolean', 'number', 'string', 'array', 'object']

const subscriptionTypes: Record<string, JsonType[]> = {
  url: ['string'],
  eventFilters: ['array', 'null'],
  format: ['string'],
  name: ['string', 'null'],
  description: ['string', 'null'],
  metadata: ['object', 'null'],
  signingKey: ['string'],
  signatures: ['array'],
  method: ['string'],
  headers: ['object'],
  params: ['object'],
  auth: ['object', 'null'],
  timeoutMs: ['number', 'null'],
  retryPolicy: ['string', 'object', 'null'],
  successStatus: ['string', 'array'],
}

const bodies: Body[] = [
  {
    what: 'an organization',
    method: 'post',
    path: () => '/organizations',
    good: { name: 'Acme' },
    types: { name: ['string'] },
  },
  {
    what: 'a workspace',
    method: 'post',
    path: () => `${tenant.organization}/workspaces`,
    good: { name: 'production' },
    types: { name: ['string'] },
  },
  {
    what: 'a change of a workspace',
    method: 'patch',
    path: () => tenant.workspace,
    good: { name: 'production' },
    types: { name: ['string'] },
  },
  {
    what: 'an access key',
    method: 'post',
    path: () => `${tenant.workspace}/access-keys`,
    good: { name: 'key', scopes: ['events:read'] },
    types: { name: ['string'], scopes: ['array'], expiresAt: ['string'] },
  },
  {
    what: 'a trusted issuer',
    method: 'post',
    path: () => `${tenant.workspace}/trusted-issuers`,
    good: {
      issuer: 'https://issuer.example',
      audience: 'hookseal',
      jwksUrl: 'https://issuer.example/jwks',
      algorithms: ['ES256'],
      scopes: ['events:read'],
    },
    types: {
      issuer: ['string'],
      audience: ['string'],
      jwksUrl: ['string'],
      algorithms: ['array'],
      scopes: ['array'],
      scopeClaim: ['string'],
    },
  },
  {
    what: 'a subscription',
    method: 'post',
    path: () => `${tenant.workspace}/webhook-subscriptions`,
    good: subscription,
    types: { service: ['string'], event: ['string'], ...subscriptionTypes },
  },
  {
    what: 'a change of a subscription',
    method: 'patch',
    path: newSubscriptionPath,
    good: { format: 'raw' },
    types: { ...subscriptionTypes, status: ['string'], service: [], event: [] },
  },
  {
    what: 'a rotation',
    method: 'post',
    path: async () => `${await newSubscriptionPath()}/rotate-signing-key`,
    good: {},
    types: { overlapSeconds: ['number'], signingKey: ['string'] },
  },
  {
    what: 'an event',
    method: 'post',
    path: () => `${tenant.workspace}/events`,
    good: event,
    types: { service: ['string'], event: ['string'], payload: any, id: ['string'], occurredAt: ['string'] },
  },
  {
    what: 'a batch',
    method: 'post',
    path: () => `${tenant.workspace}/events/batch`,
    good: { events: [event] },
    types: { events: ['array'] },
  },
]

async function newSubscriptionPath(): Promise<string> {
  const reply = await client.post<{ id: string }>(`${tenant.workspace}/webhook-subscriptions`, subscription)
  expect(reply.status).to.equal(201)
  return `${tenant.workspace}/webhook-subscriptions/${reply.body.id}`
}

/** What is stored of events and subscriptions, to see that a refusal changed nothing. */
async function stored(): Promise<unknown[]> {
  const lists = ['events', 'webhook-subscriptions', 'access-keys', 'trusted-issuers']
  const replies = await Promise.all(lists.map(list => client.get(`${tenant.workspace}/${list}?limit=100`)))
  return [...replies.map(({ body }) => body), (await client.get(tenant.workspace)).body]
}

for (const { what, method, path, good, types } of bodies) {
  describe(`the body of ${what}`, () => {
    let target: string
    let before: unknown[]
    beforeEach(async () => {
      target = await path()
      before = await stored()
    })

    async function expectRefused(
      body: unknown,
      code: string,
      pointers: string[],
      status = 422,
    ): Promise<void> {
      const reply = await app.operator[method](target, body)
      expect(problemOf(reply), JSON.stringify(body)).to.deep.equal({ status, code, pointers })
    }

    for (const [property, right] of Object.entries(types)) {
      const wrong = any.filter(type => !right.includes(type))
      if (wrong.length > 0) {
        it(`takes no ${wrong.join(', ')} as ${property}`, async () => {
          for (const type of wrong) {
            await expectRefused({ ...good, [property]: valuesOf[type] }, 'validation_failed', [
              `/${property}`,
            ])
          }
          expect(await stored()).to.deep.equal(before)
        })
      }
      if (right.includes('string') && property !== 'payload') {
        it(`takes no control characters and no half characters in ${property}`, async () => {
          for (const value of [
            'a\0b',
            '\u0007',
            'a\u007f',
            'a\u0085b',
            'a\ud800b',
            '\udc00\ud800',
            'a\nb',
            'a\tb',
          ]) {
            await expectRefused({ ...good, [property]: value }, 'validation_failed', [`/${property}`])
          }
          expect(await stored()).to.deep.equal(before)
        })
      }
    }

    const required = Object.keys(good).filter(name => name !== 'jwksUrl')
    if (method === 'post' && required.length > 0) {
      it(`needs ${required.join(', ')}`, async () => {
        for (const name of required) {
          const { [name]: _, ...rest } = good
          await expectRefused(rest, 'validation_failed', [`/${name}`])
        }
        expect(await stored()).to.deep.equal(before)
      })
    }

    it('takes no property that it does not know', async () => {
      for (const name of [
        'id2',
        'Name',
        'constructor',
        'prototype',
        'toString',
        'hasOwnProperty',
        '',
        'a/b~c',
        ' name',
      ]) {
        const pointer = `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
        await expectRefused({ ...good, [name]: { prototype: { isAdmin: true } } }, 'validation_failed', [
          pointer,
        ])
      }
      expect(await stored()).to.deep.equal(before)
    })

    it('takes no __proto__, however it is spelled', async () => {
      const members = JSON.stringify(good).slice(1)
      const separator = members === '}' ? '' : ','
      for (const name of ['__proto__', '__pro\\u0074o__']) {
        const body = Buffer.from(`{"${name}":{"isAdmin":true}${separator}${members}`)
        await expectRefused(body, 'validation_failed', ['/__proto__'])
      }
      expect(await stored()).to.deep.equal(before)
      expect({}).to.not.have.property('isAdmin')
    })

    it('takes no member twice', async () => {
      const body = Buffer.from(`{"name":"a","name":"a"}`)
      await expectRefused(body, 'invalid_json', ['/name'], 400)
      expect(await stored()).to.deep.equal(before)
    })
  })
}

describe('a request that Node would answer alone', () => {
  const authorization = () => `Authorization: AccessKey ${app.operatorKey}\r\nConnection: close\r\n`
  const rest = () => `Host: localhost\r\n${authorization()}`
  const refused: { what: string; request: () => string }[] = [
    { what: 'without a Host', request: () => `GET /organizations HTTP/1.1\r\n${authorization()}\r\n` },
    { what: 'with two Hosts', request: () => `GET /organizations HTTP/1.1\r\nHost: other\r\n${rest()}\r\n` },
    { what: 'with an unknown method', request: () => `FETCH /organizations HTTP/1.1\r\n${rest()}\r\n` },
    {
      what: 'with a raw byte in the path',
      request: () => `GET /organizations/\xe9 HTTP/1.1\r\n${rest()}\r\n`,
    },
    { what: 'with a backslash for a path', request: () => `GET \\organizations HTTP/1.1\r\n${rest()}\r\n` },
    {
      what: 'with a URL of 20,000 bytes',
      request: () => `GET /${'a'.repeat(20_000)} HTTP/1.1\r\n${rest()}\r\n`,
    },
    {
      what: 'with 101 headers',
      request: () => `GET /organizations HTTP/1.1\r\n${'X: y\r\n'.repeat(101)}${rest()}\r\n`,
    },
    {
      what: 'with headers of 30,000 bytes',
      request: () => `GET /organizations HTTP/1.1\r\nX: ${'y'.repeat(30_000)}\r\n${rest()}\r\n`,
    },
    {
      what: 'with NUL in a header',
      request: () => `GET /organizations HTTP/1.1\r\nX: a\0b\r\n${rest()}\r\n`,
    },
    {
      what: 'with a folded header',
      request: () => `GET /organizations HTTP/1.1\r\nX: a\r\n b\r\n${rest()}\r\n`,
    },
    {
      what: 'with a space before a colon',
      request: () => `GET /organizations HTTP/1.1\r\nX : a\r\n${rest()}\r\n`,
    },
    {
      what: 'with two kinds of length',
      request: () =>
        `POST /organizations HTTP/1.1\r\n${rest()}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    },
    {
      what: 'with two lengths',
      request: () =>
        `POST /organizations HTTP/1.1\r\n${rest()}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`,
    },
    {
      what: 'with a negative length',
      request: () => `POST /organizations HTTP/1.1\r\n${rest()}Content-Length: -3\r\n\r\n`,
    },
    {
      what: 'with a broken chunk',
      request: () =>
        `POST /organizations HTTP/1.1\r\n${rest()}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`,
    },
    { what: 'of another HTTP', request: () => `GET /organizations HTTP/3.7\r\n${rest()}\r\n` },
    { what: 'of HTTP/2', request: () => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' },
    { what: 'of TLS', request: () => '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n' },
  ]
  for (const { what, request } of refused) {
    it(`${what} is refused with a problem`, async () => {
      const reply = await sendRaw(app.port, [request()])
      expect(reply.status).to.equal(400)
      expect(reply.body).to.include({ code: 'invalid_request', status: 400 })
      expect(reply.headers).to.match(/^content-type: application\/problem\+json$/im)
      expect(checkReply('problem', reply.body)).to.deep.equal([])
      const { requestId } = reply.body as { requestId: string }
      expect(reply.headers.toLowerCase()).to.include(`x-request-id: ${requestId}`)
    })
  }

  const taken: { what: string; request: () => string; status: number }[] = [
    { what: 'of HTTP/1.0 without a Host', request: () => 'GET /healthz HTTP/1.0\r\n\r\n', status: 200 },
    {
      what: 'with a whole URL as its target',
      request: () => `GET https://other.example:9/organizations?limit=1 HTTP/1.1\r\n${rest()}\r\n`,
      status: 200,
    },
    {
      what: 'with an unknown expectation',
      request: () => `GET /organizations HTTP/1.1\r\n${rest()}Expect: miracles\r\n\r\n`,
      status: 200,
    },
    {
      what: 'that wants another protocol',
      request: () =>
        `GET /organizations HTTP/1.1\r\n${rest().replace('close', 'close, Upgrade')}Upgrade: websocket\r\n\r\n`,
      status: 200,
    },
    {
      what: 'with a body that a GET does not take',
      request: () => `GET /organizations HTTP/1.1\r\n${rest()}Content-Length: 5\r\n\r\n{"a":`,
      status: 200,
    },
    { what: 'that asks about everything', request: () => `OPTIONS * HTTP/1.1\r\n${rest()}\r\n`, status: 404 },
    { what: 'with half a percent-encoding', request: () => `GET /% HTTP/1.1\r\n${rest()}\r\n`, status: 404 },
    {
      what: 'with a wrong percent-encoding',
      request: () => `GET /workspaces/%zz/events HTTP/1.1\r\n${rest()}\r\n`,
      status: 404,
    },
    {
      what: 'with broken UTF-8 in its path',
      request: () => `GET /workspaces/%ff%fe HTTP/1.1\r\n${rest()}\r\n`,
      status: 404,
    },
    {
      what: 'with an encoded NUL in its path',
      request: () => `GET /organizations/%00 HTTP/1.1\r\n${rest()}\r\n`,
      status: 404,
    },
    {
      what: 'with dots in its path',
      request: () => `GET /x/../organizations HTTP/1.1\r\n${rest()}\r\n`,
      status: 404,
    },
    {
      what: 'with a path of 9,000 bytes',
      request: () => `GET /${'a'.repeat(9_000)} HTTP/1.1\r\n${rest()}\r\n`,
      status: 404,
    },
    {
      what: 'with broken UTF-8 in its query',
      request: () => `GET /organizations?limit=%ff&%zz HTTP/1.1\r\n${rest()}\r\n`,
      status: 422,
    },
    {
      what: 'with 4,000 parameters',
      request: () => `GET /organizations?${'a&'.repeat(4_000)} HTTP/1.1\r\n${rest()}\r\n`,
      status: 422,
    },
  ]
  for (const { what, request, status } of taken) {
    it(`${what} is answered with ${status}`, async () => {
      const reply = await sendRaw(app.port, [request()])
      expect(reply.status).to.equal(status)
      expect(reply.headers).to.match(/^x-request-id: /im)
      if (status >= 400) expect(checkReply('problem', reply.body)).to.deep.equal([])
    })
  }

  it('for the head of a list has no body, and the length of the list', async () => {
    const reply = await sendRaw(app.port, [`HEAD ${tenant.workspace}/events HTTP/1.1\r\n${rest()}\r\n`])
    expect(reply).to.include({ status: 200, body: undefined })
    expect(reply.headers).to.match(/^content-length: 14$/im)
  })
})

type RawReply = { status: number; headers: string; body: unknown }

/** Sends these bytes as they are (Latin-1) on a connection of their own, and reads until the service closes it. */
async function sendRaw(port: number, parts: readonly string[]): Promise<RawReply> {
  const socket = connect(port, '127.0.0.1')
  socket.setTimeout(5_000, () => socket.destroy(new Error('no reply within 5 s')))
  let text = ''
  socket.setEncoding('utf8').on('data', chunk => (text += chunk))
  for (const part of parts) socket.write(part, 'latin1')
  await once(socket, 'close')
  const [, status, headers = '', body] = /^HTTP\/1\.1 (\d{3}) [^\r]*\r\n(.*?)\r\n\r\n(.*)$/s.exec(text) ?? []
  return {
    status: Number(status),
    headers: headers.replaceAll('\r', ''),
    body: body ? JSON.parse(body) : undefined,
  }
}

/** An event whose payload is this text, in Latin-1, so that it can hold any bytes. */
function withPayload(payload: string): Buffer {
  return Buffer.from(`{"service":"channels","event":"sms.outbound","payload":${payload}}`, 'latin1')
}

function nested(levels: number): string {
  return '['.repeat(levels) + ']'.repeat(levels)
}

/** The eight last bytes of a gzip hold its checksum and length (RFC 1952 section 2.3.1). */
function withoutChecksum(coded: Buffer): Buffer {
  return Buffer.concat([coded.subarray(0, -8), Buffer.alloc(8)])
}
