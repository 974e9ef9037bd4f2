/** Deliveries over HTTP: what was sent and what came back, as their owner reads it. */

import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { randomUUID } from 'node:crypto'
import { startRawReceiver } from '#test/sending/raw-receiver.ts'
import { poll, problemOf, startApp, type App, type Tenant } from '#test/support/app.ts'
import { startReceiver, type Inbox, type Receiver, type Step } from '#test/support/receiver.ts'

type Delivery = {
  id: string
  eventId: string
  status: string
  attemptsCount: number
  createdAt: string
  updatedAt: string
} & Record<string, unknown>
type Attempt = {
  id: string
  number: number
  outcome: string
  startedAt: string
  request: {
    method: string
    url: string
    headers: Record<string, string | string[]>
    body: string | null
  } | null
  response: {
    status: number
    headers: Record<string, string | string[]>
    body: string
    isTruncated: boolean
  } | null
} & Record<string, unknown>
type Page<Item> = { results: Item[]; nextPageToken?: string }

const channel = { service: 'channels', event: 'sms.outbound' }

let app: App
let receiver: Receiver
before(async () => {
  app = await startApp({ worker: true })
  receiver = await startReceiver()
})
after(async () => {
  await app.close()
  await receiver[Symbol.asyncDispose]()
})

type Sent = { tenant: Tenant; inbox: Inbox; subscriptionId: string; endpointId: string; eventId: string }

/** A new tenant with one subscription to an inbox that answers like this, and one event for it. */
async function send(steps: Step[], fields: object = {}, payload = '{"status":"sent"}'): Promise<Sent> {
  const [tenant, inbox] = [await app.newTenant(), receiver.inbox(...steps)]
  const { subscriptionId, endpointId } = await subscribe(tenant, { url: inbox.url, ...fields })
  return { tenant, inbox, subscriptionId, endpointId, eventId: await publish(tenant, payload) }
}

async function subscribe(
  tenant: Tenant,
  fields: object,
): Promise<{ subscriptionId: string; endpointId: string }> {
  const path = `${tenant.workspace}/webhook-subscriptions`
  const reply = await tenant.client.post<{ id: string; endpointId: string }>(path, { ...channel, ...fields })
  expect(reply.status, JSON.stringify(reply.body)).to.equal(201)
  return { subscriptionId: reply.body.id, endpointId: reply.body.endpointId }
}

async function publish(tenant: Tenant, payload: string): Promise<string> {
  const body = Buffer.from(`{"service":"channels","event":"sms.outbound","payload":${payload}}`)
  const reply = await tenant.client.post<{ id: string }>(`${tenant.workspace}/events`, body)
  expect(reply.status).to.equal(202)
  return reply.body.id
}

/** The one delivery of an event, once it is as it should be. */
async function deliveryOf(
  tenant: Tenant,
  eventId: string,
  isDone: (delivery: Delivery) => boolean,
): Promise<Delivery> {
  const path = `${tenant.workspace}/events/${eventId}/deliveries`
  const { body } = await poll(
    () => tenant.client.get<Page<Delivery>>(path),
    reply => reply.body.results.length === 1 && isDone(reply.body.results[0]!),
  )
  return body.results[0]!
}

const hasEnded = ({ status }: Delivery): boolean => status !== 'pending'

async function attemptsOf(tenant: Tenant, { id }: { id: string }): Promise<Attempt[]> {
  const { status, body } = await tenant.client.get<Page<Attempt>>(
    `${tenant.workspace}/deliveries/${id}/attempts`,
  )
  expect(status).to.equal(200)
  return body.results
}

/** The only attempt of a delivery that has ended. */
async function attemptOf({ tenant, eventId }: Sent): Promise<Attempt> {
  const delivery = await deliveryOf(tenant, eventId, hasEnded)
  const [attempt, ...others] = await attemptsOf(tenant, delivery)
  expect(others).to.have.length(0)
  return attempt!
}

