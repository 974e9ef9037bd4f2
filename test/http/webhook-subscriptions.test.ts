/** Webhook subscriptions over HTTP: every field, its rules and its defaults, and what a change does to deliveries. */

import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { randomBytes, randomUUID } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { problemOf, poll, startApp, type App, type Tenant } from '#test/support/app.ts'
import type { Reply } from '#test/support/api-client.ts'
import { startReceiver, type Received, type Receiver } from '#test/support/receiver.ts'

type Subscription = Record<string, unknown> & { id: string; url: string; status: string; updatedAt: string }
type Created = Subscription & { signingKey: string }
type Page = { results: Subscription[]; nextPageToken?: string }

const wanted = { service: 'channels', event: 'sms.outbound', url: 'https://example.com/webhook' }

let app: App
let receiver: Receiver
let tenant: Tenant
before(async () => {
  app = await startApp({ worker: true })
  receiver = await startReceiver()
  tenant = await app.newTenant()
})
after(async () => {
  await app.close()
  await receiver[Symbol.asyncDispose]()
})

function create(body: object, of: Tenant = tenant): Promise<Reply<Created>> {
  return of.client.post<Created>(`${of.workspace}/webhook-subscriptions`, body)
}

async function created(body: object, of: Tenant = tenant): Promise<Created> {
  const reply = await create(body, of)
  expect(reply.status, JSON.stringify(reply.body)).to.equal(201)
  return reply.body
}

function pathOf({ id }: { id: string }, of: Tenant = tenant): string {
  return `${of.workspace}/webhook-subscriptions/${id}`
}

async function publish(of: Tenant, payload: unknown = {}): Promise<string> {
  const event = { service: wanted.service, event: wanted.event, payload }
  const reply = await of.client.post<{ id: string }>(`${of.workspace}/events`, event)
  expect(reply.status).to.equal(202)
  return reply.body.id
}

async function countOf(of: Tenant): Promise<number> {
  const { body } = await of.client.get<Page>(`${of.workspace}/webhook-subscriptions?limit=100`)
  return body.results.length
}

