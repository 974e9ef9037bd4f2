/**
 * Two services on one database: what was promised by one holds on the other, and together they do nothing twice.
 */
import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import type { Client } from '#test/support/api-client.ts'
import { ownDatabase } from '#test/support/database.ts'
import { createServiceEnv, startService, type Service } from '#test/support/process.ts'
import { startReceiver, type Receiver } from '#test/support/receiver.ts'
import {
  createOperator,
  createTenant,
  isDelivered,
  until,
  type AcceptedEvent,
} from '#test/scenarios/tenant.ts'

describe('two services on one database', () => {
  let services: Service[] = []
  let receiver: Receiver
  let one: Client
  let other: Client

  before(async () => {
    const env = { ...createServiceEnv(), DATABASE_URL: (await ownDatabase()).url }
    // Started together, on a database where neither has been before.
    services = await Promise.all([startService(env), startService(env)])
    receiver = await startReceiver()
    one = createOperator(services[0]!.url, env)
    other = createOperator(services[1]!.url, env)
  })

  after(async () => {
    await Promise.all([one?.close(), other?.close()])
    await Promise.all(services.map(service => service.stop()))
    await receiver?.[Symbol.asyncDispose]()
  })

  it('give a new subscription every event from its 201 on, and none from before', async function () {
    this.timeout(60_000)
    const tenant = await createTenant(one)
    const elsewhere = tenant.through(other)
    const rounds = 200
    const inboxes = Array.from({ length: rounds }, () => receiver.inbox())
    const expected: AcceptedEvent[][] = []

    for (const [round, inbox] of inboxes.entries()) {
      // Filters of its own, since no more than five subscriptions may ask for the same.
      const channelId = `channel ${round}`
      await (round % 2 === 0 ? tenant : elsewhere).publish({ channelId, when: 'before' })
      await tenant.subscribe(inbox.url, { eventFilters: [{ key: 'channelId', value: channelId }] })
      expected.push([await elsewhere.publish({ channelId, when: 'after' })])
    }
    await Promise.all(inboxes.map(inbox => inbox.received(1)))
    const deliveries = await until(
      () => tenant.deliveries(),
      found => found.every(isDelivered),
    )

    const idsOf = (inbox: (typeof inboxes)[number]) =>
      inbox.requests.map(({ headers }) => headers['webhook-id'])
    expect(inboxes.map(idsOf)).to.deep.equal(expected.map(events => events.map(({ id }) => id)))
    expect(deliveries).to.have.lengthOf(rounds)
  })

  it('make one event and one delivery of a publish that comes to both 50 times at once', async () => {
    const tenant = await createTenant(one)
    const inbox = receiver.inbox()
    await tenant.subscribe(inbox.url)
    const body = { service: 'channels', event: 'sms.outbound', payload: { n: 1 } }
    const options = { headers: { 'idempotency-key': `"${randomUUID()}"` } }

    const replies = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        (i % 2 === 0 ? one : other).post<AcceptedEvent>(`${tenant.path}/events`, body, options),
      ),
    )
    await inbox.received(1)
    const deliveries = await until(
      () => tenant.deliveries(),
      found => found.length > 0 && found.every(isDelivered),
    )

    expect(new Set(replies.map(({ status }) => status))).to.deep.equal(new Set([202]))
    expect(new Set(replies.map(reply => reply.body.id))).to.deep.equal(new Set([deliveries[0]!.eventId]))
    expect(deliveries).to.have.lengthOf(1)
    expect(inbox.requests).to.have.lengthOf(1)
  })

  it('refuse a key that the other has seen with another body', async () => {
    const tenant = await createTenant(one)
    const options = { headers: { 'idempotency-key': randomUUID() } }
    const publish = (client: Client, n: number) =>
      client.post<{ code?: string }>(
        `${tenant.path}/events`,
        { service: 'channels', event: 'sms.outbound', payload: { n } },
        options,
      )

    expect((await publish(one, 1)).status).to.equal(202)
    const refused = await publish(other, 2)

    expect(refused.status).to.equal(422)
    expect(refused.body.code).to.equal('idempotency_key_reused')
  })

  it('see a pause, a change and a deletion of the other at once', async () => {
    const tenant = await createTenant(one)
    const elsewhere = tenant.through(other)
    const [inbox, movedTo] = [receiver.inbox(), receiver.inbox()]
    const subscription = await tenant.subscribe(inbox.url)
    const publishBoth = () => Promise.all([tenant.publish({}), elsewhere.publish({})])

    await publishBoth()
    await inbox.received(2)
    await elsewhere.change(subscription, { url: movedTo.url })
    await publishBoth()
    await movedTo.received(2)
    await tenant.change(subscription, { status: 'inactive' })
    const paused = await publishBoth()
    for (const event of paused) {
      expect(await elsewhere.delivery(event, ({ heldBy }) => heldBy === 'paused')).to.include({
        attemptsCount: 0,
      })
    }
    await elsewhere.remove(subscription)
    for (const event of paused) await tenant.delivery(event, ({ status }) => status === 'cancelled')
    const witness = await tenant.subscribe(receiver.inbox().url)
    const afterRemoval = await publishBoth()

    expect(inbox.requests).to.have.lengthOf(2)
    expect(movedTo.requests).to.have.lengthOf(2)
    for (const event of afterRemoval) {
      expect(await tenant.delivery(event, isDelivered)).to.include({ subscriptionId: witness.id })
    }
  })

  it('deliver what comes to both, each event once, whichever of them takes it up', async function () {
    this.timeout(30_000)
    const tenant = await createTenant(one)
    const inboxes = Array.from({ length: 4 }, () => receiver.inbox())
    for (const inbox of inboxes) await tenant.subscribe(inbox.url)
    const clients = [tenant, tenant.through(other)]

    const published = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        clients[i % 2]!.publishAll(Array.from({ length: 20 }, (_, n) => ({ i, n }))),
      ),
    )
    const ids = new Set(published.flat().map(({ id }) => id))
    await Promise.all(inboxes.map(inbox => inbox.received(ids.size, 20_000)))
    const deliveries = await until(
      () => tenant.deliveries(),
      found => found.length === ids.size * inboxes.length && found.every(isDelivered),
    )

    for (const inbox of inboxes) {
      expect(inbox.requests).to.have.lengthOf(ids.size)
      expect(new Set(inbox.requests.map(({ headers }) => headers['webhook-id']))).to.deep.equal(ids)
    }
    expect(new Set(deliveries.map(({ attemptsCount }) => attemptsCount))).to.deep.equal(new Set([1]))
  })
})