describe('a delivery', () => {
  it('is read back with its attempt, the request and the response', async () => {
    const sent = await send([{ status: 201, headers: { 'x-reply': 'yes' }, body: 'thanks' }], {
      params: { from: 'hookseal' },
    })
    const { tenant, inbox, subscriptionId, endpointId, eventId } = sent
    const delivery = await deliveryOf(tenant, eventId, hasEnded)
    expect(delivery).to.deep.equal({
      id: delivery.id,
      eventId,
      subscriptionId,
      endpointId,
      ...channel,
      status: 'delivered',
      attemptsCount: 1,
      lastOutcome: 'delivered',
      lastResponseStatus: 201,
      createdAt: delivery.createdAt,
      updatedAt: delivery.updatedAt,
    })
    for (const path of [tenant.workspace, `${tenant.organization}${tenant.workspace}`]) {
      expect((await tenant.client.get(`${path}/deliveries/${delivery.id}`)).body).to.deep.equal(delivery)
      expect((await tenant.client.get(`${path}/deliveries`)).body).to.deep.equal({ results: [delivery] })
    }
    expect((await tenant.client.get(`${tenant.workspace}/events/${eventId}`)).body).to.include({
      deliveriesCount: 1,
    })

    const attempt = await attemptOf(sent)
    const [request] = await inbox.received(1)
    expect(attempt).to.deep.include({
      deliveryId: delivery.id,
      number: 1,
      outcome: 'delivered',
      requestsCount: 1,
      remoteAddress: '127.0.0.1',
    })
    expect(attempt).to.not.have.property('error')
    expect(attempt['durationMs']).to.be.within(0, 5_000)
    expect(attempt.request).to.deep.include({
      method: 'POST',
      url: `${inbox.url}?from=hookseal`,
      body: '{"service":"channels","event":"sms.outbound","payload":{"status":"sent"}}',
    })
    expect(request!.body.toString()).to.equal(attempt.request!.body)
    const { host: _, connection: __, 'content-length': ___, ...received } = request!.headers
    expect(attempt.request!.headers).to.deep.equal(received)
    expect(received).to.include({
      'webhook-id': eventId,
      'hookseal-delivery': delivery.id,
      'hookseal-attempt': '1',
    })
    expect(attempt.response).to.deep.include({ status: 201, body: 'thanks', isTruncated: false })
    expect(attempt.response!.headers).to.include({ 'x-reply': 'yes' })
  })

  it('shows secrets neither in what was sent nor anywhere else', async () => {
    const sent = await send([200], {
      headers: { 'X-Tenant': 'header-secret', Authorization: 'Bearer header-secret' },
      auth: null,
    })
    const other = await send([200], { auth: { username: 'acme', password: 'password-secret' } })
    const attempts = [await attemptOf(sent), await attemptOf(other)]
    expect(attempts[0]!.request!.headers).to.include({ 'x-tenant': '***', authorization: '***' })
    expect(attempts[1]!.request!.headers).to.include({ authorization: '***' })
    expect((await sent.inbox.received(1))[0]!.headers).to.include({ 'x-tenant': 'header-secret' })
    const encoded = Buffer.from('acme:password-secret').toString('base64')
    expect((await other.inbox.received(1))[0]!.headers).to.include({ authorization: `Basic ${encoded}` })
    for (const secret of ['header-secret', 'password-secret', encoded]) {
      expect(JSON.stringify(attempts)).to.not.include(secret)
    }
  })

  it('without a body has none', async () => {
    const sent = await send([200], { method: 'GET' })
    const { request } = await attemptOf(sent)
    expect(request).to.include({ method: 'GET', body: null })
    expect((await sent.inbox.received(1))[0]!.body).to.have.length(0)
  })

  for (const format of ['bird', 'standard', 'cloudevents', 'raw']) {
    it(`in the format ${format} carries the payload's own bytes`, async () => {
      const payload = '{"b":1.0,"a":1e400,"a":"\\u0000\\ud800 é"}'
      const sent = await send([200], { format }, payload)
      const { request } = await attemptOf(sent)
      const [received] = await sent.inbox.received(1)
      expect(received!.body.toString()).to.equal(request!.body).and.to.include(payload)
      if (format === 'raw') expect(request!.body).to.equal(payload)
    })
  }

  it('is missing where there is none', async () => {
    const { client, workspace } = await app.newTenant()
    const path = `${workspace}/deliveries/${randomUUID()}`
    for (const reply of [await client.get(path), await client.get(`${path}/attempts`)]) {
      expect(problemOf(reply)).to.deep.equal({ status: 404, code: 'not_found', pointers: [] })
    }
  })

  it('shows the attempt that is on the wire as started', async () => {
    const { tenant, inbox, subscriptionId, eventId } = await send(['hang'])
    await inbox.received(1)
    const delivery = await deliveryOf(tenant, eventId, () => true)
    expect(delivery).to.include({ status: 'pending', attemptsCount: 0, subscriptionId })
    const [started, ...others] = await attemptsOf(tenant, delivery)
    expect(others).to.have.length(0)
    expect(started).to.deep.equal({
      id: started!.id,
      deliveryId: delivery.id,
      number: 1,
      outcome: 'started',
      startedAt: started!.startedAt,
      requestsCount: 1,
      request: null,
      response: null,
    })
    const details = await tenant.client.get<Page<{ attempt: Attempt }>>(
      `${tenant.workspace}/webhook-subscriptions/${subscriptionId}/logs/details?requestId=${eventId}`,
    )
    expect(details.body.results[0]!.attempt).to.deep.equal(started)

    inbox.letGo(204)
    expect(await deliveryOf(tenant, eventId, hasEnded)).to.include({ id: delivery.id, status: 'delivered' })
    const [ended] = await attemptsOf(tenant, delivery)
    expect(ended).to.include({ id: started!.id, number: 1, outcome: 'delivered' })
  })
})

