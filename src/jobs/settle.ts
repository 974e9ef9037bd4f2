/**
 * Writes what became of attempts. Results are collected while the last group is being written and then settle
 * together in one transaction: the jobs first, and everything else only for the jobs that were still ours.
 */
import { strict as assert } from 'node:assert'
import { setTimeout as pause } from 'node:timers/promises'
import type { DeliveryState } from '../domain/delivery.ts'
import type { Log } from '../log.ts'
import type { Queue } from '../queue/queue.ts'
import * as attempts from '../store/attempts.ts'
import { isUnavailable, type Db } from '../store/db.ts'
import * as deliveries from '../store/deliveries.ts'
import * as flights from '../store/flights.ts'
import type { Claim, Claims } from './claims.ts'

/** The attempts that one worker started together; its row goes when the last of them has ended. */
export type Flight = {
  id: string
  open: number
  /** A claim on it was lost: its row is left to whoever took over, who learns from it what was on the wire. */
  isLost: boolean
}

/** One delivery's part of a job has ended. */
export type Ended = {
  claim: Claim
  /** The delivery as it stands now; undefined when only the handling of the job itself has ended. */
  state?: DeliveryState
  /** Whether the delivery is written for the first time. */
  isNew?: boolean
  attempt?: attempts.NewAttempt
  flight?: Flight
}

export type Settler = {
  add(ended: Ended): void
  /** Resolves when everything added before has been written. */
  flush(): Promise<void>
}

export type SettlerDeps = {
  db: Db
  queue: Queue
  log: Log
  claims: Claims
  onSettled: (settled: readonly Ended[]) => void
}

/** Lets a group gather under load; alone, a result is written at once. */
const gatherMs = 5

const groupMax = 1_000

const retryPauseMs = 250

export function createSettler(deps: SettlerDeps): Settler {
  let gathered: Ended[] = []
  let writing: Promise<void> | undefined

  async function writeAll(): Promise<void> {
    while (gathered.length > 0) {
      const group = gathered.splice(0, groupMax)
      await settleGroup(deps, group)
      if (gathered.length > 0 && gathered.length < groupMax) await pause(gatherMs)
    }
  }

  function startWriting(): void {
    if (writing !== undefined || gathered.length === 0) return
    writing = writeAll().finally(() => {
      writing = undefined
      startWriting()
    })
  }

  return {
    add(ended) {
      gathered.push(ended)
      if (writing === undefined) queueMicrotask(startWriting)
    },
    async flush() {
      startWriting()
      while (writing !== undefined) await writing
      assert(gathered.length === 0)
    },
  }
}

async function settleGroup(deps: SettlerDeps, group: readonly Ended[]): Promise<void> {
  let written: Ended[]
  for (;;) {
    try {
      written = await deps.claims.exclusively(() => deps.db.transaction(trx => writeGroup(deps, trx, group)))
      break
    } catch (error) {
      if (isUnavailable(error)) {
        // Nothing of it happened. The claims may lapse meanwhile; then it is recorded as superseded.
        deps.log.warn({ err: error, results: group.length }, 'settle.waiting_for_database')
        await pause(retryPauseMs)
      } else if (group.length > 1) {
        deps.log.error({ err: error, results: group.length }, 'settle.group_failed')
        for (const ended of group) await settleGroup(deps, [ended])
        return
      } else if (group[0]!.attempt?.response != null) {
        // What a receiver answered must never keep its delivery from ending, or it would be sent again for ever.
        deps.log.error({ err: error, deliveryId: group[0]!.state?.id }, 'settle.without_response')
        return settleGroup(deps, group.map(withoutResponse))
      } else {
        // The job runs again once its claim lapses; this attempt is then recorded as interrupted.
        deps.log.error({ err: error, deliveryId: group[0]!.state?.id }, 'settle.failed')
        deps.claims.remove(group[0]!.claim)
        return
      }
    }
  }
  for (const { claim, flight } of group) {
    claim.open--
    if (claim.open === 0) deps.claims.remove(claim)
    if (flight !== undefined) flight.open--
  }
  deps.onSettled(written)
}