describe('a subscription', () => {
  it('is created with defaults that the reply shows', async () => {
    const reply = await create(wanted)
    expect(reply.status).to.equal(201)
    const { id, endpointId, createdAt, signingKey } = reply.body as Created & Record<string, string>
    expect(reply.body).to.deep.equal({
      id,
      organizationId: tenant.organizationId,
      workspaceId: tenant.workspaceId,
      endpointId,
      ...wanted,
      eventFilters: [],
      format: 'bird',
      signatures: ['standard', 'bird'],
      method: 'POST',
      headers: {},
      params: {},
      timeoutMs: 15_000,
      retryPolicy: 'standard',
      successStatus: '2xx',
      status: 'active',
      createdAt,
      updatedAt: createdAt,
      signingKey,
    })
    expect(signingKey).to.match(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(reply.headers['location']).to.equal(pathOf(reply.body))
    const { signingKey: _, ...shown } = reply.body
    expect((await tenant.client.get(pathOf(reply.body))).body).to.deep.equal(shown)
    const long = await tenant.client.get(`${tenant.organization}${pathOf(reply.body)}`)
    expect(long.body).to.deep.equal(shown)
  })

  it('is created with every field, and hides what is secret', async () => {
    const fields = {
      eventFilters: [
        { key: 'messageStatus', value: 'sent' },
        { key: 'channelId', value: 'c' },
      ],
      format: 'cloudevents',
      name: 'Text messages',
      description: 'All of them',
      metadata: { team: 'sms', constructor: 'x' },
      signatures: ['bird'],
      method: 'PUT',
      params: { b: '1', a: '&=?' },
      timeoutMs: 1_000,
      retryPolicy: { delays: [0, 5, 300] },
      successStatus: [200, 404],
    }
    const input = {
      ...wanted,
      ...fields,
      headers: { 'X-Tenant': 'header-secret' },
      auth: { username: 'acme', password: 'password-secret' },
      signingKey: 'KeV+/HGoIQrxuE5YPCRR6AuQOJveldYNNhbVi1i22qk=',
    }
    const subscription = await created(input)
    expect(subscription).to.deep.include({
      ...fields,
      eventFilters: [
        { key: 'channelId', value: 'c' },
        { key: 'messageStatus', value: 'sent' },
      ],
      headers: { 'X-Tenant': '***' },
      auth: { username: 'acme', password: '***' },
      signingKey: input.signingKey,
    })
    const read = await tenant.client.get(pathOf(subscription))
    const list = await tenant.client.get(`${tenant.workspace}/webhook-subscriptions`)
    for (const { body } of [read, list]) {
      for (const secret of ['header-secret', 'password-secret', input.signingKey]) {
        expect(JSON.stringify(body)).to.not.include(secret)
      }
    }
  })

  const limits: { what: string; good: object[]; bad: object[]; pointer: string }[] = [
    {
      what: 'a name',
      good: [{ name: null }, { name: 'é'.repeat(255) }],
      bad: [{ name: '' }, { name: 'a'.repeat(256) }],
      pointer: '/name',
    },
    {
      what: 'a description',
      good: [{ description: null }, { description: '' }, { description: 'a'.repeat(1_024) }],
      bad: [{ description: 'a'.repeat(1_025) }],
      pointer: '/description',
    },
    {
      what: 'metadata',
      good: [
        { metadata: null },
        { metadata: {} },
        { metadata: numbered(50, 'v') },
        { metadata: { ['k'.repeat(64)]: 'a'.repeat(1_024) } },
      ],
      bad: [{ metadata: numbered(51, 'v') }],
      pointer: '/metadata',
    },
    {
      what: 'metadata',
      good: [],
      bad: [{ metadata: { a: 'a'.repeat(1_025) } }, { metadata: { a: 1 } }, { metadata: { a: null } }],
      pointer: '/metadata/a',
    },
    { what: 'metadata', good: [], bad: [{ metadata: { '': 'a' } }], pointer: '/metadata/' },
    {
      what: 'a format',
      good: ['bird', 'standard', 'cloudevents', 'raw'].map(format => ({ format })),
      bad: [{ format: 'xml' }, { format: '' }, { format: 'Bird' }],
      pointer: '/format',
    },
    {
      what: 'signatures',
      good: [{ signatures: ['bird', 'standard'] }, { signatures: ['standard'] }],
      bad: [{ signatures: [] }, { signatures: ['bird', 'bird'] }],
      pointer: '/signatures',
    },
    {
      what: 'signatures',
      good: [],
      bad: [{ signatures: ['md5'] }, { signatures: [null] }],
      pointer: '/signatures/0',
    },
    {
      what: 'a method',
      good: ['POST', 'PUT', 'PATCH', 'GET', 'DELETE'].map(method => ({ method })),
      bad: ['post', 'HEAD', 'TRACE', 'CONNECT', ''].map(method => ({ method })),
      pointer: '/method',
    },
    {
      what: 'a deadline',
      good: [{ timeoutMs: null }, { timeoutMs: 1_000 }, { timeoutMs: 60_000 }],
      bad: [{ timeoutMs: 999 }, { timeoutMs: 60_001 }, { timeoutMs: 1_000.5 }, { timeoutMs: -1 }],
      pointer: '/timeoutMs',
    },
    {
      what: 'a retry policy',
      good: ['standard', 'bird', 'hourly', 'none', null].map(retryPolicy => ({ retryPolicy })),
      bad: [{ retryPolicy: 'often' }, { retryPolicy: '' }],
      pointer: '/retryPolicy',
    },
    {
      what: 'delays',
      good: [{ retryPolicy: { delays: [0] } }, { retryPolicy: { delays: Array<number>(50).fill(86_400) } }],
      bad: [
        { retryPolicy: { delays: [] } },
        { retryPolicy: { delays: Array<number>(51).fill(1) } },
        { retryPolicy: {} },
      ],
      pointer: '/retryPolicy/delays',
    },
    {
      what: 'delays',
      good: [],
      bad: [-1, 86_401, 0.5, '5', null].map(delay => ({ retryPolicy: { delays: [0, delay] } })),
      pointer: '/retryPolicy/delays/1',
    },
    {
      what: 'statuses of success',
      good: [{ successStatus: '2xx' }, { successStatus: [200, 599] }],
      bad: [{ successStatus: '3xx' }, { successStatus: [] }, { successStatus: [200, 200] }],
      pointer: '/successStatus',
    },
    {
      what: 'statuses of success',
      good: [],
      bad: [{ successStatus: [199] }, { successStatus: [600] }, { successStatus: ['200'] }],
      pointer: '/successStatus/0',
    },
    {
      what: 'a signing key',
      good: [
        { signingKey: 'a'.repeat(24) },
        { signingKey: 'a'.repeat(128) },
        { signingKey: 'with spaces and ! in between' },
      ],
      bad: [
        { signingKey: 'a'.repeat(23) },
        { signingKey: 'a'.repeat(129) },
        { signingKey: ` ${'a'.repeat(24)}` },
        { signingKey: `${'a'.repeat(24)} ` },
        { signingKey: 'é'.repeat(24) },
      ],
      pointer: '/signingKey',
    },
    {
      what: 'a user name',
      good: [
        { auth: null },
        { auth: { username: 'a', password: '' } },
        { auth: { username: 'ü', password: 'a:b' } },
      ],
      bad: [{ auth: { username: 'a:b', password: 'c' } }, { auth: { username: '', password: 'c' } }],
      pointer: '/auth/username',
    },
    {
      what: 'a password',
      good: [{ auth: { username: 'a', password: 'a'.repeat(1_024) } }],
      bad: [
        { auth: { username: 'a' } },
        { auth: { username: 'a', password: 'a'.repeat(1_025) } },
        { auth: { username: 'a', password: '***' } },
      ],
      pointer: '/auth/password',
    },
    {
      what: 'query parameters',
      good: [
        { params: {} },
        { params: numbered(50, '') },
        { params: { ü: '😀', constructor: 'x' } },
        { params: { a: 'a'.repeat(4_094) } },
      ],
      bad: [{ params: numbered(51, '') }, { params: { a: 'a'.repeat(4_095) } }],
      pointer: '/params',
    },
    { what: 'query parameters', good: [], bad: [{ params: { '': 'a' } }], pointer: '/params/' },
    { what: 'query parameters', good: [], bad: [{ params: { 'a/b~': 1 } }], pointer: '/params/a~1b~0' },
    {
      what: 'headers',
      good: [
        { headers: {} },
        { headers: numbered(50, 'v') },
        { headers: { 'X-Long': 'a'.repeat(4_096) } },
        {
          headers: {
            'Content-Type': 'application/vnd.acme+json; v="1"',
            Authorization: 'Bearer x',
            'X-Empty': '',
          },
        },
      ],
      bad: [{ headers: numbered(51, 'v') }],
      pointer: '/headers',
    },
    {
      what: 'a header',
      good: [],
      bad: ['a'.repeat(4_097), 'é', '😀', '***', 1, null].map(value => ({ headers: { 'X-A': value } })),
      pointer: '/headers/X-A',
    },
    { what: 'a header', good: [], bad: [{ headers: { 'x-a': '1', 'X-A': '2' } }], pointer: '/headers/X-A' },
    {
      what: 'a content type',
      good: [],
      bad: ['json', 'text/', '', 'a/b; c'].map(type => ({ headers: { 'content-type': type } })),
      pointer: '/headers/content-type',
    },
  ]
  for (const { what, good, bad, pointer } of limits) {
    if (good.length > 0) {
      it(`takes ${what} within its limits`, async () => {
        const own = await app.newTenant()
        for (const [i, fields] of good.entries()) {
          // Identical ones are limited.
          const filters = { eventFilters: [{ key: 'channelId', value: String(i) }] }
          const reply = await create({ ...wanted, ...filters, ...fields }, own)
          expect(reply.status, JSON.stringify(fields).slice(0, 100)).to.equal(201)
        }
      })
    }
    it(`takes no ${what} beyond them, at ${pointer}`, async () => {
      const own = await app.newTenant()
      const subscription = await created(wanted, own)
      for (const fields of bad) {
        for (const reply of [
          await create({ ...wanted, ...fields }, own),
          await own.client.patch(pathOf(subscription, own), fields),
        ]) {
          expect(problemOf(reply), JSON.stringify(fields).slice(0, 100)).to.deep.equal({
            status: 422,
            code: 'validation_failed',
            pointers: [pointer],
          })
        }
      }
      expect(await countOf(own)).to.equal(1)
      const { signingKey: _, ...before } = subscription
      expect((await own.client.get(pathOf(subscription, own))).body).to.deep.equal(before)
    })
  }

  const forbiddenHeaders = [
    'Host',
    'Connection',
    'Keep-Alive',
    'Transfer-Encoding',
    'TE',
    'Trailer',
    'Upgrade',
    'Proxy-Authorization',
    'Content-Length',
    'Content-Encoding',
    'User-Agent',
    'Accept-Encoding',
    'Cookie',
    'Expect',
    'Forwarded',
    'X-Forwarded-For',
    'X-Real-IP',
    'Metadata',
    'Metadata-Flavor',
    'X-aws-ec2-metadata-token',
    'X-Amz-Date',
    'X-Google-Metadata-Request',
    'Hookseal-Delivery',
    'webhook-id',
    'WEBHOOK-SIGNATURE',
    'MessageBird-Signature',
    'Signature',
    'Signature-Input',
    'X-Hub-Signature-256',
    'Stripe-Signature',
    'Sec-Fetch-Mode',
    'a b',
    'a:b',
    'ü',
    'a\u00a0',
    '(x)',
  ]
  it('takes no header that is not its own to set', async () => {
    for (const name of forbiddenHeaders) {
      const reply = await create({ ...wanted, headers: { 'X-Good': 'a', [name]: 'a' } })
      expect(problemOf(reply), name).to.deep.equal({
        status: 422,
        code: 'validation_failed',
        pointers: [`/headers/${name}`],
      })
    }
  })

  it('names every fault at once', async () => {
    const reply = await create({
      ...wanted,
      url: 'https://10.0.0.1/',
      headers: { Host: 'a' },
      auth: { username: 'a', password: 'b' },
      eventFilters: [{ key: 'nope', value: 'x' }],
    })
    expect(problemOf(reply)).to.deep.equal({
      status: 422,
      code: 'validation_failed',
      pointers: ['/url', '/headers/Host', '/eventFilters/0/key'],
    })
  })

  const unknownTypes = [
    {
      service: 'chanels',
      event: 'sms.outbound',
      pointer: '/service',
      detail: 'did you mean sms.outbound of channels',
    },
    { service: 'channels', event: 'sms.outbond', pointer: '/event', detail: 'did you mean sms.outbound?' },
    {
      service: 'numbers',
      event: 'sms.outbound',
      pointer: '/event',
      detail: 'did you mean sms.outbound of channels',
    },
    {
      service: 'payments',
      event: 'paid',
      pointer: '/event',
      detail: 'available-webhooks lists what there is',
    },
    { service: 'zzz', event: 'zzz', pointer: '/service', detail: 'known ones are: ' },
    { service: 'constructor', event: 'toString', pointer: '/service', detail: 'known ones are: ' },
  ]
  for (const { service, event, pointer, detail } of unknownTypes) {
    it(`is not for ${service} ${event}, and says what there is instead`, async () => {
      const reply = await create({ ...wanted, service, event })
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: [pointer] })
      expect(reply.body).to.have.nested.property('errors[0].detail').that.includes(detail)
    })
  }
})

