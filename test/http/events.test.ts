/** Publishing events over HTTP, and reading them back as the bytes that came. */

import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { randomUUID } from 'node:crypto'
import { request } from 'undici'
import type { Reply } from '#test/support/api-client.ts'
import { problemOf, startApp, type App, type Tenant } from '#test/support/app.ts'

type Accepted = { id: string; service: string; event: string; createdAt: string }
type Summary = Accepted & { externalId?: string; occurredAt: string; deliveriesCount: number }
type Page = { results: Summary[]; nextPageToken?: string }

const event = { service: 'channels', event: 'sms.outbound', payload: { status: 'sent' } }
const uuidV7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

let app: App
let tenant: Tenant
before(async () => {
  app = await startApp()
  tenant = await app.newTenant()
})
after(() => app.close())

function publish(body: unknown, key?: string, of: Tenant = tenant): Promise<Reply<Accepted>> {
  return of.client.post<Accepted>(`${of.workspace}/events`, body, { headers: { 'idempotency-key': key } })
}

function publishBatch(
  events: unknown,
  key?: string,
  of: Tenant = tenant,
): Promise<Reply<{ results: Accepted[] }>> {
  return of.client.post(`${of.workspace}/events/batch`, { events }, { headers: { 'idempotency-key': key } })
}

async function listed(of: Tenant, query = ''): Promise<Summary[]> {
  const { status, body } = await of.client.get<Page>(`${of.workspace}/events?limit=100${query}`)
  expect(status).to.equal(200)
  return body.results
}

/** The text of a single read: parsing it would hide what happened to the payload. */
async function readText(of: Tenant, id: string): Promise<string> {
  const headers = { authorization: `AccessKey ${app.operatorKey}` }
  const reply = await request(`${app.url}${of.workspace}/events/${id}`, { headers })
  expect(reply.statusCode).to.equal(200)
  return await reply.body.text()
}

