/**
 * Deliveries that must not be attempted just now: their subscription is paused, its endpoint is gone, or it was
 * deleted. Nothing is lost that its owner did not throw away, and nothing comes twice.
 */
import { expect } from 'chai'
import { after, before, beforeEach, describe, it } from 'mocha'
import type { Client } from '#test/support/api-client.ts'
import { testDatabase } from '#test/support/database.ts'
import { createServiceEnv, startService, type Service } from '#test/support/process.ts'
import { startReceiver, type Inbox, type Receiver } from '#test/support/receiver.ts'
import {
  createOperator,
  createTenant,
  isDelivered,
  until,
  type Delivery,
  type Tenant,
} from '#test/scenarios/tenant.ts'

const isHeld = ({ heldBy }: Delivery): boolean => heldBy !== undefined
const isCancelled = ({ status }: Delivery): boolean => status === 'cancelled'

describe('a delivery that must not be attempted', () => {
  let service: Service
  let receiver: Receiver
  let operator: Client
  let tenant: Tenant

  before(async () => {
    const env = { ...createServiceEnv(), DATABASE_URL: (await testDatabase()).url }
    ;[service, receiver] = await Promise.all([startService(env), startReceiver()])
    operator = createOperator(service.url, env)
  })

  beforeEach(async () => {
    tenant = await createTenant(operator)
  })

  after(async () => {
    await operator?.close()
    await service?.stop()
    await receiver?.[Symbol.asyncDispose]()
  })

  function numbers(count: number): { n: number }[] {
    return Array.from({ length: count }, (_, n) => ({ n }))
  }

  function received(inbox: Inbox): number[] {
    return inbox.requests.map(
      ({ body }) => (JSON.parse(body.toString()) as { payload: { n: number } }).payload.n,
    )
  }

  it('is held while its subscription is paused, and comes once when it is active again', async () => {
    const inbox = receiver.inbox()
    const subscription = await tenant.subscribe(inbox.url)
    expect(await tenant.change(subscription, { status: 'inactive' })).to.include({ status: 'inactive' })

    // More than the worker keeps in memory for an endpoint, and than one step of the release takes.
    const count = 700
    await tenant.publishAll(numbers(count))
    const held = await until(
      () => tenant.deliveries(),
      found => found.length === count,
    )
    expect(new Set(held.map(({ status, heldBy }) => `${status} ${heldBy}`))).to.deep.equal(
      new Set(['pending paused']),
    )
    expect(inbox.requests).to.have.lengthOf(0)

    await tenant.change(subscription, { status: 'active' })
    await inbox.received(count)
    const found = await until(
      () => tenant.deliveries(),
      deliveries => deliveries.every(isDelivered),
    )

    expect(received(inbox).toSorted((a, b) => a - b)).to.deep.equal(numbers(count).map(({ n }) => n))
    expect(found).to.have.lengthOf(count)
    expect(new Set(found.map(({ attemptsCount }) => attemptsCount))).to.deep.equal(new Set([1]))
    expect(found.filter(isHeld)).to.deep.equal([])
  })

  it('is held at its next attempt when its subscription was paused meanwhile', async () => {
    const inbox = receiver.inbox(500, 200)
    const subscription = await tenant.subscribe(inbox.url, { retryPolicy: { delays: [0, 1] } })
    const event = await tenant.publish({})
    await inbox.received(1)

    await tenant.change(subscription, { status: 'inactive' })
    const held = await tenant.delivery(event, isHeld)
    expect(held).to.include({ status: 'pending', heldBy: 'paused', attemptsCount: 1 })
    expect(held).to.include({ lastOutcome: 'http_error', lastResponseStatus: 500 })
    expect(held).not.to.have.property('nextAttemptAt')

    await tenant.change(subscription, { status: 'active' })
    const delivery = await tenant.delivery(event, isDelivered)
    expect(delivery.attemptsCount).to.equal(2)
    expect(inbox.requests).to.have.lengthOf(2)
  })

  it('comes once even when its subscription is paused and resumed again and again', async () => {
    const inbox = receiver.inbox()
    const subscription = await tenant.subscribe(inbox.url)

    let published = 0
    for (let round = 0; round < 10; round++) {
      const publishing = tenant.publishAll(numbers(20).map(({ n }) => ({ n: published + n })))
      published += 20
      await tenant.change(subscription, { status: 'inactive' })
      await tenant.change(subscription, { status: 'active' })
      await publishing
    }
    // What was being held just as it was resumed comes with the second release, ten seconds later.
    await inbox.received(published, 15_000)
    await until(
      () => tenant.deliveries(),
      deliveries => deliveries.length === published && deliveries.every(isDelivered),
    )

    expect(received(inbox).toSorted((a, b) => a - b)).to.deep.equal(numbers(published).map(({ n }) => n))
  }).timeout(40_000)

  it('has failed when the endpoint is gone; what comes after is held until its owner sets it active', async () => {
    const inbox = receiver.inbox(410)
    const subscription = await tenant.subscribe(inbox.url)

    const gone = await tenant.delivery(await tenant.publish({ n: 0 }), ({ status }) => status === 'failed')
    expect(gone).to.include({ attemptsCount: 1, lastOutcome: 'gone', lastResponseStatus: 410 })
    expect(gone.statusReason).to.match(/410/)
    const disabled = await until(
      () => tenant.find(subscription),
      ({ status }) => status === 'disabled',
    )
    expect(disabled.statusReason).to.match(/410/)

    const later = await tenant.publish({ n: 1 })
    const held = await tenant.delivery(later, isHeld)
    expect(held).to.include({ status: 'pending', heldBy: 'endpoint', attemptsCount: 0 })
    expect(inbox.requests).to.have.lengthOf(1)

    inbox.answer(200)
    expect(await tenant.change(subscription, { status: 'active' })).to.include({ status: 'active' })
    await tenant.delivery(later, isDelivered)

    expect(received(inbox)).to.deep.equal([0, 1])
    expect((await tenant.delivery({ id: gone.eventId }, () => true)).status).to.equal('failed')
  })

  it('does not leave a paused endpoint when it is gone: neither alone sets it free', async () => {
    const inbox = receiver.inbox(410, 200)
    const subscription = await tenant.subscribe(inbox.url)
    await tenant.publish({ n: 0 })
    await until(
      () => tenant.find(subscription),
      ({ status }) => status === 'disabled',
    )
    await tenant.change(subscription, { status: 'inactive' })

    const event = await tenant.publish({ n: 1 })
    expect(await tenant.delivery(event, isHeld)).to.include({ status: 'pending' })
    await tenant.change(subscription, { status: 'active' })
    await tenant.delivery(event, isDelivered)

    expect(received(inbox)).to.deep.equal([0, 1])
  })

  it('is cancelled when its subscription is deleted: held ones and those that wait for a retry', async () => {
    const failing = receiver.inbox(500)
    const paused = receiver.inbox()
    const retried = await tenant.subscribe(failing.url, { retryPolicy: { delays: [0, 60] } })
    const held = await tenant.subscribe(paused.url)
    await tenant.change(held, { status: 'inactive' })
    const event = await tenant.publish({})
    await until(
      () => tenant.deliveries(`eventId=${event.id}`),
      found => found.some(({ nextAttemptAt }) => nextAttemptAt !== undefined) && found.some(isHeld),
    )

    await tenant.remove(retried)
    await tenant.remove(held)
    const cancelled = await until(
      () => tenant.deliveries(`eventId=${event.id}`),
      found => found.every(isCancelled),
    )

    expect(cancelled).to.have.lengthOf(2)
    for (const delivery of cancelled) {
      expect(delivery.statusReason).to.equal('the subscription was deleted')
      expect(delivery).not.to.have.any.keys('nextAttemptAt', 'heldBy')
    }
    const attempted = cancelled.find(({ subscriptionId }) => subscriptionId === retried.id)!
    expect((await tenant.attempts(attempted)).map(({ outcome }) => outcome)).to.deep.equal(['http_error'])
    expect(paused.requests).to.have.lengthOf(0)
  })

  it('is not made for a subscription that was deleted before the event', async () => {
    const [removed, other] = [receiver.inbox(), receiver.inbox()]
    await tenant.remove(await tenant.subscribe(removed.url))
    await tenant.subscribe(other.url)

    const event = await tenant.publish({})
    await tenant.delivery(event, isDelivered)

    expect(removed.requests).to.have.lengthOf(0)
  })

  it('is not tried again when its subscription was deleted while it was on the wire', async () => {
    const inbox = receiver.inbox('hang')
    const subscription = await tenant.subscribe(inbox.url, { retryPolicy: { delays: [0, 0, 0] } })
    const event = await tenant.publish({})
    await inbox.received(1)

    await tenant.remove(subscription)
    const onTheWire = await tenant.delivery(event, () => true)
    inbox.letGo(500)
    const delivery = await tenant.delivery(event, isCancelled)

    expect(onTheWire).to.include({ id: delivery.id, status: 'pending', attemptsCount: 0 })
    expect(delivery).to.include({ attemptsCount: 1, statusReason: 'the subscription was deleted' })
    expect(inbox.requests).to.have.lengthOf(1)
  })
})