describe('the filters of a subscription', () => {
  it('are kept sorted and without repetition', async () => {
    const voice = { ...wanted, event: 'voice.inbound' }
    const subscription = await created({
      ...voice,
      eventFilters: [
        { key: 'status', value: 'ringing' },
        { key: 'channelId', value: 'c' },
        { key: 'status', value: 'busy' },
        { key: 'status', value: 'ringing' },
      ],
    })
    expect(subscription['eventFilters']).to.deep.equal([
      { key: 'channelId', value: 'c' },
      { key: 'status', value: 'busy' },
      { key: 'status', value: 'ringing' },
    ])
  })

  const bad = [
    {
      what: 'an unknown key',
      filters: [{ key: 'nope', value: 'x' }],
      pointer: '/eventFilters/0/key',
      detail: 'valid ones are: channelId, messageStatus',
    },
    {
      what: 'a key of another event',
      filters: [{ key: 'interactionType', value: 'x' }],
      pointer: '/eventFilters/0/key',
      detail: 'valid ones are',
    },
    {
      what: 'a key twice',
      filters: [
        { key: 'channelId', value: 'a' },
        { key: 'channelId', value: 'b' },
      ],
      pointer: '/eventFilters/1/key',
      detail: 'can come only once',
    },
    {
      what: 'an empty value',
      filters: [{ key: 'channelId', value: '' }],
      pointer: '/eventFilters/0/value',
      detail: 'between 1 and 256 characters',
    },
    {
      what: 'a long value',
      filters: [{ key: 'channelId', value: 'a'.repeat(257) }],
      pointer: '/eventFilters/0/value',
      detail: 'between 1 and 256',
    },
    {
      what: 'a number for a value',
      filters: [{ key: 'channelId', value: 1 }],
      pointer: '/eventFilters/0/value',
      detail: 'must be a string',
    },
    {
      what: 'no value',
      filters: [{ key: 'channelId' }],
      pointer: '/eventFilters/0/value',
      detail: 'is required',
    },
    {
      what: 'an operator',
      filters: [{ key: 'channelId', value: 'a', op: 'eq' }],
      pointer: '/eventFilters/0/op',
      detail: 'known ones are: key, value',
    },
    { what: 'a text', filters: ['channelId'], pointer: '/eventFilters/0', detail: 'must be an object' },
    {
      what: '21 of them',
      filters: Array.from({ length: 21 }, () => ({ key: 'channelId', value: 'a' })),
      pointer: '/eventFilters',
      detail: 'at most 20',
    },
    {
      what: '__proto__ for a key',
      filters: [{ key: '__proto__', value: 'x' }],
      pointer: '/eventFilters/0/key',
      detail: 'valid ones are',
    },
  ]
  for (const { what, filters, pointer, detail } of bad) {
    it(`cannot have ${what}`, async () => {
      const reply = await create({ ...wanted, eventFilters: filters })
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: [pointer] })
      expect(reply.body).to.have.nested.property('errors[0].detail').that.includes(detail)
    })
  }
})