function withoutResponse(ended: Ended): Ended {
  if (ended.attempt === undefined) return ended
  const error = 'The answer could not be stored.'
  return { ...ended, attempt: { ...ended.attempt, error, response: null } }
}

/** Returns what was written: results of a lost claim say so, and change no delivery. */
async function writeGroup(deps: SettlerDeps, trx: Db, group: readonly Ended[]): Promise<Ended[]> {
  const isOurs = await settleJobs(deps, trx, group)
  const ours = group.filter(({ claim }) => isOurs(claim))
  const lost = group.filter(({ claim }) => !isOurs(claim)).flatMap(asSuperseded)

  const added = ours.flatMap(({ state, isNew }) => (state !== undefined && isNew === true ? [state] : []))
  const changed = ours.flatMap(({ state, isNew }) => (state !== undefined && isNew !== true ? [state] : []))
  const ended = ours.flatMap(({ attempt }) => attempt ?? [])
  const superseded = lost.flatMap(({ attempt }) => attempt ?? [])
  if (added.length > 0) await deliveries.insertMany(trx, added)
  if (changed.length > 0) await deliveries.updateMany(trx, changed)
  if (ended.length > 0) await attempts.insertMany(trx, ended)
  if (superseded.length > 0) await attempts.supersedeMany(trx, superseded)
  await deps.queue.enqueueAttempts(trx, [...added, ...changed].flatMap(nextJobOf))
  const landed = landedFlights(group)
  if (landed.length > 0) await flights.removeMany(trx, landed)
  return [...ours, ...lost]
}

function asSuperseded(ended: Ended): Ended[] {
  if (ended.flight !== undefined) ended.flight.isLost = true
  const { attempt } = ended
  return attempt === undefined ? [] : [{ ...ended, attempt: { ...attempt, outcome: 'superseded' } }]
}

/**
 * Completes the jobs that have nothing open any more and confirms the claims on the others. Both lock the job rows
 * until the commit, so nobody can take a job over while its results are being written.
 */
async function settleJobs(
  deps: SettlerDeps,
  trx: Db,
  group: readonly Ended[],
): Promise<(claim: Claim) => boolean> {
  const endedByClaim = new Map<Claim, number>()
  for (const { claim } of group) endedByClaim.set(claim, (endedByClaim.get(claim) ?? 0) + 1)

  const ours = new Set<string>()
  const byQueue = Map.groupBy(endedByClaim.keys(), claim => claim.name)
  for (const [name, claims] of byQueue) {
    const done = claims.filter(claim => claim.open === endedByClaim.get(claim)).map(({ job }) => job)
    const going = claims.filter(claim => claim.open !== endedByClaim.get(claim)).map(({ job }) => job)
    if (done.length > 0) for (const id of await deps.queue.complete(name, done, trx)) ours.add(id)
    if (going.length > 0) for (const id of await deps.queue.touch(name, going, trx)) ours.add(id)
  }
  return claim => ours.has(claim.job.id)
}

function nextJobOf(state: DeliveryState) {
  if (state.status !== 'pending' || state.heldBy !== null || state.nextAttemptInSeconds === null) return []
  const { workspaceId, id: deliveryId, scheduleNumber, nextAttemptInSeconds: delaySeconds } = state
  return [{ workspaceId, deliveryId, scheduleNumber, delaySeconds }]
}

function landedFlights(group: readonly Ended[]): string[] {
  const landing = new Map<Flight, number>()
  for (const { flight } of group)
    if (flight !== undefined) landing.set(flight, (landing.get(flight) ?? 0) + 1)
  return [...landing]
    .filter(([flight, count]) => flight.open === count && !flight.isLost)
    .map(([flight]) => flight.id)
}