describe('an event', () => {
  it('is accepted, and read back', async () => {
    const own = await app.newTenant()
    const input = { ...event, id: 'shop-4711', occurredAt: '2026-03-01T10:30:00.123456+01:00' }
    const reply = await publish(input, undefined, own)
    expect(reply.status).to.equal(202)
    const { id, createdAt } = reply.body
    expect(reply.body).to.deep.equal({ id, service: 'channels', event: 'sms.outbound', createdAt })
    expect(id).to.match(uuidV7)
    expect(Math.abs(Date.parse(createdAt) - Date.now())).to.be.below(60_000)

    const summary = {
      ...reply.body,
      externalId: 'shop-4711',
      occurredAt: '2026-03-01T09:30:00.123Z',
      deliveriesCount: 0,
    }
    expect(await listed(own)).to.deep.equal([summary])
    const read = await own.client.get(`${own.workspace}/events/${id}`)
    expect(read.body).to.deep.equal({ ...summary, payload: event.payload })
    const long = await own.client.get(`${own.organization}${own.workspace}/events/${id.toUpperCase()}`)
    expect(long.body).to.deep.equal(read.body)
    const deliveries = await own.client.get(`${own.workspace}/events/${id}/deliveries`)
    expect(deliveries.body).to.deep.equal({ results: [] })
  })

  it('happened when it was accepted, unless it says otherwise', async () => {
    const { body: accepted } = await publish(event)
    const { body } = await tenant.client.get<Summary>(`${tenant.workspace}/events/${accepted.id}`)
    expect(body.occurredAt).to.equal(accepted.createdAt)
    expect(body).to.not.have.property('externalId')
  })

  const moments = [
    ['2026-03-01T09:30:00Z', '2026-03-01T09:30:00.000Z'],
    ['2024-02-29T23:59:59.999999999-23:59', '2024-03-01T23:58:59.999Z'],
    ['1969-07-20T20:17:40Z', '1969-07-20T20:17:40.000Z'],
    ['0002-01-01T00:00:00Z', '0002-01-01T00:00:00.000Z'],
    ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
  ] as const
  for (const [given, shown] of moments) {
    it(`can have happened at ${given}`, async () => {
      const { body: accepted } = await publish({ ...event, occurredAt: given })
      const { body } = await tenant.client.get<Summary>(`${tenant.workspace}/events/${accepted.id}`)
      expect(body.occurredAt).to.equal(shown)
    })
  }

  const noMoments = [
    '',
    'now',
    '2026-03-01',
    '09:30:00Z',
    '2026-03-01T09:30:00',
    '2026-03-01 09:30:00Z',
    '2026-03-01t09:30:00z',
    '20260301T093000Z',
    '2026-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-03-01T24:00:00Z',
    '2026-03-01T23:59:60Z',
    '2026-03-01T09:30:00+25:00',
    '0000-01-01T00:00:00Z',
    '0001-01-01T00:00:00+01:00',
    '9999-12-31T23:59:59-01:00',
    '-2026-03-01T09:30:00Z',
    '2026-03-01T09:30:00,5Z',
    '2026-03-01T09:30:00ZZ',
    ' 2026-03-01T09:30:00Z',
    '٢٠٢٦-03-01T09:30:00Z',
  ]
  it('cannot have happened at what is no moment', async () => {
    const own = await app.newTenant()
    for (const occurredAt of noMoments) {
      const reply = await publish({ ...event, occurredAt }, undefined, own)
      expect(problemOf(reply), occurredAt).to.deep.equal({
        status: 422,
        code: 'validation_failed',
        pointers: ['/occurredAt'],
      })
    }
    expect(await listed(own)).to.deep.equal([])
  })

  const unknownTypes = [
    {
      service: 'chanels',
      event: 'sms.outbound',
      pointer: '/service',
      detail: 'did you mean sms.outbound of channels',
    },
    { service: 'channels', event: 'sms.outbuond', pointer: '/event', detail: 'did you mean sms.outbound' },
    { service: 'channels', event: 'SMS.OUTBOUND', pointer: '/event', detail: 'did you mean sms.outbound' },
    { service: 'payments', event: 'paid', pointer: '/event', detail: 'available-webhooks' },
    { service: '__proto__', event: 'constructor', pointer: '/service', detail: 'known ones are' },
    { service: 'a b', event: 'sms.outbound', pointer: '/service', detail: 'letters, digits' },
    { service: 'channels', event: 'sms..outbound', pointer: '/event', detail: 'letters, digits' },
    { service: 'channels', event: '', pointer: '/event', detail: 'characters' },
    { service: 'channels', event: 'a'.repeat(256), pointer: '/event', detail: 'characters' },
  ]
  for (const { service, event: name, pointer, detail } of unknownTypes) {
    it(`cannot be ${service} ${name.slice(0, 20)}`, async () => {
      const own = await app.newTenant()
      const reply = await publish({ ...event, service, event: name }, undefined, own)
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: [pointer] })
      expect(reply.body).to.have.nested.property('errors[0].detail').that.includes(detail)
      expect(await listed(own)).to.deep.equal([])
    })
  }

  it('can have an id of 1 to 256 characters', async () => {
    const own = await app.newTenant()
    for (const id of ['1', 'a'.repeat(256), '😀'.repeat(256)]) {
      expect(await publish({ ...event, id }, undefined, own), id).to.include({ status: 202 })
    }
    for (const id of ['', 'a'.repeat(257)]) {
      const reply = await publish({ ...event, id }, undefined, own)
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: ['/id'] })
    }
    expect(await listed(own)).to.have.length(3)
  })

  it('is missing where it was not published', async () => {
    const path = `${tenant.workspace}/events/${randomUUID()}`
    for (const reply of [await tenant.client.get(path), await tenant.client.get(`${path}/deliveries`)]) {
      expect(problemOf(reply)).to.deep.equal({ status: 404, code: 'not_found', pointers: [] })
    }
  })
})