describe('the URL of a subscription', () => {
  let strict: App
  let own: Tenant
  before(async () => {
    const env = {
      ALLOW_HTTP_ENDPOINTS: 'false',
      EGRESS_ALLOW_CIDRS: '',
      PUBLIC_URL: 'https://hooks.example.com',
    }
    strict = await startApp({ env })
    own = await strict.newTenant()
  })
  after(() => strict.close())

  const path2048 = `https://example.com/${'a'.repeat(2_048 - 20)}`
  const good: [given: string, shown: string][] = [
    ['https://example.com', 'https://example.com/'],
    ['HTTPS://EXAMPLE.com:443/a/../b?q=1#fragment', 'https://example.com/b?q=1'],
    ['https://example.com./x', 'https://example.com/x'],
    ['https://münchen.example/ü', 'https://xn--mnchen-3ya.example/%C3%BC'],
    ['https://example.com:80/', 'https://example.com:80/'],
    ['https://example.com:1024/', 'https://example.com:1024/'],
    ['https://example.com:65535/', 'https://example.com:65535/'],
    ['https://a.b.c.d.example/%00%20', 'https://a.b.c.d.example/%00%20'],
    [path2048, path2048],
  ]
  for (const [given, shown] of good) {
    it(`may be ${given.slice(0, 60)}`, async () => {
      const fresh = await strict.newTenant()
      expect((await created({ ...wanted, url: given }, fresh)).url).to.equal(shown)
    })
  }

  const bad = [
    'http://example.com/',
    'ftp://example.com/',
    'javascript:alert(1)',
    'data:,x',
    'file:///etc/passwd',
    'ws://example.com/',
    'example.com/x',
    '//example.com/',
    '/x',
    'https:',
    'https://',
    'https:///',
    'https://?x',
    '*',
    'https://exa mple.com/',
    'https://127.0.0.1/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://017700000001/',
    'https://127.1/',
    'https://8.8.8.8/',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[2606:4700::1111]/',
    'https://１２７.０.０.１/',
    'https://%31%32%37.0.0.1/',
    'https://169.254.169.254/latest/meta-data',
    'https://localhost/',
    'https://localhost./',
    'https://a.localhost/',
    'https://intranet/',
    ...['local', 'internal', 'home.arpa', 'lan', 'test', 'invalid', 'onion'].map(
      suffix => `https://a.${suffix}/`,
    ),
    'https://METADATA.google.INTERNAL./',
    'https://-a.example/',
    'https://a_b.example/',
    'https://a..example/',
    'https://a.example-/',
    'https://user@example.com/',
    'https://user:password@example.com/',
    'https://:password@example.com/',
    ...[
      0, 1, 22, 25, 79, 81, 444, 1_023, 1_433, 2_375, 3_306, 5_432, 6_379, 6_667, 9_200, 10_080, 11_211,
      27_017, 65_536,
    ].map(port => `https://example.com:${port}/`),
    'https://example.com/\t',
    'https://example.com/\n',
    '\u0000https://example.com/',
    ' https://example.com/',
    'https://example.com/a b',
    'https://good.example\\@10.0.0.1/',
    'https:\\\\example.com\\',
    'https://example.com/\u0085',
    'https://exa\u00admple.com\u0000/',
    'https://hooks.example.com/',
    'https://HOOKS.example.com.:8443/x',
    `https://${'a'.repeat(64)}.example/`,
    `${path2048}a`,
    '',
    `https://example.com/${'ü'.repeat(500)}`,
    `https://${'a.'.repeat(130)}example/`,
  ]
  for (const url of bad) {
    it(`may not be ${JSON.stringify(url).slice(0, 60)}`, async () => {
      const reply = await create({ ...wanted, url }, own)
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: ['/url'] })
      expect(await countOf(own)).to.equal(0)
    })
  }

  it('follows the same rules in a change', async () => {
    const fresh = await strict.newTenant()
    const subscription = await created(wanted, fresh)
    for (const url of ['http://example.com/', 'https://localhost/', 'https://a:b@example.com/', '']) {
      const reply = await fresh.client.patch(pathOf(subscription, fresh), { url })
      expect(problemOf(reply), url).to.deep.equal({
        status: 422,
        code: 'validation_failed',
        pointers: ['/url'],
      })
    }
    const changed = await fresh.client.patch<Subscription>(pathOf(subscription, fresh), {
      url: 'https://EXAMPLE.org',
    })
    expect(changed.body.url).to.equal('https://example.org/')
  })

  it('may be an address that the operator has named, but not our own', async () => {
    const { port } = app.deps.config
    expect((await created({ ...wanted, url: `http://127.0.0.1:${port + 1}/x` })).url).to.equal(
      `http://127.0.0.1:${port + 1}/x`,
    )
    for (const host of ['127.0.0.1', 'localhost', '0x7f000001', '127.1', '127.0.0.1.']) {
      const reply = await create({ ...wanted, url: `http://${host}:${port}/x` })
      expect(problemOf(reply), host).to.deep.equal({
        status: 422,
        code: 'validation_failed',
        pointers: ['/url'],
      })
    }
    const beside = await create({ ...wanted, url: 'http://127.0.0.2:8080/' })
    expect(problemOf(beside)).to.include({ status: 422 })
  })
})

