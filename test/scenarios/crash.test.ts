/**
 * Workers that are killed while deliveries are under way. The goal: nothing is lost, what comes twice has the same
 * id, and every request that the receiver saw is accounted for.
 */
import { expect } from 'chai'
import { afterEach, beforeEach, describe, it } from 'mocha'
import type { Client } from '#test/support/api-client.ts'
import { ownDatabase } from '#test/support/database.ts'
import { createServiceEnv, startService, type Service, type ServiceEnv } from '#test/support/process.ts'
import { startReceiver, type Receiver } from '#test/support/receiver.ts'
import { checkAccounts } from '#test/scenarios/accounts.ts'
import { createOperator, createTenant, isDelivered, until, type Delivery } from '#test/scenarios/tenant.ts'

/** A killed worker's jobs are found by their heartbeat (10 s) and a monitor round (5 s); the rest is for a slow machine. */
const recoveryMs = 40_000

describe('a killed worker', function () {
  this.timeout(90_000)

  let env: ServiceEnv & { OPERATOR_KEY: string }
  let receiver: Receiver
  const services: Service[] = []
  const clients: Client[] = []

  beforeEach(async () => {
    env = { ...createServiceEnv(), DATABASE_URL: (await ownDatabase()).url }
    receiver = await startReceiver()
  })

  afterEach(async () => {
    await Promise.all(clients.splice(0).map(client => client.close()))
    await Promise.all(services.splice(0).map(service => service.stop()))
    await receiver[Symbol.asyncDispose]()
  })

  async function start(settings: ServiceEnv = {}): Promise<{ service: Service; operator: Client }> {
    const service = await startService({ ...env, ...settings })
    const operator = createOperator(service.url, env)
    services.push(service)
    clients.push(operator)
    return { service, operator }
  }

  function payloads(count: number): { n: number }[] {
    return Array.from({ length: count }, (_, n) => ({ n }))
  }

  const areDelivered = (count: number) => (found: readonly Delivery[]) =>
    found.length === count && found.every(isDelivered)

  it('leaves its deliveries to another one: none is lost, and what comes twice is accounted for', async () => {
    const [{ service: killed, operator }, { operator: other }] = [await start(), await start()]
    const tenant = await createTenant(operator)
    const inboxes = Array.from({ length: 5 }, () => receiver.inbox({ status: 200, afterMs: 20 }))
    for (const inbox of inboxes) await tenant.subscribe(inbox.url)

    const published = await Promise.all(Array.from({ length: 10 }, () => tenant.publishAll(payloads(10))))
    await inboxes[0]!.received(20)
    killed.kill('SIGKILL')
    await killed.exited

    const count = 500
    const remaining = tenant.through(other)
    const deliveries = await until(() => remaining.deliveries(), areDelivered(count), recoveryMs)

    await checkAccounts(remaining, deliveries, receiver.requests)
    const ids = new Set(published.flat().map(({ id }) => id))
    for (const inbox of inboxes) {
      expect(new Set(inbox.requests.map(({ headers }) => headers['webhook-id']))).to.deep.equal(ids)
    }
  })

  it('had attempts on the wire: they end as interrupted, are not charged, and are made again', async () => {
    const { service, operator } = await start()
    const tenant = await createTenant(operator)
    const first = receiver.inbox('hang')
    const later = receiver.inbox(500, 'hang')
    // A single attempt: one that was charged for the crash would be the last.
    await tenant.subscribe(first.url, { retryPolicy: 'none' })
    await tenant.subscribe(later.url, { retryPolicy: { delays: [0, 0] } })
    await tenant.publish({})
    await Promise.all([first.received(1), later.received(2)])

    const killedAtMs = performance.now()
    service.kill('SIGKILL')
    await service.exited
    first.answer(200)
    later.answer(200)
    const { operator: next } = await start()
    const restarted = tenant.through(next)
    const deliveries = await until(() => restarted.deliveries(), areDelivered(2), recoveryMs)
    const tookMs = performance.now() - killedAtMs

    const attempts = await checkAccounts(restarted, deliveries, receiver.requests)
    const outcomes = [...attempts.values()].map(list => list.map(({ outcome }) => outcome))
    expect(outcomes).to.have.deep.members([
      ['interrupted', 'delivered'],
      ['http_error', 'interrupted', 'delivered'],
    ])
    expect(tookMs).to.be.below(25_000)
  })

  it('had given back what its endpoint was too slow for: that is no attempt, and is made once', async () => {
    const { service, operator } = await start()
    const tenant = await createTenant(operator)
    const slow = receiver.inbox('hang')
    await tenant.subscribe(slow.url, { retryPolicy: 'none', timeoutMs: 60_000 })
    const count = 60
    const slotsPerEndpoint = 8
    await tenant.publishAll(payloads(count))
    // What is given back comes again after some seconds, and is given back again: then it has been taken up twice.
    const isWaiting = ({ nextAttemptAt }: Delivery) => nextAttemptAt !== undefined
    const isDueLater = ({ nextAttemptAt = '' }: Delivery) => Date.parse(nextAttemptAt) > Date.now() + 500
    const [early] = (
      await until(
        () => tenant.deliveries(),
        found => found.filter(isWaiting).length === count - slotsPerEndpoint,
      )
    ).filter(isWaiting)
    await until(
      async () => (await tenant.deliveries()).find(({ id }) => id === early!.id)!,
      again => again.nextAttemptAt !== early!.nextAttemptAt,
      15_000,
    )

    const waiting = (await tenant.deliveries()).filter(isDueLater).map(({ id }) => id)
    service.kill('SIGKILL')
    await service.exited
    const onTheWire = slow.requests.map(({ headers }) => String(headers['hookseal-delivery']))
    const { operator: next } = await start()
    const restarted = tenant.through(next)
    // The endpoint is as slow as before, so that what is found to be cut short is found beside what still waits.
    await until(
      () => restarted.deliveries(),
      found => found.filter(({ attemptsCount }) => attemptsCount > 0).length >= slotsPerEndpoint,
      recoveryMs,
    )
    slow.letGo()
    const deliveries = await until(() => restarted.deliveries(), areDelivered(count), recoveryMs)

    const attempts = await checkAccounts(restarted, deliveries, receiver.requests)
    const outcomes = [...attempts].map(([id, list]) => ({
      id,
      outcomes: list.map(({ outcome }) => outcome).join(),
    }))
    const repeated = outcomes.filter(entry => entry.outcomes === 'interrupted,delivered').map(({ id }) => id)
    const once = outcomes.filter(entry => entry.outcomes === 'delivered').map(({ id }) => id)
    expect(repeated).to.include.members(onTheWire)
    expect(repeated.length + once.length).to.equal(count)
    // What stood in line just then cannot be told from what was on the wire; what waited as a row can.
    expect(once).to.include.members(waiting)
  })

  it('was only stopped for a while: another one did its work, and what it brings is kept as superseded', async () => {
    const { service: stopped, operator } = await start()
    const tenant = await createTenant(operator)
    const inbox = receiver.inbox('hang', 200)
    await tenant.subscribe(inbox.url, { retryPolicy: 'none', timeoutMs: 60_000 })
    const event = await tenant.publish({})
    await inbox.received(1)
    const elsewhere = tenant.through((await start()).operator)

    stopped.kill('SIGSTOP')
    const delivery = await elsewhere.delivery(event, isDelivered, recoveryMs)
    expect((await elsewhere.attempts(delivery)).map(({ outcome }) => outcome)).to.deep.equal([
      'interrupted',
      'delivered',
    ])
    inbox.letGo()
    stopped.kill('SIGCONT')
    await until(
      () => elsewhere.attempts(delivery),
      ([first]) => first!.outcome === 'superseded',
    )

    const deliveries = await elsewhere.deliveries()
    await checkAccounts(elsewhere, deliveries, receiver.requests)
    expect(deliveries).to.have.lengthOf(1)
    expect(inbox.requests).to.have.lengthOf(2)
  })
})
