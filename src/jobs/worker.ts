/**
 * The worker: one loop that claims jobs while there is room for them. It is woken when there is work and polls as a
 * safety net. See src/README.md for how a delivery flows through the files beside this one.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Deps } from '../deps.ts'
import { disableEndpoint } from '../services/endpoints.ts'
import { attemptDeliveries } from './attempt-deliveries.ts'
import { createClaims, type Claim } from './claims.ts'
import { startMaintenance } from './maintain.ts'
import { matchEvents } from './match-events.ts'
import { releaseDeliveries } from './release-deliveries.ts'
import { createSettler, type Ended } from './settle.ts'
import { createSlots, slotLimits } from './slots.ts'
import { createTargets } from './targets.ts'

export type Worker = {
  /** Takes no more jobs, lets what is on the wire finish for `drainTimeoutMs`, aborts the rest, and writes it all. */
  stop(drainTimeoutMs: number): Promise<void>
}

/** First attempts and retries that may wait in line: each has room of its own, whatever the other does. */
const firstAttemptsMax = slotLimits.inFlightMax * 0.8
const retriesMax = slotLimits.inFlightMax * 0.2

/** Room that is worth a claim: taking a little each time costs more than it brings. */
const worthwhileRoom = firstAttemptsMax / 2

const matchJobsMax = 100

/** Polls of an idle worker come at growing distance; they only matter when a wake-up was lost. */
const pollMinMs = 250
const pollMaxMs = 1_000

const faultPauseMs = 1_000

/** After the abort of what is on the wire, how long its ends may take to arrive. */
const abortTimeoutMs = 5_000

export function startWorker(deps: Deps): Worker {
  let isStopping = false
  const bell = createBell()
  const claims = createClaims(deps)
  const slots = createSlots({ now: () => performance.now(), onFree: bell.ring })
  const settler = createSettler({ ...deps, claims, onSettled: settled => onSettled(deps, settled) })
  const work = { ...deps, claims, slots, settler, targets: createTargets(deps), isStopping: () => isStopping }
  /** The release under way: one at a time, beside the loop, since it may be long. */
  let releasing: Promise<void> | undefined
  const maintenance = startMaintenance(deps)
  const stopListening = deps.wake.onWake(bell.ring)

  /** Deliveries that one match job made lately, so that a claim brings about as much as there is room for. */
  let deliveriesPerJob: number = slotLimits.inFlightMax

  async function claimMatches(): Promise<number> {
    const room = firstAttemptsMax - slots.firstWaiting
    if (room < worthwhileRoom) return 0
    const max = Math.min(matchJobsMax, Math.max(1, Math.floor(room / deliveriesPerJob)))
    const jobs = await deps.queue.claim('match-events', max)
    if (jobs.length === 0) return 0
    const held = jobs.map(job => claims.add('match-events', job))
    const made = await orFail(held, () => matchEvents(work, held))
    if (made !== undefined) deliveriesPerJob = (deliveriesPerJob + Math.max(1, made / jobs.length)) / 2
    return jobs.length
  }

  async function claimAttempts(): Promise<number> {
    const room = retriesMax - slots.retriesWaiting
    if (room <= 0) return 0
    const jobs = await deps.queue.claim('attempt-deliveries', room)
    if (jobs.length === 0) return 0
    const held = jobs.map(job => claims.add('attempt-deliveries', job))
    await orFail(held, () => attemptDeliveries(work, held))
    return jobs.length
  }

  async function claimRelease(): Promise<number> {
    if (releasing !== undefined) return 0
    const [job] = await deps.queue.claim('release-deliveries', 1)
    if (job === undefined) return 0
    const claim = claims.add('release-deliveries', job)
    releasing = orFail([claim], () => releaseDeliveries(work, claim)).finally(() => {
      releasing = undefined
      bell.ring()
    })
    return 1
  }

  /** A fault of ours, or of the database, before anything was sent: the jobs go back and run again. */
  async function orFail<Result>(
    held: readonly Claim[],
    handle: () => Promise<Result>,
  ): Promise<Result | undefined> {
    try {
      return await handle()
    } catch (error) {
      deps.log.error({ err: error, jobs: held.length }, 'worker.jobs_failed')
      held.forEach(claims.remove)
      // Should this fail too, the claims lapse and the jobs run again all the same.
      await deps.queue
        .fail(
          held[0]!.name,
          held.map(({ job }) => job),
        )
        .catch(() => undefined)
      return undefined
    }
  }

  async function run(): Promise<void> {
    let pollMs = pollMinMs
    while (!isStopping) {
      try {
        const claimed = (await claimMatches()) + (await claimAttempts()) + (await claimRelease())
        if (claimed > 0) {
          pollMs = pollMinMs
          continue
        }
        await bell.wait(pollMs * (0.8 + 0.4 * deps.random()))
        pollMs = Math.min(pollMs * 2, pollMaxMs)
      } catch (error) {
        deps.log.error({ err: error }, 'worker.claim_failed')
        await pause(faultPauseMs)
      }
    }
  }

  const running = run()
  return {
    async stop(drainTimeoutMs) {
      isStopping = true
      stopListening()
      bell.ring()
      await running
      slots.close()
      if (!(await slots.drained(drainTimeoutMs))) {
        deps.log.warn({ attempts: slots.inFlight }, 'worker.aborting_attempts')
        claims.abortAll()
        await slots.drained(abortTimeoutMs)
      }
      await releasing
      await settler.flush()
      await maintenance.stop()
      claims.stop()
    },
  }
}