describe('identical subscriptions', () => {
  const filters = [
    { key: 'channelId', value: 'a' },
    { key: 'messageStatus', value: 'sent' },
  ]

  it('are five at most, in whatever order their filters come', async () => {
    const own = await app.newTenant()
    for (let i = 0; i < 5; i++) {
      const eventFilters = i % 2 === 0 ? filters : filters.toReversed()
      await created({ ...wanted, url: `https://example.com/${i}`, eventFilters }, own)
    }
    for (const eventFilters of [filters, filters.toReversed()]) {
      const reply = await create({ ...wanted, url: 'https://example.com/6', eventFilters }, own)
      expect(problemOf(reply)).to.deep.equal({
        status: 409,
        code: 'too_many_identical_subscriptions',
        pointers: [],
      })
    }
    expect(await countOf(own)).to.equal(5)

    await created({ ...wanted, eventFilters: filters.slice(0, 1) }, own)
    await created({ ...wanted, event: 'whatsapp.outbound', eventFilters: filters }, own)
    const other = await app.newTenant()
    await created({ ...wanted, eventFilters: filters }, other)
  })

  it('are five also when twenty are created at once', async () => {
    const own = await app.newTenant()
    const replies = await Promise.all(Array.from({ length: 20 }, () => create(wanted, own)))
    const statuses = replies.map(({ status }) => status)
    expect(statuses).to.have.members([...Array<number>(5).fill(201), ...Array<number>(15).fill(409)])
    expect(await countOf(own)).to.equal(5)
  })

  it('cannot become more by a change, also not by many at once', async () => {
    const own = await app.newTenant()
    for (let i = 0; i < 4; i++) await created(wanted, own)
    const others: Subscription[] = []
    for (let i = 0; i < 5; i++) {
      others.push(await created({ ...wanted, eventFilters: [{ key: 'channelId', value: String(i) }] }, own))
    }
    const replies = await Promise.all(
      others.map(other => own.client.patch(pathOf(other, own), { eventFilters: null })),
    )
    expect(replies.map(({ status }) => status)).to.have.members([200, 409, 409, 409, 409])
    const refused = replies.find(({ status }) => status === 409)!
    expect(problemOf(refused)).to.include({ code: 'too_many_identical_subscriptions' })
    const { body } = await own.client.get<Page>(`${own.workspace}/webhook-subscriptions?limit=100`)
    expect(
      body.results.filter(({ eventFilters }) => (eventFilters as unknown[]).length === 0),
    ).to.have.length(5)
  })

  it('can be changed in other ways while there are five, and replaced', async () => {
    const own = await app.newTenant()
    const five: Subscription[] = []
    for (let i = 0; i < 5; i++) five.push(await created(wanted, own))
    const renamed = await own.client.patch(pathOf(five[0]!, own), { name: 'first', eventFilters: [] })
    expect(renamed.status).to.equal(200)
    expect(await own.client.delete(pathOf(five[0]!, own))).to.include({ status: 204 })
    await created(wanted, own)
    expect(problemOf(await create(wanted, own))).to.include({ status: 409 })
  })
})

describe('a change of a subscription', () => {
  it('changes what it names and nothing else', async () => {
    const { signingKey: _, ...before } = await created({
      ...wanted,
      name: 'a',
      headers: { 'X-A': '1' },
      timeoutMs: 2_000,
    })
    const changed = await tenant.client.patch<Subscription>(pathOf(before), {
      format: 'raw',
      url: 'https://example.org/',
    })
    expect(changed.status).to.equal(200)
    const { updatedAt } = changed.body
    expect(changed.body).to.deep.equal({ ...before, format: 'raw', url: 'https://example.org/', updatedAt })
    expect(Date.parse(updatedAt)).to.be.at.least(Date.parse(before.updatedAt))
    expect((await tenant.client.get(pathOf(before))).body).to.deep.equal(changed.body)
  })

  it('takes null for what can be without a value, and goes back to the defaults', async () => {
    const full = {
      name: 'a',
      description: 'b',
      metadata: { c: 'd' },
      auth: { username: 'e', password: 'f' },
      timeoutMs: 2_000,
      retryPolicy: 'none',
      eventFilters: [{ key: 'channelId', value: 'g' }],
    }
    const subscription = await created({ ...wanted, ...full })
    const nothing = Object.fromEntries(Object.keys(full).map(name => [name, null]))
    const { body } = await tenant.client.patch<Subscription>(pathOf(subscription), nothing)
    expect(body).to.not.have.any.keys('name', 'description', 'metadata', 'auth')
    expect(body).to.deep.include({ timeoutMs: 15_000, retryPolicy: 'standard', eventFilters: [] })

    await tenant.client.patch(pathOf(subscription), { eventFilters: full.eventFilters })
    const emptied = await tenant.client.patch<Subscription>(pathOf(subscription), { eventFilters: [] })
    expect(emptied.body['eventFilters']).to.deep.equal([])
  })

  const refused: { what: string; patch: object; pointers: string[] }[] = [
    { what: 'nothing', patch: {}, pointers: [''] },
    { what: 'its service', patch: { service: 'channels' }, pointers: ['/service'] },
    { what: 'its event', patch: { event: 'sms.outbound', name: 'x' }, pointers: ['/event'] },
    { what: 'its id', patch: { id: randomUUID() }, pointers: ['/id'] },
    { what: 'its workspace', patch: { workspaceId: randomUUID() }, pointers: ['/workspaceId'] },
    { what: 'its status to disabled', patch: { status: 'disabled' }, pointers: ['/status'] },
    {
      what: 'a header to keep that it does not have',
      patch: { headers: { 'X-B': '***' } },
      pointers: ['/headers/X-B'],
    },
    {
      what: 'a password to keep that it does not have',
      patch: { auth: { username: 'a', password: '***' } },
      pointers: ['/auth/password'],
    },
  ]
  for (const { what, patch, pointers } of refused) {
    it(`cannot be of ${what}`, async () => {
      const { signingKey: _, ...before } = await created({
        ...wanted,
        eventFilters: [{ key: 'channelId', value: randomUUID() }],
      })
      const reply = await tenant.client.patch(pathOf(before), patch)
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers })
      expect((await tenant.client.get(pathOf(before))).body).to.deep.equal(before)
    })
  }

  it('keeps header values and passwords that it sends back hidden, and replaces the others', async () => {
    const own = await app.newTenant()
    const inbox = receiver.inbox()
    const subscription = await created(
      {
        ...wanted,
        url: inbox.url,
        headers: { 'X-Kept': 'one', 'X-Changed': 'two', 'X-Dropped': 'three' },
        auth: { username: 'acme', password: 'secret' },
      },
      own,
    )
    const patch = {
      headers: { 'x-kept': '***', 'X-Changed': 'new' },
      auth: { username: 'apex', password: '***' },
    }
    const { body } = await own.client.patch<Subscription>(pathOf(subscription, own), patch)
    expect(body['headers']).to.deep.equal({ 'x-kept': '***', 'X-Changed': '***' })
    expect(body['auth']).to.deep.equal({ username: 'apex', password: '***' })

    await publish(own)
    const [first] = await inbox.received(1)
    expect(first!.headers).to.include({
      'x-kept': 'one',
      'x-changed': 'new',
      authorization: `Basic ${Buffer.from('apex:secret').toString('base64')}`,
    })
    expect(first!.headers).to.not.have.property('x-dropped')

    await own.client.patch(pathOf(subscription, own), { auth: null, headers: {} })
    await publish(own)
    const [, second] = await inbox.received(2)
    expect(second!.headers).to.not.have.any.keys('authorization', 'x-kept', 'x-changed')
  })

  it('holds deliveries while it is inactive, and releases them when it is active again', async () => {
    const own = await app.newTenant()
    const inbox = receiver.inbox()
    const subscription = await created({ ...wanted, url: inbox.url }, own)
    const paused = await own.client.patch<Subscription>(pathOf(subscription, own), { status: 'inactive' })
    expect(paused.body.status).to.equal('inactive')
    const eventId = await publish(own)
    const held = await poll(
      () => deliveriesOf(own, eventId),
      ([delivery]) => delivery?.['heldBy'] === 'paused',
    )
    expect(held).to.have.length(1)
    expect(held[0]).to.include({ status: 'pending', attemptsCount: 0 })
    expect(inbox.requests).to.have.length(0)

    await own.client.patch(pathOf(subscription, own), { status: 'active' })
    const [request] = await inbox.received(1)
    expect(request!.headers['webhook-id']).to.equal(eventId)
  })
})

