/**
 * What has to be looked after: partitions ahead of time, deliveries whose job was lost, expired idempotency keys,
 * flights of dead workers. Every worker ticks; a lock lets one of them do the work.
 */
import type { Deps } from '../deps.ts'
import { clockOffsetMs, tryLock, type Db } from '../store/db.ts'
import * as deliveries from '../store/deliveries.ts'
import * as flights from '../store/flights.ts'
import * as idempotencyKeys from '../store/idempotency-keys.ts'
import { ensurePartitions } from '../store/partitions.ts'
import { rescheduleNow } from './reschedule.ts'

type MaintainDeps = Pick<Deps, 'db' | 'ids' | 'queue' | 'log' | 'random' | 'wake'>

const intervalMs = 30_000

/** A due delivery without a job is found after this at the latest, plus one interval. */
const overdueSeconds = 30

const sweepMax = 1_000

/** Subscriptions whose held deliveries are released in one round. */
const releasesMax = 100

/** Published: a key is remembered for a day. */
export const idempotencyKeySeconds = 86_400

/** Beyond the longest deadline and its settling: an older flight with nothing open was left by a dead worker. */
const flightSecondsMin = 300

/** Any fixed number serves: it only has to be the same in every process, and no other lock's. */
const maintainLock = 8_236_115

export function startMaintenance(deps: MaintainDeps): { stop(): Promise<void> } {
  let running: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout
  let isStopped = false

  function schedule(): void {
    if (isStopped) return
    // Spread, so that processes that started together do not all come at the same moment.
    timer = setTimeout(tick, intervalMs * (0.8 + 0.4 * deps.random()))
  }

  function tick(): void {
    running = maintain(deps)
      .catch((error: unknown) => deps.log.error({ err: error }, 'maintenance.failed'))
      .finally(schedule)
  }

  schedule()
  return {
    async stop() {
      isStopped = true
      clearTimeout(timer)
      await running
    },
  }
}

/** One round of maintenance. */
export async function maintain(deps: MaintainDeps): Promise<void> {
  deps.ids.setClockOffset(await clockOffsetMs(deps.db))
  await ensurePartitions(deps.db, deps.ids.now())
  await deps.db.transaction(async trx => {
    if (!(await tryLock(trx, maintainLock))) return
    await flights.removeLanded(trx, flightSecondsMin)
    await idempotencyKeys.removeExpired(trx, idempotencyKeySeconds, 50_000)
    const found = await rescheduleLost(deps, trx)
    if (found > 0) deps.log.warn({ deliveries: found }, 'maintenance.rescheduled_lost_deliveries')
    const stuck = await deliveries.listStuckHolders(trx, releasesMax)
    for (const holder of stuck) await deps.queue.enqueueRelease(trx, holder)
    if (stuck.length > 0)
      deps.log.warn({ subscriptions: stuck.length }, 'maintenance.released_held_deliveries')
  })
  deps.wake.notify()
}

/** Due deliveries whose job is gone get a new one. Returns how many there were. */
async function rescheduleLost(deps: MaintainDeps, trx: Db): Promise<number> {
  const overdue = await deliveries.lockOverdue(trx, { overdueSeconds, limit: sweepMax })
  const jobs = overdue.map(({ workspaceId, id: deliveryId, scheduleNumber }) => ({
    workspaceId,
    deliveryId,
    scheduleNumber,
  }))
  const live = jobs.length === 0 ? new Set<string>() : await deps.queue.findLiveAttempts(trx, jobs)
  const lost = overdue.filter(({ id }) => !live.has(id))
  await rescheduleNow(deps, trx, lost)
  return lost.length
}
