/**
 * The server process as an operator has it: on its embedded database, told to stop, interrupted, killed. The goal: it
 * leaves in order and soon, nothing of it stays behind, and the next start goes on where it was.
 */
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { after, afterEach, before, describe, it } from 'mocha'
import { createClient, type Client } from '#test/support/api-client.ts'
import { ownDatabase } from '#test/support/database.ts'
import {
  createServiceEnv,
  freePort,
  startService,
  type Service,
  type ServiceEnv,
} from '#test/support/process.ts'
import { startReceiver, type Receiver } from '#test/support/receiver.ts'
import { rejection } from '#test/support/rejection.ts'
import { checkAccounts } from '#test/scenarios/accounts.ts'
import {
  createOperator,
  createTenant,
  isDelivered,
  until,
  type Delivery,
  type Tenant,
} from '#test/scenarios/tenant.ts'

const embeddedSettings = { ALLOW_HTTP_ENDPOINTS: 'true', EGRESS_ALLOW_CIDRS: '127.0.0.1/32' }

/** Long enough for a slow machine; what a test asserts about time it measures. */
const recoveryMs = 40_000

describe('the server process', function () {
  this.timeout(90_000)

  let folder: string
  let receiver: Receiver
  const services: Service[] = []
  const clients: Client[] = []

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hookseal-main-'))
    receiver = await startReceiver()
  })

  afterEach(async () => {
    await Promise.all(clients.splice(0).map(client => client.close()))
    await Promise.all(services.splice(0).map(service => service.stop()))
  })

  after(async () => {
    await receiver?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function start(env: ServiceEnv): Promise<Service> {
    const service = await startService(env)
    services.push(service)
    return service
  }

  /** A service on an embedded database of its own, with the keys that it has made itself. */
  async function startEmbedded(name: string, settings: ServiceEnv = {}) {
    const dataDir = join(folder, name)
    const service = await start({ DATA_DIR: dataDir, ...embeddedSettings, ...settings })
    const key = (await readFile(join(dataDir, 'operator.key'), 'utf8')).trim()
    const operator = createClient(service.url, key)
    clients.push(operator)
    return { service, operator, databasePid: await readDatabasePid(dataDir) }
  }

  async function readDatabasePid(dataDir: string): Promise<number> {
    const text = await readFile(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')
    return Number(text.split('\n')[0])
  }

  /** Deliveries that hang, five for each of four endpoints, in a new tenant. */
  async function hangDeliveries(
    operator: Client,
  ): Promise<{ tenant: Tenant; letGo: () => void; count: number }> {
    const tenant = await createTenant(operator)
    const inboxes = Array.from({ length: 4 }, () => receiver.inbox('hang'))
    // A single attempt each: one that was charged for being cut short would be the last.
    for (const { url } of inboxes) await tenant.subscribe(url, { retryPolicy: 'none', timeoutMs: 60_000 })
    await tenant.publishAll([1, 2, 3, 4, 5])
    await Promise.all(inboxes.map(inbox => inbox.received(5)))
    return { tenant, letGo: () => inboxes.forEach(inbox => inbox.letGo()), count: 20 }
  }

  const areDelivered = (count: number) => (found: readonly Delivery[]) =>
    found.length === count && found.every(isDelivered)

  describe('on its embedded database', () => {
    it('starts in an empty folder, leaves when it is told to, and goes on with the same data', async () => {
      const first = await startEmbedded('reuse')
      const tenant = await createTenant(first.operator)
      const inbox = receiver.inbox()
      const subscription = await tenant.subscribe(inbox.url)
      await tenant.delivery(await tenant.publish({ n: 1 }), isDelivered)

      expect(await first.service.stop()).to.equal(0)
      expect(isAlive(first.databasePid)).to.equal(false)

      const second = await startEmbedded('reuse')
      const reopened = tenant.through(second.operator)
      // Its key is still readable: the encryption key was kept, too.
      await reopened.delivery(await reopened.publish({ n: 2 }), isDelivered)

      expect(await reopened.find(subscription)).to.include({ id: subscription.id })
      expect(inbox.requests).to.have.lengthOf(2)
      expect(await reopened.deliveries()).to.have.lengthOf(2)
    })

    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      it(`ends what hangs after the drain time at ${signal}, and delivers it after the next start, uncharged`, async () => {
        const first = await startEmbedded(`drain-${signal}`, { DRAIN_TIMEOUT_MS: '300' })
        const { tenant, letGo, count } = await hangDeliveries(first.operator)
        const requestsBefore = receiver.requests.length - count

        const toldAtMs = performance.now()
        first.service.kill(signal)
        expect(await first.service.exited).to.equal(0)
        expect(performance.now() - toldAtMs).to.be.below(8_000)
        expect(isAlive(first.databasePid)).to.equal(false)

        letGo()
        const second = await startEmbedded(`drain-${signal}`)
        const restarted = tenant.through(second.operator)
        const deliveries = await until(() => restarted.deliveries(), areDelivered(count), recoveryMs)
        const attempts = await checkAccounts(restarted, deliveries, receiver.requests.slice(requestsBefore))
        for (const list of attempts.values()) {
          expect(list.map(({ outcome }) => outcome)).to.deep.equal(['interrupted', 'delivered'])
        }
      })
    }

    it('lets what is on the wire finish within the drain time', async () => {
      const first = await startEmbedded('finish', { DRAIN_TIMEOUT_MS: '20000' })
      const tenant = await createTenant(first.operator)
      const inbox = receiver.inbox('hang')
      await tenant.subscribe(inbox.url)
      await tenant.publish({})
      await inbox.received(1)

      first.service.kill('SIGTERM')
      await until(
        async () => await fetch(first.service.url).catch(() => undefined),
        answer => answer === undefined,
      )
      inbox.letGo()
      expect(await first.service.exited).to.equal(0)

      const second = await startEmbedded('finish')
      const [delivery] = await tenant.through(second.operator).deliveries()
      expect(delivery).to.include({ status: 'delivered', attemptsCount: 1 })
      expect(inbox.requests).to.have.lengthOf(1)
    })

    it('leaves soon although clients hold connections on which nothing comes', async () => {
      const { service, databasePid } = await startEmbedded('connections', { DRAIN_TIMEOUT_MS: '300' })
      const { port } = new URL(service.url)
      const silent = connect(Number(port), '127.0.0.1')
      const kept = connect(Number(port), '127.0.0.1')
      await Promise.all([once(silent, 'connect'), once(kept, 'connect')])
      kept.write('GET /healthz HTTP/1.1\r\nHost: hookseal\r\n\r\n')
      await once(kept, 'data')
      for (const socket of [silent, kept]) socket.on('error', () => {})

      const toldAtMs = performance.now()
      service.kill('SIGTERM')
      expect(await service.exited).to.equal(0)

      expect(performance.now() - toldAtMs).to.be.below(8_000)
      expect(isAlive(databasePid)).to.equal(false)
    })

    it('is killed alone: the next start takes over its database and goes on', async () => {
      const first = await startEmbedded('killed')
      const { tenant, letGo, count } = await hangDeliveries(first.operator)
      const requestsBefore = receiver.requests.length - count

      first.service.kill('SIGKILL')
      await first.service.exited
      expect(isAlive(first.databasePid)).to.equal(true)
      const killedAtMs = performance.now()
      letGo()
      const second = await startEmbedded('killed')
      expect(second.databasePid).not.to.equal(first.databasePid)
      const restarted = tenant.through(second.operator)
      const deliveries = await until(() => restarted.deliveries(), areDelivered(count), recoveryMs)

      expect(performance.now() - killedAtMs).to.be.below(25_000)
      const attempts = await checkAccounts(restarted, deliveries, receiver.requests.slice(requestsBefore))
      for (const list of attempts.values()) {
        expect(list.map(({ outcome }) => outcome)).to.deep.equal(['interrupted', 'delivered'])
      }
    })

    it('is killed together with its database while events come: every acknowledged one is delivered', async () => {
      const first = await startEmbedded('power-cut')
      const tenant = await createTenant(first.operator)
      const inbox = receiver.inbox({ status: 200, afterMs: 10 })
      await tenant.subscribe(inbox.url)
      const acknowledged = new Set<string>()
      const publishers = Array.from({ length: 4 }, async () => {
        // Until the service is gone, in the middle of whatever it does.
        for (;;) acknowledged.add((await tenant.publish({})).id)
      })
      await inbox.received(50)

      first.service.kill('SIGKILL')
      process.kill(first.databasePid, 'SIGKILL')
      await Promise.all([first.service.exited, ...publishers.map(rejection)])
      const second = await startEmbedded('power-cut')
      const restarted = tenant.through(second.operator)
      const deliveries = await until(
        () => restarted.deliveries(),
        found => found.length >= acknowledged.size && found.every(isDelivered),
        recoveryMs,
      )

      const requests = inbox.requests
      expect([...acknowledged].filter(id => deliveries.every(({ eventId }) => eventId !== id))).to.deep.equal(
        [],
      )
      const received = new Set(requests.map(({ headers }) => headers['webhook-id']))
      expect([...acknowledged].filter(id => !received.has(id))).to.deep.equal([])
      await checkAccounts(restarted, deliveries, requests)
    })

    it('leaves with an error when its database ends under it', async () => {
      const { service, databasePid } = await startEmbedded('orphan', { DRAIN_TIMEOUT_MS: '300' })

      process.kill(databasePid, 'SIGKILL')

      expect(await service.exited).to.equal(1)
    })

    it('does not start a second time on the same folder, and says why', async () => {
      const { service } = await startEmbedded('once')

      const refusal = await rejection(start({ DATA_DIR: join(folder, 'once'), ...embeddedSettings }))

      expect(String(refusal)).to.match(/ended \(1\).*\n.*cannot start.*\n?.*/s)
      expect(String(refusal)).to.include(String(service.pid))
    })
  })

  describe('on a database of yours', () => {
    it('ends with 1 and a message when its port is taken', async () => {
      const env = {
        ...createServiceEnv(),
        DATABASE_URL: (await ownDatabase()).url,
        PORT: String(await freePort()),
      }
      await start(env)

      // It looks ready at once, since the first one answers in its place.
      const second = await start(env)

      expect(await second.exited).to.equal(1)
      expect(second.output()).to.match(new RegExp(`cannot start: .*EADDRINUSE.*127\\.0\\.0\\.1:${env.PORT}`))
    })

    it('ends with 1 and a message when the database does not answer, without a word of its password', async () => {
      const refusal = await rejection(
        start({
          ...createServiceEnv(),
          DATABASE_URL: `postgres://user:secret-password@127.0.0.1:${await freePort()}/hookseal`,
        }),
      )

      expect(String(refusal)).to.match(/ended \(1\).*cannot start: .*ECONNREFUSED/s)
      expect(String(refusal)).not.to.include('secret-password')
    })

    it('ends with 78 and all faults of its settings', async () => {
      const refusal = await rejection(start({ ROLE: 'chief', DRAIN_TIMEOUT_MS: 'soon' }))

      expect(String(refusal)).to.match(/ended \(78\)/)
      expect(String(refusal)).to.match(/ROLE: "chief"/)
      expect(String(refusal)).to.match(/DRAIN_TIMEOUT_MS: "soon"/)
    })

    it('delivers as two processes, one that serves and one that works', async () => {
      const env = { ...createServiceEnv(), DATABASE_URL: (await ownDatabase()).url }
      const api = await start({ ...env, ROLE: 'api' })
      const operator = createOperator(api.url, env)
      clients.push(operator)
      const tenant = await createTenant(operator)
      const inbox = receiver.inbox()
      await tenant.subscribe(inbox.url)

      const early = await tenant.publish({ n: 1 })
      expect(await tenant.deliveries()).to.deep.equal([])
      const worker = await start({ ...env, ROLE: 'worker' })
      await tenant.delivery(early, isDelivered)
      const late = await tenant.publish({ n: 2 })
      await tenant.delivery(late, isDelivered)

      expect(inbox.requests.map(({ headers }) => headers['webhook-id'])).to.deep.equal([early.id, late.id])
      // A worker tells how it is, and nothing else.
      expect((await fetch(`${worker.url}/readyz`)).status).to.equal(200)
      expect((await fetch(`${worker.url}/organizations`)).status).to.equal(404)
      expect(await worker.stop()).to.equal(0)
      expect(await api.stop()).to.equal(0)
    })
  })
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