describe('a payload', () => {
  const payloads = [
    'null',
    'true',
    'false',
    '0',
    '-0',
    '1.0',
    '1e400',
    '-1E-400',
    '12345678901234567890.12345678901234567890',
    '0.1e+1',
    '""',
    '"text"',
    '[]',
    '{}',
    '[1, 2 ,3]',
    '[[[]]]',
    '{"b":1,"a":2,"10":3,"9":4}',
    '{"a":1,"a":2,"\\u0061":3}',
    '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}}}',
    '"\\u0000"',
    '{"\\u0000":"\\u0000"}',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\ud83d\\ude00 😀 \\/ / \\u0041 \\u00e9 é"',
    '"\u007f\u0085\u2028\u2029\ufeff\uffff\u202e"',
    '{ "a" :\t[ 1 ,\r\n 2 ] }',
    '"</script><script>alert(1)</script>"',
    '"\'; drop table events; --"',
    '"$1 :name ? \\\\x00 {}"',
  ]
  for (const payload of payloads) {
    it(`is kept as ${JSON.stringify(payload).slice(0, 70)}`, async () => {
      const body = Buffer.from(`{"payload":${payload},"service":"channels","event":"sms.outbound"}`)
      const reply = await publish(body)
      expect(reply.status).to.equal(202)
      expect(await readText(tenant, reply.body.id)).to.satisfy((text: string) =>
        text.endsWith(`,"payload":${payload}}`),
      )
      expect({}).to.not.have.property('isAdmin')
    })
  }

  it('is kept without the white space around it', async () => {
    const body = Buffer.from('{"service":"channels","event":"sms.outbound","payload" : \n [ 1 ] \t }')
    const { body: accepted } = await publish(body)
    expect(await readText(tenant, accepted.id)).to.match(/,"payload":\[ 1 \]\}$/)
  })

  it('may have as many bytes as the settings say, and not one more', async () => {
    const own = await app.newTenant()
    const max = app.deps.config.eventBytesMax
    const ofBytes = (bytes: number) =>
      Buffer.from(`{"service":"channels","event":"sms.outbound","payload":"${'é'.repeat((bytes - 2) / 2)}"}`)
    const accepted = await publish(ofBytes(max), undefined, own)
    expect(accepted.status).to.equal(202)
    const one = Buffer.from(ofBytes(max).toString().replace('"}', 'a"}'))
    for (const body of [one, ofBytes(max + 2), ofBytes(max * 2), ofBytes(max * 20)]) {
      const reply = await publish(body, undefined, own)
      expect(problemOf(reply), String(body.length)).to.deep.equal({
        status: 413,
        code: 'payload_too_large',
        pointers: [],
      })
    }
    expect(await listed(own)).to.have.length(1)
    const text = await readText(own, accepted.body.id)
    expect(Buffer.byteLength(text.slice(text.indexOf('"payload":') + 10, -1))).to.equal(max)
  })
})

describe('a batch', () => {
  it('is accepted in its order', async () => {
    const own = await app.newTenant()
    const events = Array.from({ length: 20 }, (_, i) => ({ ...event, id: `n${i}`, payload: i }))
    const reply = await publishBatch(events, undefined, own)
    expect(reply.status).to.equal(202)
    expect(reply.body.results.map(({ id }) => id)).to.deep.equal(
      reply.body.results.map(({ id }) => id).toSorted(),
    )
    const stored = await listed(own)
    expect(stored.toReversed().map(({ externalId }) => externalId)).to.deep.equal(events.map(({ id }) => id))
    expect(stored.toReversed().map(({ id }) => id)).to.deep.equal(reply.body.results.map(({ id }) => id))
  })

  it('may have 1,000 events, and not one more or none', async () => {
    const own = await app.newTenant()
    const reply = await publishBatch(Array<object>(1_000).fill(event), undefined, own)
    expect(reply.status).to.equal(202)
    expect(new Set(reply.body.results.map(({ id }) => id)).size).to.equal(1_000)
    const other = await app.newTenant()
    for (const events of [Array<object>(1_001).fill(event), []]) {
      const refused = await publishBatch(events, undefined, other)
      expect(problemOf(refused)).to.deep.equal({
        status: 422,
        code: 'validation_failed',
        pointers: ['/events'],
      })
    }
    expect(await listed(other)).to.deep.equal([])
  })

  const bad: { what: string; events: unknown[]; pointers: string[]; status?: number; code?: string }[] = [
    {
      what: 'an unknown service',
      events: [event, { ...event, service: 'nope' }],
      pointers: ['/events/1/service'],
    },
    {
      what: 'two unknown events',
      events: [{ ...event, event: 'nope' }, event, { ...event, event: 'nope' }],
      pointers: ['/events/0/event', '/events/2/event'],
    },
    {
      what: 'an event without a payload',
      events: [event, { service: 'channels', event: 'sms.outbound' }],
      pointers: ['/events/1/payload'],
    },
    { what: 'something else', events: [event, null, 1], pointers: ['/events/1', '/events/2'] },
    { what: 'an unknown property', events: [{ ...event, channel: 1 }], pointers: ['/events/0/channel'] },
    {
      what: 'the same id twice',
      events: [{ ...event, id: 'a' }, event, { ...event, id: 'a' }],
      pointers: ['/events/2/id'],
    },
    { what: 'NUL in an id', events: [{ ...event, id: 'a\0' }], pointers: ['/events/0/id'] },
    {
      what: 'a payload that is too large',
      events: [event, { ...event, payload: 'a'.repeat(262_143) }],
      pointers: [],
      status: 413,
      code: 'payload_too_large',
    },
  ]
  for (const { what, events, pointers, status = 422, code = 'validation_failed' } of bad) {
    it(`with ${what} is refused as a whole`, async () => {
      const own = await app.newTenant()
      expect(problemOf(await publishBatch(events, undefined, own))).to.deep.equal({ status, code, pointers })
      expect(await listed(own)).to.deep.equal([])
    })
  }

  it('that is too large is refused', async () => {
    const own = await app.newTenant()
    const large = { ...event, payload: 'a'.repeat(200_000) }
    expect(await publishBatch(Array<object>(40).fill(large), undefined, own)).to.include({ status: 202 })
    const refused = await publishBatch(Array<object>(42).fill(large), undefined, own)
    expect(problemOf(refused)).to.deep.equal({ status: 413, code: 'payload_too_large', pointers: [] })
    expect(await listed(own)).to.have.length(40)
  })

  it('keeps the bytes of every payload', async () => {
    const payloads = ['1.0', '{"b":1,"a":1e400}', '"\\u0000"']
    const members = payloads.map(
      payload => `{"service":"channels","event":"sms.outbound","payload":${payload}}`,
    )
    const reply = await tenant.client.post<{ results: Accepted[] }>(
      `${tenant.workspace}/events/batch`,
      Buffer.from(`{"events":[${members.join(',')}]}`),
    )
    for (const [i, { id }] of reply.body.results.entries()) {
      expect((await readText(tenant, id)).endsWith(`,"payload":${payloads[i]}}`)).to.equal(true)
    }
  })
})

