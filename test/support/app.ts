/**
 * The service inside the test's own process, listening on a free port, with every reply compared with its schema. A
 * test makes a tenant of its own in it, so that tests need no cleaning and do not see each other.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { readConfig } from '#src/config.ts'
import { createContext } from '#src/context.ts'
import type { Deps } from '#src/deps.ts'
import { scopes as allScopes, type Scope } from '#src/domain/access.ts'
import { createHttpServer } from '#src/http/app.ts'
import { startWorker } from '#src/jobs/worker.ts'
import type { Log } from '#src/log.ts'
import { createClient, type Client } from './api-client.ts'
import { ownDatabase, testDatabase } from './database.ts'
import { createServiceEnv } from './process.ts'

export type App = {
  /** Where it listens, without a trailing slash. */
  url: string
  port: number
  deps: Deps
  operatorKey: string
  operator: Client
  /** A client with an access key or, without one, of nobody; closed together with the app. */
  client(key?: string): Client
  newTenant(): Promise<Tenant>
  /** Stops everything. Throws when a request was answered with 500: a test may not be looking for it. */
  close(): Promise<void>
}

/** An organization with one workspace, and a client that may do everything in both. */
export type Tenant = {
  organizationId: string
  workspaceId: string
  /** `/organizations/{organizationId}` */
  organization: string
  /** `/workspaces/{workspaceId}` */
  workspace: string
  client: Client
  /** A client with a new key of these scopes, of the workspace or of the whole organization. */
  clientWith(scopes: readonly Scope[], level?: 'workspace' | 'organization'): Promise<Client>
}

export type AppOptions = {
  /** Deliver events as well. Default: false. */
  worker?: boolean
  /**
   * Have a database that no other test writes to: for lists over all tenants. Default: only with a worker, which takes
   * up whatever is queued in its database, also what other tests have left there.
   */
  alone?: boolean
  /** Settings beside those of every test. */
  env?: Record<string, string>
}

export async function startApp({ worker = false, alone = worker, env = {} }: AppOptions = {}): Promise<App> {
  const { url: databaseUrl } = alone ? await ownDatabase() : await testDatabase()
  const serviceEnv = createServiceEnv()
  const config = readConfig({
    ...serviceEnv,
    EGRESS_ALLOW_CIDRS: '127.0.0.1/32,127.0.0.9/32',
    // Nobody answers there: no test asks a real name server for anything.
    DNS_SERVERS: '127.0.0.1:9',
    DATABASE_URL: databaseUrl,
    ROLE: worker ? 'all' : 'api',
    ...env,
  })
  const failures: unknown[] = []
  const context = await createContext(config, { log: collectErrors(failures) })
  const server = createHttpServer(context.deps, { checkReplies: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const running = worker ? startWorker(context.deps) : undefined

  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  const clients: Client[] = []
  const client = (key?: string): Client => {
    const made = createClient(url, key)
    clients.push(made)
    return made
  }
  const operator = client(serviceEnv.OPERATOR_KEY)

  return {
    url,
    port,
    deps: context.deps,
    operatorKey: serviceEnv.OPERATOR_KEY,
    operator,
    client,
    newTenant: () => newTenant(operator, client),
    async close() {
      await Promise.all(clients.map(made => made.close()))
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
      await running?.stop(5_000)
      await context.close()
      if (failures.length > 0) throw new AggregateError(failures, 'The service had faults of its own')
    },
  }
}

function collectErrors(failures: unknown[]): Log {
  const ignore = (): void => {}
  const collect = (fields: object, message: string): void => {
    const cause = 'err' in fields ? fields.err : fields
    failures.push(new Error(message, { cause }))
  }
  return { debug: ignore, info: ignore, warn: ignore, error: collect }
}

async function newTenant(operator: Client, client: (key: string) => Client): Promise<Tenant> {
  const organizationId = await create(operator, '/organizations', { name: 'Acme' })
  const organization = `/organizations/${organizationId}`
  const workspaceId = await create(operator, `${organization}/workspaces`, { name: 'production' })
  const workspace = `/workspaces/${workspaceId}`

  const clientWith = async (scopes: readonly Scope[], level: 'workspace' | 'organization' = 'workspace') => {
    const path = `${level === 'workspace' ? workspace : organization}/access-keys`
    const { status, body } = await operator.post<{ secret: string }>(path, { name: 'test', scopes })
    assert.equal(status, 201, JSON.stringify(body))
    return client(body.secret)
  }
  return {
    organizationId,
    workspaceId,
    organization,
    workspace,
    client: await clientWith(allScopes, 'organization'),
    clientWith,
  }
}

async function create(operator: Client, path: string, body: object): Promise<string> {
  const reply = await operator.post<{ id: string }>(path, body)
  assert.equal(reply.status, 201, JSON.stringify(reply.body))
  return reply.body.id
}

/** Asks again until `isDone` says so, at most for `deadlineMs` (default 5,000); gives the last answer. */
export async function poll<Value>(
  ask: () => Promise<Value>,
  isDone: (value: Value) => boolean,
  deadlineMs = 5_000,
): Promise<Value> {
  const endsAtMs = performance.now() + deadlineMs
  for (;;) {
    const value = await ask()
    if (isDone(value)) return value
    assert(performance.now() < endsAtMs, `not so within ${deadlineMs} ms: ${JSON.stringify(value)}`)
    await delay(10)
  }
}

/** The parts of a problem that are asserted in most tests; details are for people and have tests of their own. */
export function problemOf({ status, body }: { status: number; body: unknown }) {
  const { code, errors } = body as { code: string; errors?: { pointer: string; detail: string }[] }
  return { status, code, pointers: (errors ?? []).map(({ pointer }) => pointer) }
}