describe('a response', () => {
  const bodies: { what: string; body: Buffer; shown: string; isTruncated: boolean }[] = [
    { what: 'nothing', body: Buffer.alloc(0), shown: '', isTruncated: false },
    { what: 'NUL', body: Buffer.from('a\0b'), shown: 'a\0b', isTruncated: false },
    {
      what: 'what is no UTF-8',
      body: Buffer.from([0xff, 0x41, 0xc3]),
      shown: '\ufffdA\ufffd',
      isTruncated: false,
    },
    {
      what: 'characters of all lengths',
      body: Buffer.from('aé😀\u2028'),
      shown: 'aé😀\u2028',
      isTruncated: false,
    },
    { what: '16 KiB', body: Buffer.alloc(16_384, 'a'), shown: 'a'.repeat(16_384), isTruncated: false },
    { what: 'one byte more', body: Buffer.alloc(16_385, 'a'), shown: 'a'.repeat(16_384), isTruncated: true },
    { what: 'megabytes', body: Buffer.alloc(3_000_000, 'a'), shown: 'a'.repeat(16_384), isTruncated: true },
    {
      what: 'a character over the edge',
      body: Buffer.from(`${'a'.repeat(16_383)}é`),
      shown: `${'a'.repeat(16_383)}\ufffd`,
      isTruncated: true,
    },
  ]
  for (const { what, body, shown, isTruncated } of bodies) {
    it(`of ${what} is shown as text, at most 16 KiB of it`, async () => {
      const { response } = await attemptOf(await send([{ status: 200, body }]))
      expect(response!.body).to.equal(shown)
      expect(response).to.include({ status: 200, isTruncated })
    })
  }

  it('with a header twice shows both', async () => {
    const headers = { 'set-cookie': ['a=1', 'b=2'] as unknown as string, __proto__x: 'y', constructor: 'z' }
    const { response } = await attemptOf(await send([{ status: 200, headers }]))
    expect(response!.headers).to.deep.include({
      'set-cookie': ['a=1', 'b=2'],
      __proto__x: 'y',
      constructor: 'z',
    })
  })

  const raw: { what: string; head: string; shown: Record<string, string> }[] = [
    { what: 'bytes beyond ASCII', head: 'X-A: caf\xe9\r\n', shown: { 'x-a': 'caf\xe9' } },
    { what: 'quotes and backslashes', head: 'X-A: "a\\b", {c}\r\n', shown: { 'x-a': '"a\\b", {c}' } },
    { what: 'a colon in front', head: 'X-A: : b: c\r\n', shown: { 'x-a': ': b: c' } },
    { what: 'nothing', head: 'X-A:\r\n', shown: { 'x-a': '' } },
    { what: '__proto__ for its name', head: '__proto__: x\r\n', shown: { ['__proto__']: 'x' } },
  ]
  for (const { what, head, shown } of raw) {
    it(`with ${what} in a header is shown with it`, async () => {
      const { tenant, eventId } = await sendRaw(`HTTP/1.1 200 OK\r\n${head}Content-Length: 0\r\n\r\n`)
      const delivery = await deliveryOf(tenant, eventId, hasEnded)
      const [attempt] = await attemptsOf(tenant, delivery)
      expect(attempt!.outcome).to.equal('delivered')
      for (const [name, value] of Object.entries(shown)) {
        expect(Object.getOwnPropertyDescriptor(attempt!.response!.headers, name)?.value).to.equal(value)
      }
    })
  }

  const broken: { what: string; reply: string }[] = [
    { what: 'NUL in a header', reply: 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n' },
    { what: 'another protocol', reply: 'SSH-2.0-OpenSSH_9.6\0\r\n' },
    { what: 'an impossible length', reply: 'HTTP/1.1 200 OK\r\nContent-Length: nope\r\n\r\n' },
    { what: 'headers without end', reply: `HTTP/1.1 200 OK\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n` },
  ]
  for (const { what, reply } of broken) {
    it(`with ${what} is an attempt that ended, and is read back`, async () => {
      const { tenant, eventId } = await sendRaw(reply)
      const delivery = await deliveryOf(tenant, eventId, hasEnded)
      const [attempt] = await attemptsOf(tenant, delivery)
      expect(attempt).to.include({ outcome: 'protocol_error', response: null })
      expect(attempt!['error']).to.match(/^The exchange does not follow HTTP\/1\.1/)
      expect(delivery).to.include({ status: 'failed', lastOutcome: 'protocol_error' })
    })
  }

  /** A delivery to a receiver that answers with these bytes, in Latin-1, and hangs up. */
  async function sendRaw(reply: string): Promise<{ tenant: Tenant; eventId: string }> {
    await using server = await startRawReceiver(socket => void socket.end(Buffer.from(reply, 'latin1')))
    const tenant = await app.newTenant()
    await subscribe(tenant, { url: `${server.origin}/`, retryPolicy: 'none' })
    const eventId = await publish(tenant, '1')
    await deliveryOf(tenant, eventId, hasEnded)
    return { tenant, eventId }
  }
})

describe('a failure', () => {
  const failures: { what: string; step: Step; outcome: string; status?: number; reason: string }[] = [
    {
      what: 'an error of the receiver',
      step: 500,
      outcome: 'http_error',
      status: 500,
      reason: 'its only attempt failed',
    },
    {
      what: 'a refusal',
      step: 404,
      outcome: 'http_error',
      status: 404,
      reason: 'its only attempt failed',
    },
    {
      what: 'a redirect',
      step: { status: 302, headers: { location: '/elsewhere' } },
      outcome: 'redirect_refused',
      status: 302,
      reason: 'its only attempt failed',
    },
    {
      what: 'a limit',
      step: { status: 429, headers: { 'retry-after': '5' } },
      outcome: 'throttled',
      status: 429,
      reason: 'its only attempt failed',
    },
    {
      what: 'an endpoint that is gone',
      step: 410,
      outcome: 'gone',
      status: 410,
      reason: 'the endpoint answered 410 Gone',
    },
    { what: 'a reset', step: 'reset', outcome: 'connection_reset', reason: 'its only attempt failed' },
  ]
  for (const { what, step, outcome, status, reason } of failures) {
    it(`by ${what} ends a delivery without retries, and says why`, async () => {
      const sent = await send([step], { retryPolicy: 'none' })
      const delivery = await deliveryOf(sent.tenant, sent.eventId, hasEnded)
      expect(delivery).to.include({
        status: 'failed',
        statusReason: reason,
        lastOutcome: outcome,
        attemptsCount: 1,
      })
      expect(delivery['lastResponseStatus']).to.equal(status)
      expect(delivery).to.not.have.any.keys('nextAttemptAt', 'heldBy')
      const attempt = await attemptOf(sent)
      expect(attempt).to.include({ outcome, number: 1 })
      if (status === undefined) {
        expect(attempt.response).to.equal(null)
        expect(attempt['error']).to.match(/^The .+\.$/)
      } else {
        expect(attempt.response).to.include({ status })
        expect(attempt).to.not.have.property('error')
      }
      expect(receiver.strays).to.have.length(0)
    })
  }

  it('by a name that is not found shows no address and no request on the wire', async () => {
    const tenant = await app.newTenant()
    await subscribe(tenant, { url: 'https://nowhere.example/', retryPolicy: 'none' })
    const delivery = await deliveryOf(tenant, await publish(tenant, '1'), hasEnded)
    const [attempt] = await attemptsOf(tenant, delivery)
    expect(attempt).to.include({ outcome: 'dns_error', requestsCount: 0, response: null })
    expect(attempt).to.not.have.property('remoteAddress')
  })

  it('is tried again, each attempt with a number and a time of its own', async () => {
    const { tenant, inbox, subscriptionId, eventId } = await send(
      [{ status: 500, body: 'first' }, { status: 503, body: 'second' }, 200],
      { retryPolicy: { delays: [0, 0, 0] } },
    )
    const delivery = await deliveryOf(tenant, eventId, hasEnded)
    expect(delivery).to.include({ status: 'delivered', attemptsCount: 3, lastResponseStatus: 200 })
    const attempts = await attemptsOf(tenant, delivery)
    expect(attempts.map(({ number, outcome }) => `${number} ${outcome}`)).to.deep.equal([
      '1 http_error',
      '2 http_error',
      '3 delivered',
    ])
    expect(attempts.map(({ response }) => response!.body)).to.deep.equal(['first', 'second', ''])
    expect(new Set(attempts.map(({ id }) => id)).size).to.equal(3)
    const requests = await inbox.received(3)
    expect(new Set(requests.map(({ body }) => body.toString())).size).to.equal(1)
    expect(requests.map(({ headers }) => headers['hookseal-attempt'])).to.deep.equal(['1', '2', '3'])

    const log = `${tenant.workspace}/webhook-subscriptions/${subscriptionId}/logs`
    const { body: entries } = await tenant.client.get<Page<object>>(log)
    expect(entries.results).to.deep.equal([
      {
        requestId: eventId,
        deliveryId: delivery.id,
        ...channel,
        executionStatus: 'delivered',
        attemptsCount: 3,
        lastOutcome: 'delivered',
        lastResponseStatus: 200,
        createdAt: delivery.createdAt,
        updatedAt: delivery.updatedAt,
      },
    ])
    const { body: details } = await tenant.client.get<Page<object>>(`${log}/details?requestId=${eventId}`)
    expect(details.results).to.deep.equal(attempts.map(attempt => ({ requestId: eventId, attempt })))
  })

  it('that is to be tried again says when', async () => {
    const { tenant, eventId } = await send([500], { retryPolicy: { delays: [0, 3_600] } })
    const delivery = await deliveryOf(tenant, eventId, ({ attemptsCount }) => attemptsCount === 1)
    expect(delivery).to.include({ status: 'pending', lastOutcome: 'http_error', lastResponseStatus: 500 })
    const inSeconds = (Date.parse(String(delivery['nextAttemptAt'])) - Date.now()) / 1_000
    expect(inSeconds).to.be.within(3_600 * 0.8 - 60, 3_600 * 1.2 + 60)
  })
})

describe('the list of deliveries', () => {
  let tenant: Tenant
  const subscriptions: string[] = []
  let events: string[]
  let all: Delivery[]
  before(async () => {
    tenant = await app.newTenant()
    for (const status of [200, 500]) {
      const { subscriptionId } = await subscribe(tenant, {
        url: receiver.inbox(status).url,
        retryPolicy: 'none',
      })
      subscriptions.push(subscriptionId)
    }
    events = []
    for (let i = 0; i < 3; i++) events.push(await publish(tenant, String(i)))
    const { body } = await poll(
      () => tenant.client.get<Page<Delivery>>(`${tenant.workspace}/deliveries`),
      reply => reply.body.results.length === 6 && reply.body.results.every(hasEnded),
    )
    all = body.results
  })

  async function list(query: string): Promise<Delivery[]> {
    const { status, body } = await tenant.client.get<Page<Delivery>>(
      `${tenant.workspace}/deliveries?limit=100${query}`,
    )
    expect(status).to.equal(200)
    return body.results
  }

  it('is newest first', () => {
    const ids = all.map(({ id }) => id)
    expect(ids).to.deep.equal(ids.toSorted().toReversed())
    expect(new Set(ids).size).to.equal(6)
    expect(all.map(({ eventId }) => eventId)).to.have.members([...events, ...events])
  })

  const searches: { what: string; query: () => string; has: (delivery: Delivery) => boolean }[] = [
    {
      what: 'a subscription',
      query: () => `&subscriptionId=${subscriptions[0]}`,
      has: ({ subscriptionId }) => subscriptionId === subscriptions[0],
    },
    {
      what: 'an event',
      query: () => `&eventId=${events[1]!.toUpperCase()}`,
      has: ({ eventId }) => eventId === events[1],
    },
    { what: 'a status', query: () => '&status=failed', has: ({ status }) => status === 'failed' },
    { what: 'another status', query: () => '&status=parked', has: () => false },
    { what: 'both', query: () => `&status=failed&subscriptionId=${subscriptions[0]}`, has: () => false },
    {
      what: 'what came since',
      query: () => `&since=${all[0]!.createdAt}`,
      has: ({ createdAt }) => createdAt >= all[0]!.createdAt,
    },
    {
      what: 'what came until',
      query: () => `&until=${all[0]!.createdAt}`,
      has: ({ createdAt }) => createdAt < all[0]!.createdAt,
    },
    { what: 'since long ago', query: () => '&since=1900-01-01T00:00:00Z', has: () => true },
    { what: 'until long ago', query: () => '&until=1969-12-31T23:59:59Z', has: () => false },
  ]
  for (const { what, query, has } of searches) {
    it(`can be asked for ${what}`, async () => {
      expect(await list(query())).to.deep.equal(all.filter(has))
    })
  }

  const bad = [
    { query: 'status=done', pointer: '?status' },
    { query: 'subscriptionId=x', pointer: '?subscriptionId' },
    { query: 'eventId=0', pointer: '?eventId' },
    { query: 'since=0', pointer: '?since' },
    { query: 'endpointId=x', pointer: '?endpointId' },
  ]
  for (const { query, pointer } of bad) {
    it(`has no search for ${query}`, async () => {
      const reply = await tenant.client.get(`${tenant.workspace}/deliveries?${query}`)
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: [pointer] })
    })
  }

  const lists: { what: string; path: () => string; ids: () => string[] }[] = [
    {
      what: 'all deliveries',
      path: () => `${tenant.workspace}/deliveries?limit=4`,
      ids: () => all.map(({ id }) => id),
    },
    {
      what: "an event's",
      path: () => `${tenant.workspace}/events/${events[0]}/deliveries?limit=1`,
      ids: () => all.filter(({ eventId }) => eventId === events[0]).map(({ id }) => id),
    },
    {
      what: "a subscription's log",
      path: () =>
        `${tenant.workspace}/webhook-subscriptions/${subscriptions[1]}/logs?limit=2&executionStatus=failed`,
      ids: () => all.filter(({ status }) => status === 'failed').map(({ id }) => id),
    },
  ]
  for (const { what, path, ids } of lists) {
    it(`of ${what} goes on over pages`, async () => {
      type Entry = { id?: string; deliveryId?: string }
      const found: (string | undefined)[] = []
      let token: string | undefined
      do {
        const { body } = await tenant.client.get<Page<Entry>>(
          path() + (token === undefined ? '' : `&pageToken=${token}`),
        )
        found.push(...body.results.map(({ id, deliveryId }) => id ?? deliveryId))
        token = body.nextPageToken
      } while (token !== undefined)
      expect(found).to.deep.equal(ids())
    })
  }
})

describe('the log of a subscription', () => {
  it('needs the request whose details are asked for', async () => {
    const { tenant, subscriptionId, eventId } = await send([200])
    await deliveryOf(tenant, eventId, hasEnded)
    const path = `${tenant.workspace}/webhook-subscriptions/${subscriptionId}/logs`
    for (const query of ['', '?requestId=', '?requestId=x', `?requestId=${eventId}&requestId=${eventId}`]) {
      const reply = await tenant.client.get(`${path}/details${query}`)
      expect(problemOf(reply), query).to.deep.equal({
        status: 422,
        code: 'validation_failed',
        pointers: ['?requestId'],
      })
    }
    const missing = await tenant.client.get(`${path}/details?requestId=${randomUUID()}`)
    expect(problemOf(missing)).to.deep.equal({ status: 404, code: 'not_found', pointers: [] })
    const wrong = await tenant.client.get(`${path}?executionStatus=ok`)
    expect(problemOf(wrong)).to.deep.equal({
      status: 422,
      code: 'validation_failed',
      pointers: ['?executionStatus'],
    })
    expect((await tenant.client.get(`${path}?executionStatus=failed`)).body).to.deep.equal({ results: [] })
  })
})
