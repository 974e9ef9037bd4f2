/**
 * From a publish to what the receiver holds in its hands: the bytes, the headers, the signatures; and who gets it.
 */
import { createHash, createHmac } from 'node:crypto'
import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { Webhook } from 'standardwebhooks'
import type { Client } from '#test/support/api-client.ts'
import { testDatabase } from '#test/support/database.ts'
import { createServiceEnv, startService, type Service } from '#test/support/process.ts'
import { headerOf, startReceiver, type Received, type Receiver } from '#test/support/receiver.ts'
import { createOperator, createTenant, isDelivered, until, type Tenant } from '#test/scenarios/tenant.ts'

describe('from publish to received', () => {
  let service: Service
  let receiver: Receiver
  let operator: Client
  let tenant: Tenant

  before(async () => {
    const env = { ...createServiceEnv(), DATABASE_URL: (await testDatabase()).url }
    ;[service, receiver] = await Promise.all([startService(env), startReceiver()])
    operator = createOperator(service.url, env)
    tenant = await createTenant(operator)
  })

  after(async () => {
    await operator?.close()
    await service?.stop()
    await receiver?.[Symbol.asyncDispose]()
  })

  describe('the signatures', () => {
    it('of a delivery are both right, by plain crypto and by the library of Standard Webhooks', async () => {
      const inbox = receiver.inbox()
      const { signingKey } = await tenant.subscribe(inbox.url, { params: { region: 'eu west' } })

      const event = await tenant.publish({ text: 'héllo' })
      const [request] = await inbox.received(1)

      expect(request!.headers['webhook-id']).to.equal(event.id)
      expect(request!.headers['webhook-signature']).to.equal(
        standardSignature(request!, keyBytes(signingKey)),
      )
      expect(request!.headers['messagebird-signature']).to.equal(
        birdSignature(request!, receiver.url + request!.url, signingKey),
      )
      expect(request!.headers['messagebird-request-timestamp']).to.equal(
        request!.headers['webhook-timestamp'],
      )
      expect(request!.headers['messagebird-request-id']).to.equal(event.id)
      expect(new Webhook(signingKey).verify(request!.body, plainHeaders(request!))).to.deep.equal({
        service: 'channels',
        event: 'sms.outbound',
        payload: { text: 'héllo' },
      })
    })

    it('do not hold for a body of which one byte was changed', async () => {
      const inbox = receiver.inbox()
      const { signingKey } = await tenant.subscribe(inbox.url, {
        eventFilters: [{ key: 'channelId', value: 'forged' }],
      })

      await tenant.publish({ channelId: 'forged', amount: 1 })
      const [request] = await inbox.received(1)
      const forged = Buffer.from(request!.body.toString().replace('"amount":1', '"amount":9'))

      expect(() => new Webhook(signingKey).verify(forged, plainHeaders(request!))).to.throw(
        'No matching signature',
      )
    })

    it('are made with a key that the owner brought, which a library takes in the form it is documented to', async () => {
      const inbox = receiver.inbox()
      const signingKey = 'a key that is certainly not base64'
      await tenant.subscribe(inbox.url, { signingKey, event: 'line.outbound' })

      await tenant.publish({}, { event: 'line.outbound' })
      const [request] = await inbox.received(1)

      const librarySecret = `whsec_${Buffer.from(signingKey).toString('base64')}`
      expect(() => new Webhook(librarySecret).verify(request!.body, plainHeaders(request!))).not.to.throw()
      expect(request!.headers['messagebird-signature']).to.equal(
        birdSignature(request!, inbox.url, signingKey),
      )
    })

    it('are only those that the subscription asks for; id and time always come', async () => {
      const inbox = receiver.inbox()
      await tenant.subscribe(inbox.url, { signatures: ['bird'], event: 'line.inbound' })

      await tenant.publish({}, { event: 'line.inbound' })
      const [{ headers }] = (await inbox.received(1)) as [Received]

      expect(headers).to.include.keys('webhook-id', 'webhook-timestamp', 'messagebird-signature')
      expect(headers).not.to.have.property('webhook-signature')
    })

    it('are of the old and the new key while a rotation overlaps, and of the new one alone after it', async () => {
      const inbox = receiver.inbox()
      const subscription = await tenant.subscribe(inbox.url, { event: 'viber.inbound' })
      const publish = () => tenant.publish({}, { event: 'viber.inbound' })
      const rotate = async (overlapSeconds: number) => {
        const path = `${tenant.path}/webhook-subscriptions/${subscription.id}/rotate-signing-key`
        const reply = await operator.post<{ signingKey: string }>(path, { overlapSeconds })
        expect(reply.status).to.equal(200)
        return reply.body.signingKey
      }
      await publish()
      await inbox.received(1)

      const second = await rotate(3_600)
      await publish()
      const overlapping = (await inbox.received(2))[1]!

      expect(second).not.to.equal(subscription.signingKey)
      expect(overlapping.headers['webhook-signature']).to.equal(
        [second, subscription.signingKey].map(key => standardSignature(overlapping, keyBytes(key))).join(' '),
      )
      for (const key of [second, subscription.signingKey]) {
        expect(() => new Webhook(key).verify(overlapping.body, plainHeaders(overlapping))).not.to.throw()
      }
      // One signature fits its header: every receiver has the old key, and only some have the new one.
      expect(overlapping.headers['messagebird-signature']).to.equal(
        birdSignature(overlapping, inbox.url, subscription.signingKey),
      )

      const third = await rotate(0)
      await publish()
      const switched = (await inbox.received(3))[2]!
      expect(switched.headers['webhook-signature']).to.equal(standardSignature(switched, keyBytes(third)))
      expect(switched.headers['messagebird-signature']).to.equal(birdSignature(switched, inbox.url, third))
    })

    it('leave the old key out as soon as its overlap ends, without a change of the subscription', async () => {
      const inbox = receiver.inbox()
      const subscription = await tenant.subscribe(inbox.url, { event: 'viber.outbound' })
      const publish = () => tenant.publish({}, { event: 'viber.outbound' })
      const path = `${tenant.path}/webhook-subscriptions/${subscription.id}/rotate-signing-key`
      const { body } = await operator.post<{ signingKey: string }>(path, { overlapSeconds: 1 })
      await publish()
      await inbox.received(1)

      const single = await until(
        async () => {
          await publish()
          return (await inbox.received(inbox.requests.length + 1)).at(-1)!
        },
        ({ headers }) => !String(headers['webhook-signature']).includes(' '),
        5_000,
      )

      expect(single.headers['webhook-signature']).to.equal(
        standardSignature(single, keyBytes(body.signingKey)),
      )
    })
  })

  describe('the body', () => {
    const occurredAt = '2026-03-01T09:30:00.000Z'
    // Numbers, order, escapes and spaces that a parser would not give back.
    const payload = '{"z":1.50,"a":1e2,"big":12345678901234567890,"text":"\\u00e9\\/é", "empty":{ } }'

    const formats: { format: string; contentType: string; body: (eventId: string) => string }[] = [
      {
        format: 'bird',
        contentType: 'application/json',
        body: () => `{"service":"channels","event":"email.outbound","payload":${payload}}`,
      },
      {
        format: 'standard',
        contentType: 'application/json',
        body: () => `{"type":"channels.email.outbound","timestamp":"${occurredAt}","data":${payload}}`,
      },
      {
        format: 'cloudevents',
        contentType: 'application/cloudevents+json; charset=UTF-8',
        body: id =>
          `{"specversion":"1.0","id":"${id}","source":"/services/channels","type":"channels.email.outbound",` +
          `"time":"${occurredAt}","datacontenttype":"application/json","data":${payload}}`,
      },
      { format: 'raw', contentType: 'application/json', body: () => payload },
    ]

    for (const { format, contentType, body } of formats) {
      it(`has the payload byte for byte in the format ${format}`, async () => {
        const inbox = receiver.inbox()
        const own = await createTenant(operator)
        await own.subscribe(inbox.url, { event: 'email.outbound', format })

        const envelope = `{"service":"channels","event":"email.outbound","occurredAt":"${occurredAt}","payload":${payload}}`
        const reply = await operator.post<{ id: string }>(`${own.path}/events`, Buffer.from(envelope))
        expect(reply.status).to.equal(202)
        const [request] = await inbox.received(1)

        expect(request!.body.toString()).to.equal(body(reply.body.id))
        expect(request!.headers['content-type']).to.equal(contentType)
        expect(request!.headers['content-length']).to.equal(String(request!.body.length))
      })
    }

    it('is not there in a GET, whose signature is over nothing', async () => {
      const inbox = receiver.inbox()
      const { signingKey } = await tenant.subscribe(inbox.url, { method: 'GET', event: 'tiktok.inbound' })

      const event = await tenant.publish({ secret: 1 }, { event: 'tiktok.inbound' })
      const [request] = await inbox.received(1)

      expect(request).to.include({ method: 'GET' })
      expect(request!.body).to.have.lengthOf(0)
      expect(request!.headers).not.to.have.any.keys('content-type', 'content-length', 'transfer-encoding')
      expect(request!.headers['webhook-signature']).to.equal(
        standardSignature(request!, keyBytes(signingKey)),
      )
      const delivery = await tenant.delivery(event, isDelivered)
      expect((await tenant.attempts(delivery))[0]!.request).to.include({ method: 'GET', body: null })
    })
  })

  describe('the request', () => {
    it('has the headers, parameters and credentials of its endpoint, and no reader sees their values', async () => {
      const inbox = receiver.inbox()
      const subscription = await tenant.subscribe(`${inbox.url}?kept=1`, {
        event: 'tiktok.outbound',
        method: 'PUT',
        headers: { 'X-Api-Key': 'very secret', 'content-type': 'application/vnd.acme+json' },
        params: { 'a b': 'c&d', unicode: 'é' },
        auth: { username: 'user', password: 'pa:ss' },
      })

      const event = await tenant.publish({}, { event: 'tiktok.outbound' })
      const [request] = await inbox.received(1)

      expect(request!.method).to.equal('PUT')
      const query = new URL(request!.url, receiver.url).searchParams
      expect([...query]).to.have.deep.members([
        ['kept', '1'],
        ['a b', 'c&d'],
        ['unicode', 'é'],
      ])
      expect(request!.headers).to.include({
        'x-api-key': 'very secret',
        'content-type': 'application/vnd.acme+json',
        authorization: `Basic ${Buffer.from('user:pa:ss').toString('base64')}`,
        'accept-encoding': 'identity',
      })

      const shown = await tenant.find(subscription)
      expect(shown.headers).to.deep.equal({ 'X-Api-Key': '***', 'content-type': '***' })
      expect(shown.auth).to.deep.equal({ username: 'user', password: '***' })
      const delivery = await tenant.delivery(event, isDelivered)
      const [attempt] = await tenant.attempts(delivery)
      expect(attempt!.request!.headers).to.include({
        'x-api-key': '***',
        authorization: '***',
        'content-type': '***',
      })
      expect(JSON.stringify([shown, delivery, attempt])).not.to.match(/very secret|pa:ss/)
    })

    it('keeps hidden values that a change sends back as they were shown', async () => {
      const inbox = receiver.inbox()
      const subscription = await tenant.subscribe(inbox.url, {
        event: 'telegram.outbound',
        headers: { 'X-Api-Key': 'kept', 'X-Old': 'dropped' },
      })
      await tenant.change(subscription, { headers: { 'X-Api-Key': '***', 'X-New': 'added' } })

      await tenant.publish({}, { event: 'telegram.outbound' })
      const [request] = await inbox.received(1)

      expect(request!.headers).to.include({ 'x-api-key': 'kept', 'x-new': 'added' })
      expect(request!.headers).not.to.have.property('x-old')
    })

    it('says which delivery and which attempt it is, as the attempt that is kept of it does', async () => {
      const inbox = receiver.inbox({ status: 201, headers: { 'x-receipt': '42' }, body: 'thank you' })
      await tenant.subscribe(inbox.url, { event: 'telegram.inbound' })

      const event = await tenant.publish({ n: 1 }, { event: 'telegram.inbound' })
      const [request] = await inbox.received(1)
      const delivery = await tenant.delivery(event, isDelivered)
      const attempts = await tenant.attempts(delivery)

      expect(request!.headers).to.include({ 'hookseal-delivery': delivery.id, 'hookseal-attempt': '1' })
      expect(delivery).to.include({ attemptsCount: 1, lastOutcome: 'delivered', lastResponseStatus: 201 })
      expect(attempts).to.have.lengthOf(1)
      expect(attempts[0]).to.include({ number: 1, outcome: 'delivered', requestsCount: 1 })
      expect(attempts[0]!.request).to.include({
        method: 'POST',
        url: inbox.url,
        body: request!.body.toString(),
      })
      expect(attempts[0]!.response).to.include({ status: 201, body: 'thank you', isTruncated: false })
      expect(attempts[0]!.response!.headers).to.include({ 'x-receipt': '42' })
    })

    it('leaves the first 16 KiB of a long answer', async () => {
      const inbox = receiver.inbox({ status: 200, body: 'x'.repeat(20_000) })
      await tenant.subscribe(inbox.url, { event: 'linkedin.inbound' })

      const event = await tenant.publish({}, { event: 'linkedin.inbound' })
      const delivery = await tenant.delivery(event, isDelivered)
      const [attempt] = await tenant.attempts(delivery)

      expect(attempt!.response!.body).to.equal('x'.repeat(16_384))
      expect(attempt!.response!.isTruncated).to.equal(true)
    })

    it('leaves an answer that is not text, and that PostgreSQL would refuse, as far as JSON can show it', async () => {
      const inbox = receiver.inbox({ status: 200, body: Buffer.from([0x61, 0x00, 0xff, 0x62]) })
      await tenant.subscribe(inbox.url, { event: 'linkedin.outbound' })

      const event = await tenant.publish({}, { event: 'linkedin.outbound' })
      const delivery = await tenant.delivery(event, isDelivered)

      expect((await tenant.attempts(delivery))[0]!.response!.body).to.equal('a\0\ufffdb')
    })
  })

  describe('the filters', () => {
    const cases: {
      filters: Record<string, string>[]
      event?: string
      wanted: unknown[]
      unwanted: unknown[]
    }[] = [
      {
        filters: [
          { key: 'channelId', value: 'c1' },
          { key: 'messageStatus', value: 'sent' },
        ],
        wanted: [{ channelId: 'c1', status: 'sent' }],
        unwanted: [
          { channelId: 'c1', status: 'failed' },
          { channelId: 'c2', status: 'sent' },
          { channelId: 'c1' },
          { channelId: ['c1'], status: 'sent' },
          'c1',
          null,
        ],
      },
      {
        event: 'voice.outbound',
        filters: [
          { key: 'channelId', value: '7' },
          { key: 'status', value: 'busy' },
          { key: 'status', value: 'no-answer' },
        ],
        // A number meets the filter that has its text.
        wanted: [
          { channelId: '7', status: 'busy' },
          { channelId: 7, status: 'no-answer' },
        ],
        unwanted: [
          { channelId: '7', status: 'completed' },
          { channelId: '8', status: 'busy' },
        ],
      },
    ]
    for (const { filters, event = 'sms.outbound', wanted, unwanted } of cases) {
      it(`let through what meets all of ${filters.map(({ key, value }) => `${key}=${value}`).join(', ')}`, async () => {
        const own = await createTenant(operator)
        const filtered = receiver.inbox()
        const all = receiver.inbox()
        await own.subscribe(filtered.url, { event, eventFilters: filters })
        await own.subscribe(all.url, { event })

        for (const payload of [...unwanted, ...wanted]) await own.publish(payload, { event })
        await all.received(unwanted.length + wanted.length)
        await until(
          () => own.deliveries(),
          found => found.every(isDelivered),
        )

        const got = filtered.requests.map(
          ({ body }) => (JSON.parse(body.toString()) as { payload: unknown }).payload,
        )
        expect(got).to.have.deep.members(wanted)
        expect(await own.deliveries()).to.have.lengthOf(unwanted.length + 2 * wanted.length)
      })
    }

    it('are those of the moment of matching: a change holds for what is published after it', async () => {
      const own = await createTenant(operator)
      const inbox = receiver.inbox()
      const subscription = await own.subscribe(inbox.url, {
        eventFilters: [{ key: 'channelId', value: 'before' }],
      })
      await own.publish({ channelId: 'before', n: 1 })
      await inbox.received(1)

      await own.change(subscription, { eventFilters: [{ key: 'channelId', value: 'after' }] })
      const unwanted = await own.publish({ channelId: 'before', n: 2 })
      await own.publish({ channelId: 'after', n: 3 })
      await inbox.received(2)

      expect(inbox.requests.map(({ body }) => JSON.parse(body.toString()).payload.n)).to.deep.equal([1, 3])
      expect(await own.deliveries(`eventId=${unwanted.id}`)).to.deep.equal([])
    })
  })

  describe('a fan-out', () => {
    it('of one event reaches 1,200 subscriptions, more than one step takes, each exactly once', async function () {
      this.timeout(60_000)
      const own = await createTenant(operator)
      const inboxes = Array.from({ length: 12 }, () => receiver.inbox())
      const count = 1_200
      // No more than five subscriptions may ask for the same, so these differ in a status that is not asked for.
      for (let i = 0; i < count; i += 50) {
        await Promise.all(
          Array.from({ length: 50 }, (_, j) =>
            own.subscribe(inboxes[(i + j) % inboxes.length]!.url, {
              event: 'voice.inbound',
              eventFilters: [
                { key: 'status', value: 'ringing' },
                { key: 'status', value: `other ${i + j}` },
              ],
            }),
          ),
        )
      }

      const event = await own.publish({ status: 'ringing' }, { event: 'voice.inbound' })
      await Promise.all(inboxes.map(inbox => inbox.received(count / inboxes.length, 30_000)))
      const found = await until(
        () => own.deliveries(`eventId=${event.id}`),
        deliveries => deliveries.length === count && deliveries.every(isDelivered),
      )

      const requests = inboxes.flatMap(inbox => inbox.requests)
      expect(requests).to.have.lengthOf(count)
      expect(new Set(requests.map(({ headers }) => headers['hookseal-delivery']))).to.have.lengthOf(count)
      expect(new Set(requests.map(({ headers }) => headers['webhook-id']))).to.deep.equal(new Set([event.id]))
      expect(new Set(found.map(({ subscriptionId }) => subscriptionId))).to.have.lengthOf(count)
    })

    it('stays within its workspace', async () => {
      const inbox = receiver.inbox()
      const foreignInbox = receiver.inbox()
      const [own, foreign] = [await createTenant(operator), await createTenant(operator)]
      await own.subscribe(inbox.url)
      await foreign.subscribe(foreignInbox.url)

      const event = await own.publish({})
      await inbox.received(1)
      await own.delivery(event, isDelivered)
      await foreign.publish({ theirs: true })
      await foreignInbox.received(1)

      expect(foreignInbox.requests).to.have.lengthOf(1)
      expect(inbox.requests).to.have.lengthOf(1)
    })
  })
})

function keyBytes(signingKey: string): Buffer {
  return Buffer.from(signingKey.replace('whsec_', ''), 'base64')
}

/** Standard Webhooks 1.0.0, from what was received alone. */
function standardSignature(request: Received, key: Buffer): string {
  const head = `${headerOf(request, 'webhook-id')}.${headerOf(request, 'webhook-timestamp')}.`
  const signed = Buffer.concat([Buffer.from(head), request.body])
  return `v1,${createHmac('sha256', key).update(signed).digest('base64')}`
}

/** Bird's scheme, from what was received and the URL that the receiver knows as its own. */
function birdSignature(request: Received, url: string, key: string): string {
  const head = `${headerOf(request, 'messagebird-request-timestamp')}\n${url}\n`
  const signed = Buffer.concat([Buffer.from(head), createHash('sha256').update(request.body).digest()])
  return createHmac('sha256', key).update(signed).digest('base64')
}

function plainHeaders({ headers }: Received): Record<string, string> {
  return headers as Record<string, string>
}
