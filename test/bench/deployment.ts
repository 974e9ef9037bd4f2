/** A new database with services on it and one workspace in it, for one figure; nothing carries over to the next. */

import assert from 'node:assert/strict'
import { createClient, type Client } from '#test/support/api-client.ts'
import { createServiceEnv, startService, type Service } from '#test/support/process.ts'
import type { Published } from './arrivals.ts'
import { startChild } from './child.ts'
import type { Database } from './database.ts'
import type { Plan } from './events.ts'

export type Deployment = {
  /** Of the first service. */
  url: string
  /** The workspace's path. */
  workspace: string
  /** An access key that may subscribe and publish, and a client that has it. */
  accessKey: string
  client: Client
  /** Starts one more service on the same database. */
  start(role: Role): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export type Role = 'all' | 'api' | 'worker'

/** Starts a database and a service of this role, and makes a workspace and an access key. */
export async function deploy(role: Role, signal: AbortSignal): Promise<Deployment> {
  const stack = new AsyncDisposableStack()
  try {
    const database = stack.use(startChild<Database>('./database.ts', signal))
    const { url: databaseUrl, dataDir } = await database.call('start')
    const keys = createServiceEnv()

    const start = async (role: Role): Promise<Service> => {
      const env = { ...keys, ROLE: role, DATABASE_URL: databaseUrl, DATA_DIR: dataDir }
      const service = await startService(env, { signal })
      stack.defer(() => stopAndShowOutput(service))
      return service
    }
    const { url } = await start(role)
    const { workspace, accessKey } = await createWorkspace(url, keys.OPERATOR_KEY)
    const client = createClient(url, accessKey)
    stack.defer(() => client.close())

    return {
      url,
      workspace,
      accessKey,
      client,
      start: async role => void (await start(role)),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

/** Subscribes the receiver as the plan says, with default settings; all sign with the same key. */
export async function subscribe(
  { client, workspace }: Deployment,
  plan: Plan,
  receiver: { url: string; signingKey: string },
): Promise<void> {
  for (const { path, eventFilters } of plan.subscriptions) {
    const { service, event } = plan.eventAt(0)
    const subscription = {
      service,
      event,
      url: receiver.url + path,
      eventFilters,
      signingKey: receiver.signingKey,
    }
    const reply = await client.post(`${workspace}/webhook-subscriptions`, subscription)
    assert.equal(reply.status, 201, JSON.stringify(reply.body))
  }
}

/** Publishes all events of a plan in batches of 100, four at a time. */
export async function publishAll({ client, workspace }: Deployment, plan: Plan): Promise<Published> {
  const ids: string[] = []
  let nextSequence = 0

  const publishInTurn = async (): Promise<void> => {
    while (nextSequence < plan.eventsCount) {
      const first = nextSequence
      nextSequence = Math.min(first + 100, plan.eventsCount)
      const events = Array.from({ length: nextSequence - first }, (_, n) => plan.eventAt(first + n))
      const reply = await client.post<{ results: { id: string }[] }>(`${workspace}/events/batch`, { events })
      assert.equal(reply.status, 202, JSON.stringify(reply.body))
      for (const [n, { id }] of reply.body.results.entries()) ids[first + n] = id
    }
  }
  await Promise.all(Array.from({ length: 4 }, publishInTurn))
  assert.equal(new Set(ids).size, plan.eventsCount, 'every event must have an id of its own')
  return { plan, ids }
}

async function createWorkspace(
  url: string,
  operatorKey: string,
): Promise<{ workspace: string; accessKey: string }> {
  const operator = createClient(url, operatorKey)
  const create = async (path: string, body: unknown): Promise<{ id: string; secret?: string }> => {
    const reply = await operator.post<{ id: string; secret?: string }>(path, body)
    assert.equal(reply.status, 201, JSON.stringify(reply.body))
    return reply.body
  }
  try {
    const organization = `/organizations/${(await create('/organizations', { name: 'Benchmark' })).id}`
    const { id } = await create(`${organization}/workspaces`, { name: 'Benchmark' })
    const workspace = `${organization}/workspaces/${id}`
    const scopes = ['subscriptions:write', 'events:publish']
    const { secret } = await create(`${workspace}/access-keys`, { name: 'Benchmark', scopes })
    assert(secret)
    return { workspace, accessKey: secret }
  } finally {
    await operator.close()
  }
}

/** A service logs warnings only, and in a benchmark there should be none. */
async function stopAndShowOutput(service: Service): Promise<void> {
  await service.stop()
  process.stderr.write(service.output())
}