describe('an idempotency key', () => {
  it('gives the same reply to the same body, whatever its white space', async () => {
    const own = await app.newTenant()
    const first = await publish(event, 'k1', own)
    const same = [
      await publish(event, 'k1', own),
      await publish(event, '"k1"', own),
      await publish(
        Buffer.from(`  ${JSON.stringify(event).replaceAll('{"service"', '{ "service"')}`),
        'k1',
        own,
      ),
    ]
    for (const reply of same) {
      expect(reply.status).to.equal(202)
      expect(reply.body).to.deep.equal(first.body)
    }
    expect(await listed(own)).to.have.length(1)
  })

  const others: { what: string; body: object }[] = [
    { what: 'payload', body: { ...event, payload: { status: 'read' } } },
    { what: 'event', body: { ...event, event: 'sms.inbound' } },
    { what: 'id', body: { ...event, id: 'x' } },
    { what: 'time', body: { ...event, occurredAt: '2026-03-01T09:30:00Z' } },
  ]
  for (const { what, body } of others) {
    it(`is refused for a body with another ${what}`, async () => {
      const own = await app.newTenant()
      await publish(event, 'k1', own)
      const reply = await publish(body, 'k1', own)
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'idempotency_key_reused', pointers: [] })
      expect(await listed(own)).to.have.length(1)
    })
  }

  it('tells bodies apart by the bytes of the payload', async () => {
    const own = await app.newTenant()
    const body = (payload: string) =>
      Buffer.from(`{"service":"channels","event":"sms.outbound","payload":${payload}}`)
    await publish(body('1.0'), 'k1', own)
    expect(problemOf(await publish(body('1'), 'k1', own))).to.include({ code: 'idempotency_key_reused' })
    expect(await publish(body('1.0'), 'k1', own)).to.include({ status: 202 })
  })

  it('is the id of the event where no other is given', async () => {
    const own = await app.newTenant()
    const first = await publish({ ...event, id: 'a' }, undefined, own)
    expect((await publish({ ...event, id: 'a' }, undefined, own)).body).to.deep.equal(first.body)
    const other = await publish({ ...event, id: 'a', payload: 1 }, undefined, own)
    expect(problemOf(other)).to.deep.equal({ status: 422, code: 'idempotency_key_reused', pointers: [] })
    const keyed = [
      await publish({ ...event, id: 'a' }, 'k1', own),
      await publish({ ...event, id: 'a' }, 'k2', own),
    ]
    expect(keyed.map(({ status }) => status)).to.deep.equal([202, 202])
    expect(await listed(own)).to.have.length(3)
  })

  it('makes one event of fifty requests at once', async () => {
    const own = await app.newTenant()
    for (const key of ['k1', undefined]) {
      const body = { ...event, id: 'a' }
      const replies = await Promise.all(Array.from({ length: 50 }, () => publish(body, key, own)))
      expect(new Set(replies.map(({ status, body: { id } }) => `${status} ${id}`)).size).to.equal(1)
      expect(replies[0]!.status).to.equal(202)
    }
    expect(await listed(own)).to.have.length(2)
  })

  it('lets one of two bodies win when they come at once', async () => {
    const own = await app.newTenant()
    const bodies = Array.from({ length: 20 }, (_, i) => ({ ...event, payload: i % 2 }))
    const replies = await Promise.all(bodies.map(body => publish(body, 'k1', own)))
    const [stored] = await listed(own)
    for (const reply of replies) {
      if (reply.status === 202) expect(reply.body.id).to.equal(stored!.id)
      else expect(problemOf(reply)).to.include({ status: 422, code: 'idempotency_key_reused' })
    }
    expect(replies.filter(({ status }) => status === 202)).to.have.length(10)
    expect(await listed(own)).to.have.length(1)
  })

  it('of one workspace means nothing in another', async () => {
    const [a, b] = [await app.newTenant(), await app.newTenant()]
    const first = await publish(event, 'k1', a)
    const second = await publish({ ...event, payload: 'another' }, 'k1', b)
    expect([first.status, second.status]).to.deep.equal([202, 202])
    expect(second.body.id).to.not.equal(first.body.id)
  })

  it('holds for a whole batch', async () => {
    const own = await app.newTenant()
    const events = [event, { ...event, id: 'a' }, { ...event, id: 'a' }]
    const first = await publishBatch(events, 'k1', own)
    expect(first.status).to.equal(202)
    expect((await publishBatch(events, 'k1', own)).body).to.deep.equal(first.body)
    const other = await publishBatch(events.toReversed(), 'k1', own)
    expect(problemOf(other)).to.deep.equal({ status: 422, code: 'idempotency_key_reused', pointers: [] })
    expect(await listed(own)).to.have.length(3)
  })

  it('of events in a batch finds those that were published before, and publishes the rest', async () => {
    const own = await app.newTenant()
    const known = await publish({ ...event, id: 'b' }, undefined, own)
    const events = ['a', 'b', 'c'].map(id => ({ ...event, id }))
    const { body } = await publishBatch(events, undefined, own)
    expect(body.results[1]).to.deep.equal(known.body)
    expect((await listed(own)).map(({ externalId }) => externalId)).to.have.members(['a', 'b', 'c'])
  })

  it('of an event in a batch gives that event to those who publish it alone at the same time', async () => {
    const own = await app.newTenant()
    const events = Array.from({ length: 300 }, (_, i) => ({ ...event, id: `n${i}` }))
    let isDone = false
    const batch = publishBatch(events, undefined, own).finally(() => (isDone = true))
    const alone: string[] = []
    do alone.push((await publish(events[299], undefined, own)).body.id)
    while (!isDone)
    const { body } = await batch
    expect(new Set(alone)).to.deep.equal(new Set([body.results[299]!.id]))
    expect(new Set(body.results.map(({ id }) => id)).size).to.equal(300)
  })

  for (const key of ['', '""', 'a'.repeat(256), 'é', 'a\tb', `"${'a'.repeat(256)}"`]) {
    it(`cannot be ${JSON.stringify(key).slice(0, 20)}`, async () => {
      const own = await app.newTenant()
      const reply = await publish(event, key, own)
      expect(problemOf(reply)).to.include({ status: 422, code: 'validation_failed' })
      expect(await listed(own)).to.deep.equal([])
    })
  }

  it('can have 255 characters, quotes aside', async () => {
    const own = await app.newTenant()
    const first = await publish(event, 'a'.repeat(255), own)
    expect(first.status).to.equal(202)
    expect((await publish(event, `"${'a'.repeat(255)}"`, own)).body).to.deep.equal(first.body)
  })

  it('is not used up by a request that was refused', async () => {
    const own = await app.newTenant()
    expect(await publish({ ...event, event: 'nope' }, 'k1', own)).to.include({ status: 422 })
    expect(await publish(event, 'k1', own)).to.include({ status: 202 })
  })
})

