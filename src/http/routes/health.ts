/** Whether the process is alive and can serve. */
import { hasPendingMigrations, rows } from '../../store/db.ts'
import type { Route } from '../route.ts'

export const getLiveness: Route = {
  method: 'get',
  path: '/healthz',
  operationId: 'getLiveness',
  summary: 'Whether the process is alive',
  access: { level: 'public' },
  replies: { 200: 'health' },
  handle: () => Promise.resolve({ status: 200, body: { status: 'ok' } }),
}

export const getReadiness: Route = {
  method: 'get',
  path: '/readyz',
  operationId: 'getReadiness',
  summary: 'Whether the process can serve: database, queue, migrations',
  access: { level: 'public' },
  replies: { 200: 'health', 503: 'health' },
  async handle({ deps }) {
    const [database, migrations, queue] = await Promise.all([
      isFine(async () => (await rows(deps.db, 'select 1')).length === 1),
      isFine(async () => !(await hasPendingMigrations(deps.db))),
      isFine(() => deps.queue.isReady()),
    ])
    const isReady = database && migrations && queue
    const say = (isOk: boolean) => (isOk ? 'ok' : 'failed')
    const checks = { database: say(database), migrations: say(migrations), queue: say(queue) }
    return { status: isReady ? 200 : 503, body: { status: isReady ? 'ok' : 'unavailable', checks } }
  },
}

/** Why a check failed is in the log of what failed; here only that it did. */
async function isFine(check: () => Promise<boolean>): Promise<boolean> {
  try {
    return await check()
  } catch {
    return false
  }
}