describe('a subscription that is deleted', () => {
  it('is missing from then on, and its pending deliveries are cancelled', async () => {
    const own = await app.newTenant()
    const inbox = receiver.inbox()
    const subscription = await created({ ...wanted, url: inbox.url }, own)
    await own.client.patch(pathOf(subscription, own), { status: 'inactive' })
    const eventId = await publish(own)
    await poll(
      () => deliveriesOf(own, eventId),
      ([delivery]) => delivery?.['heldBy'] === 'paused',
    )

    const path = pathOf(subscription, own)
    expect(await own.client.delete(path)).to.include({ status: 204, body: undefined })
    for (const reply of [
      await own.client.get(path),
      await own.client.patch(path, { name: 'x' }),
      await own.client.delete(path),
      await own.client.post(`${path}/rotate-signing-key`, {}),
      await own.client.post(`${path}/test`),
    ]) {
      expect(problemOf(reply)).to.deep.equal({ status: 404, code: 'not_found', pointers: [] })
    }
    expect(await countOf(own)).to.equal(0)

    const cancelled = await poll(
      () => deliveriesOf(own, eventId),
      ([delivery]) => delivery?.['status'] !== 'pending',
    )
    expect(cancelled[0]).to.include({ status: 'cancelled', statusReason: 'the subscription was deleted' })
    expect(cancelled[0]).to.not.have.any.keys('heldBy', 'nextAttemptAt')
    const logs = await own.client.get<{ results: object[] }>(`${path}/logs`)
    expect(logs.body.results[0], 'the history stays').to.include({
      requestId: eventId,
      executionStatus: 'cancelled',
    })
    await publish(own)
    expect(inbox.requests).to.have.length(0)
  })
})