describe('the list of events', () => {
  let own: Tenant
  let made: Accepted[]
  before(async () => {
    own = await app.newTenant()
    made = []
    for (const [service, name] of [
      ['channels', 'sms.outbound'],
      ['channels', 'sms.inbound'],
      ['numbers', 'endpoint'],
      ['channels', 'sms.outbound'],
    ]) {
      const { body } = await publish({ service, event: name, payload: 1 }, undefined, own)
      made.push(body)
      // The filters go by milliseconds.
      while (Date.now() <= Date.parse(body.createdAt) + 1) await new Promise(setImmediate)
    }
  })

  const searches: { what: string; query: () => string; indexes: number[] }[] = [
    { what: 'nothing in particular', query: () => '', indexes: [3, 2, 1, 0] },
    { what: 'a service', query: () => '&service=channels', indexes: [3, 1, 0] },
    { what: 'an event', query: () => '&event=sms.outbound', indexes: [3, 0] },
    { what: 'a service and an event', query: () => '&service=numbers&event=sms.outbound', indexes: [] },
    { what: 'what came since', query: () => `&since=${made[1]!.createdAt}`, indexes: [3, 2, 1] },
    { what: 'what came until', query: () => `&until=${made[1]!.createdAt}`, indexes: [0] },
    {
      what: 'a span',
      query: () => `&since=${made[1]!.createdAt}&until=${made[3]!.createdAt}`,
      indexes: [2, 1],
    },
    {
      what: 'an empty span',
      query: () => `&since=${made[2]!.createdAt}&until=${made[2]!.createdAt}`,
      indexes: [],
    },
    {
      what: 'a span the wrong way round',
      query: () => `&since=${made[3]!.createdAt}&until=${made[0]!.createdAt}`,
      indexes: [],
    },
    {
      what: 'since before there were ids',
      query: () => '&since=1900-01-01T00:00:00Z',
      indexes: [3, 2, 1, 0],
    },
    { what: 'until before there were ids', query: () => '&until=1900-01-01T00:00:00Z', indexes: [] },
    { what: 'since the last day of all', query: () => '&since=9999-12-31T23:59:59Z', indexes: [] },
    { what: 'until the last day of all', query: () => '&until=9999-12-31T23:59:59Z', indexes: [3, 2, 1, 0] },
    {
      what: 'since another time zone',
      query: () => `&since=${encodeURIComponent('1999-12-31T23:59:59+05:30')}`,
      indexes: [3, 2, 1, 0],
    },
  ]
  for (const { what, query, indexes } of searches) {
    it(`can be asked for ${what}`, async () => {
      const results = await listed(own, query())
      expect(results.map(({ id }) => id)).to.deep.equal(indexes.map(i => made[i]!.id))
    })
  }

  const bad = [
    { query: 'since=yesterday', pointer: '?since' },
    { query: 'since=2026-03-01', pointer: '?since' },
    { query: 'until=0000-01-01T00:00:00Z', pointer: '?until' },
    { query: 'until=1700000000', pointer: '?until' },
    { query: 'service=channels,numbers', pointer: '?service' },
    { query: 'event=sms.*', pointer: '?event' },
    { query: 'payload=1', pointer: '?payload' },
  ]
  for (const { query, pointer } of bad) {
    it(`has no search for ${query}`, async () => {
      const reply = await own.client.get(`${own.workspace}/events?${query}`)
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: [pointer] })
    })
  }

  it('goes on over pages within its filters', async () => {
    const path = `${own.workspace}/events?limit=2&service=channels`
    const first = await own.client.get<Page>(path)
    const second = await own.client.get<Page>(`${path}&pageToken=${first.body.nextPageToken}`)
    const ids = [...first.body.results, ...second.body.results].map(({ id }) => id)
    expect(ids).to.deep.equal([3, 1, 0].map(i => made[i]!.id))
    expect(second.body).to.not.have.property('nextPageToken')
    const underOther = await own.client.get(
      `${own.workspace}/events?limit=2&pageToken=${first.body.nextPageToken}`,
    )
    expect(problemOf(underOther)).to.deep.equal({
      status: 422,
      code: 'invalid_page_token',
      pointers: ['?pageToken'],
    })
    const long = await own.client.get<Page>(
      `${own.organization}${own.workspace}/events?service=channels&limit=2&pageToken=${first.body.nextPageToken}`,
    )
    expect(long.body).to.deep.equal(second.body)
  })
})