/** Wakes the loop; a ring that comes while the loop is busy is kept. */
function createBell(): { ring: () => void; wait: (timeoutMs: number) => Promise<void> } {
  let isRung = false
  let wake: (() => void) | undefined
  return {
    ring() {
      isRung = true
      wake?.()
    },
    async wait(timeoutMs) {
      if (!isRung) {
        const { promise, resolve } = Promise.withResolvers<void>()
        const timer = setTimeout(resolve, timeoutMs)
        wake = resolve
        await promise
        clearTimeout(timer)
        wake = undefined
      }
      isRung = false
    },
  }
}

/** After results are written: tells what became of each delivery, and acts on endpoints that are gone. */
function onSettled(deps: Deps, settled: readonly Ended[]): void {
  const gone = new Map<string, string>()
  let givenBack = 0
  for (const { state, attempt } of settled) {
    if (state === undefined) continue
    if (attempt !== undefined) {
      logAttempt(deps, state, attempt)
      if (attempt.outcome === 'gone') gone.set(state.endpointId, state.workspaceId)
    } else if (state.status === 'cancelled' || state.heldBy !== null) {
      const { workspaceId, id: deliveryId, eventId, subscriptionId, status, heldBy, statusReason } = state
      const fields = { workspaceId, deliveryId, eventId, subscriptionId, status, heldBy, statusReason }
      deps.log.info(fields, state.heldBy === null ? 'delivery.cancelled' : 'delivery.held')
    } else {
      givenBack++
    }
  }
  // Many of these for long: more is due for some endpoint than its slots let through.
  if (givenBack > 0) deps.log.info({ deliveries: givenBack }, 'deliveries.given_back')
  for (const [endpointId, workspaceId] of gone) {
    disableEndpoint(deps, workspaceId, endpointId, 'The endpoint answered 410 Gone.').catch(
      (error: unknown) =>
        // The next attempt is answered with 410 again and comes back here.
        deps.log.error({ err: error, endpointId }, 'endpoint.disable_failed'),
    )
  }
}

function logAttempt(
  { log }: Pick<Deps, 'log'>,
  state: NonNullable<Ended['state']>,
  attempt: NonNullable<Ended['attempt']>,
): void {
  log.info(
    {
      workspaceId: state.workspaceId,
      deliveryId: state.id,
      eventId: state.eventId,
      subscriptionId: state.subscriptionId,
      endpointId: state.endpointId,
      event: `${state.service}.${state.event}`,
      attempt: attempt.number,
      outcome: attempt.outcome,
      responseStatus: attempt.response?.status,
      durationMs: Math.round(attempt.durationMs),
      requests: attempt.requestsCount,
      remoteAddress: attempt.remoteAddress ?? undefined,
      error: attempt.error ?? undefined,
      // Of a superseded attempt, whoever took over says what became of the delivery.
      ...(attempt.outcome === 'superseded'
        ? {}
        : { status: state.status, nextAttemptInSeconds: state.nextAttemptInSeconds ?? undefined }),
    },
    'delivery.attempted',
  )
}