describe('a signing key', () => {
  /** Whether a request carries a signature by this key, as a receiver's library sees it. */
  function isSignedBy(key: string, { body, headers }: Received): boolean {
    try {
      new Webhook(key).verify(body.toString(), headers as Record<string, string>)
      return true
    } catch {
      return false
    }
  }

  it('is replaced; until the overlap ends the old one signs too', async () => {
    const own = await app.newTenant()
    const inbox = receiver.inbox()
    const subscription = await created({ ...wanted, url: inbox.url }, own)
    const rotated = await own.client.post<{ signingKey: string; overlapEndsAt: string }>(
      `${pathOf(subscription, own)}/rotate-signing-key`,
      {},
    )
    expect(rotated.status).to.equal(200)
    expect(rotated.body).to.have.all.keys('signingKey', 'overlapEndsAt')
    expect(rotated.body.signingKey)
      .to.match(/^whsec_/)
      .and.to.not.equal(subscription.signingKey)
    expect(Date.parse(rotated.body.overlapEndsAt) - Date.now()).to.be.within(86_340_000, 86_460_000)

    await publish(own)
    const [request] = await inbox.received(1)
    expect(isSignedBy(subscription.signingKey, request!)).to.equal(true)
    expect(isSignedBy(rotated.body.signingKey, request!)).to.equal(true)
    expect(isSignedBy(`whsec_${randomBytes(32).toString('base64')}`, request!)).to.equal(false)
  })

  it('is replaced at once without an overlap, also by one that the owner brings', async () => {
    const own = await app.newTenant()
    const inbox = receiver.inbox()
    const subscription = await created({ ...wanted, url: inbox.url }, own)
    const signingKey = `whsec_${randomBytes(32).toString('base64')}`
    const rotated = await own.client.post(`${pathOf(subscription, own)}/rotate-signing-key`, {
      overlapSeconds: 0,
      signingKey,
    })
    expect(rotated.body).to.deep.equal({ signingKey })

    await publish(own)
    const [request] = await inbox.received(1)
    expect(isSignedBy(subscription.signingKey, request!)).to.equal(false)
    expect(isSignedBy(signingKey, request!)).to.equal(true)
  })

  it('is replaced by a change too, with an overlap, and is not shown', async () => {
    const own = await app.newTenant()
    const inbox = receiver.inbox()
    const subscription = await created({ ...wanted, url: inbox.url }, own)
    const signingKey = `whsec_${randomBytes(32).toString('base64')}`
    const changed = await own.client.patch(pathOf(subscription, own), { signingKey })
    expect(changed.status).to.equal(200)
    expect(JSON.stringify(changed.body)).to.not.include(signingKey)
    await publish(own)
    const [request] = await inbox.received(1)
    for (const key of [signingKey, subscription.signingKey]) expect(isSignedBy(key, request!)).to.equal(true)
  })

  it('signs beside nine others at most, and can always be replaced at once', async () => {
    const own = await app.newTenant()
    const inbox = receiver.inbox()
    const subscription = await created({ ...wanted, url: inbox.url }, own)
    const rotate = (body: object = {}) =>
      own.client.post(`${pathOf(subscription, own)}/rotate-signing-key`, body)
    for (let i = 0; i < 9; i++) expect(await rotate()).to.include({ status: 200 })
    const patch = { signingKey: 'a key that the owner brings' }
    for (const refused of [await rotate(), await own.client.patch(pathOf(subscription, own), patch)]) {
      expect(problemOf(refused)).to.deep.equal({ status: 409, code: 'conflict', pointers: [] })
    }
    await publish(own)
    const [first] = await inbox.received(1)
    expect(String(first!.headers['webhook-signature']).split(' ')).to.have.length(10)

    expect(await rotate({ overlapSeconds: 0 })).to.include({ status: 200 })
    expect(await rotate()).to.include({ status: 200 })
    await publish(own)
    const [, second] = await inbox.received(2)
    expect(String(second!.headers['webhook-signature']).split(' ')).to.have.length(2)
  })

  it('can be replaced without saying anything about how', async () => {
    const subscription = await created({
      ...wanted,
      eventFilters: [{ key: 'channelId', value: randomUUID() }],
    })
    const rotated = await tenant.client.post(`${pathOf(subscription)}/rotate-signing-key`)
    expect(rotated.status).to.equal(200)
  })

  const bad = [
    { body: { overlapSeconds: -1 }, pointer: '/overlapSeconds' },
    { body: { overlapSeconds: 604_801 }, pointer: '/overlapSeconds' },
    { body: { overlapSeconds: 0.5 }, pointer: '/overlapSeconds' },
    { body: { overlapSeconds: null }, pointer: '/overlapSeconds' },
    { body: { signingKey: 'short' }, pointer: '/signingKey' },
    { body: { overlap: 1 }, pointer: '/overlap' },
  ]
  for (const { body, pointer } of bad) {
    it(`is not replaced by ${JSON.stringify(body)}`, async () => {
      const subscription = await created({
        ...wanted,
        eventFilters: [{ key: 'channelId', value: randomUUID() }],
      })
      const reply = await tenant.client.post(`${pathOf(subscription)}/rotate-signing-key`, body)
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: [pointer] })
    })
  }
})

describe('the list of subscriptions', () => {
  let own: Tenant
  const made: Record<string, string> = {}
  before(async () => {
    own = await app.newTenant()
    const inbox = receiver.inbox(410)
    made['outbound'] = (await created(wanted, own)).id
    made['inbound'] = (await created({ ...wanted, event: 'sms.inbound' }, own)).id
    made['numbers'] = (
      await created({ ...wanted, service: 'numbers', event: 'endpoint', url: 'https://example.org' }, own)
    ).id
    made['gone'] = (await created({ ...wanted, event: 'sms.interaction', url: inbox.url }, own)).id
    await own.client.patch(pathOf({ id: made['inbound'] }, own), { status: 'inactive' })
    const event = { service: 'channels', event: 'sms.interaction', payload: {} }
    await own.client.post(`${own.workspace}/events`, event)
    await poll(
      () => own.client.get<Subscription>(pathOf({ id: made['gone']! }, own)),
      ({ body }) => body.status === 'disabled',
    )
  })

  const searches: { query: string; names: string[] }[] = [
    { query: '', names: ['gone', 'numbers', 'inbound', 'outbound'] },
    { query: '?service=channels', names: ['gone', 'inbound', 'outbound'] },
    { query: '?service=numbers', names: ['numbers'] },
    { query: '?service=nothing', names: [] },
    { query: '?event=sms.inbound', names: ['inbound'] },
    { query: '?status=active', names: ['numbers', 'outbound'] },
    { query: '?status=inactive', names: ['inbound'] },
    { query: '?status=disabled', names: ['gone'] },
    { query: `?url=${encodeURIComponent('https://example.com/webhook')}`, names: ['inbound', 'outbound'] },
    { query: `?url=${encodeURIComponent('HTTPS://Example.ORG:443')}`, names: ['numbers'] },
    { query: `?url=${encodeURIComponent('not a url')}`, names: [] },
    {
      query: `?service=channels&event=sms.outbound&status=active&url=${encodeURIComponent('https://example.com/webhook')}`,
      names: ['outbound'],
    },
  ]
  for (const { query, names } of searches) {
    it(`${query || 'without a filter'} has ${names.join(', ') || 'nothing'}`, async () => {
      const { status, body } = await own.client.get<Page>(`${own.workspace}/webhook-subscriptions${query}`)
      expect(status).to.equal(200)
      expect(body.results.map(({ id }) => id)).to.deep.equal(names.map(name => made[name]))
    })
  }

  it('says why one is disabled, and lets its owner revive it', async () => {
    const path = pathOf({ id: made['gone']! }, own)
    const { body } = await own.client.get<Subscription>(path)
    expect(body).to.include({ status: 'disabled', statusReason: 'The endpoint answered 410 Gone.' })
    const revived = await own.client.patch<Subscription>(path, { status: 'active' })
    expect(revived.body).to.include({ status: 'active' }).and.to.not.have.property('statusReason')
    await own.client.delete(path)
  })

  it('goes on over pages within its filters, whose tokens hold for no others', async () => {
    const path = `${own.workspace}/webhook-subscriptions?limit=1&url=${encodeURIComponent(wanted.url)}`
    const first = await own.client.get<Page>(path)
    const second = await own.client.get<Page>(`${path}&pageToken=${first.body.nextPageToken}`)
    expect([first, second].map(({ body }) => body.results[0]!.id)).to.deep.equal([
      made['inbound'],
      made['outbound'],
    ])
    expect(second.body).to.not.have.property('nextPageToken')
    for (const list of [
      'webhook-subscriptions?limit=1',
      'webhook-subscriptions?service=channels',
      'events?limit=1',
      'deliveries?limit=1',
    ]) {
      const reply = await own.client.get(`${own.workspace}/${list}&pageToken=${first.body.nextPageToken}`)
      expect(problemOf(reply), list).to.deep.equal({
        status: 422,
        code: 'invalid_page_token',
        pointers: ['?pageToken'],
      })
    }
  })

  const bad = [
    { query: 'status=paused', pointer: '?status' },
    { query: 'status=Active', pointer: '?status' },
    { query: 'service=a%20b', pointer: '?service' },
    { query: 'service=%00', pointer: '?service' },
    { query: 'event=a..b', pointer: '?event' },
    { query: `url=${'a'.repeat(2_049)}`, pointer: '?url' },
    { query: 'SearchFilter[service]=channels', pointer: '?SearchFilter[service]' },
  ]
  for (const { query, pointer } of bad) {
    it(`has no search for ${query.slice(0, 40)}`, async () => {
      const reply = await own.client.get(`${own.workspace}/webhook-subscriptions?${query}`)
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: [pointer] })
    })
  }
})

describe('a test of a subscription', () => {
  type Result = {
    eventId: string
    delivery?: { status: string }
    attempt?: { outcome: string; response: { body: string } | null }
  }
  const test = (own: Tenant, subscription: Subscription) =>
    own.client.post<Result>(`${pathOf(subscription, own)}/test`)

  it('sends the sample of its event whatever its filters say, and shows what became of it', async () => {
    const own = await app.newTenant()
    const inbox = receiver.inbox({ status: 200, body: 'thanks' })
    const subscription = await created(
      { ...wanted, url: inbox.url, eventFilters: [{ key: 'channelId', value: 'never' }] },
      own,
    )
    const { status, body } = await test(own, subscription)
    expect(status).to.equal(200)
    expect(body.delivery).to.include({
      status: 'delivered',
      eventId: body.eventId,
      subscriptionId: subscription.id,
    })
    expect(body.attempt).to.include({ outcome: 'delivered' })
    expect(body.attempt!.response).to.include({ body: 'thanks' })
    const [request] = await inbox.received(1)
    expect(JSON.parse(request!.body.toString())).to.include({ service: wanted.service, event: wanted.event })
  })

  it('shows a failure as well', async () => {
    const own = await app.newTenant()
    const failing = await created({ ...wanted, url: receiver.inbox(500).url }, own)
    const hanging = await created({ ...wanted, url: receiver.inbox('hang').url, timeoutMs: 1_000 }, own)
    const [failed, timedOut] = await Promise.all([test(own, failing), test(own, hanging)])
    expect(failed.body.attempt).to.include({ outcome: 'http_error' })
    expect(timedOut.body.attempt).to.include({ outcome: 'timeout', response: null })
  })

  it('is not sent while the subscription is inactive', async () => {
    const own = await app.newTenant()
    const inbox = receiver.inbox()
    const subscription = await created({ ...wanted, url: inbox.url }, own)
    await own.client.patch(pathOf(subscription, own), { status: 'inactive' })
    expect(problemOf(await test(own, subscription))).to.deep.equal({
      status: 409,
      code: 'conflict',
      pointers: [],
    })
    expect((await own.client.get(`${own.workspace}/events`)).body).to.deep.equal({ results: [] })
  })
})

describe('the available webhooks', () => {
  type Available = {
    results: { service: string; events: { name: string; description: string; filterKeys: string[] }[] }[]
  }
  const list = (query = '') => tenant.client.get<Available>(`${tenant.workspace}/available-webhooks${query}`)

  it('are those of every service', async () => {
    const { status, body } = await list()
    expect(status).to.equal(200)
    expect(body.results.map(({ service }) => service)).to.have.members([
      'channels',
      'numbers',
      'payments',
      'conversations',
      'hookseal',
    ])
  })

  it('are those of one service, with the keys to filter them by', async () => {
    const { body } = await list('?service=channels')
    expect(body.results.map(({ service }) => service)).to.deep.equal(['channels'])
    const outbound = body.results[0]!.events.find(({ name }) => name === 'sms.outbound')
    expect(outbound).to.deep.include({ filterKeys: ['channelId', 'messageStatus'] })
  })

  it('are none of a service that is not there', async () => {
    expect((await list('?service=nothing')).body).to.deep.equal({ results: [] })
    expect(problemOf(await list('?service='))).to.include({ status: 422, code: 'validation_failed' })
  })
})

async function deliveriesOf(of: Tenant, eventId: string): Promise<Record<string, unknown>[]> {
  const { body } = await of.client.get<{ results: Record<string, unknown>[] }>(
    `${of.workspace}/events/${eventId}/deliveries`,
  )
  return body.results
}

function numbered(count: number, value: string): Record<string, string> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, value]))
}
