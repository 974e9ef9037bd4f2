/**
 * Match jobs: decides which subscriptions want each event, and makes the first attempts at once, while the job is
 * still held. A worker that dies leaves the job to be run again; what it had not finished is found and goes on.
 */
import type { Deps } from '../deps.ts'
import { scheduled, untouched, type PendingDelivery } from '../domain/delivery.ts'
import type { StoredEvent } from '../domain/event.ts'
import type { RenderableEvent } from '../domain/request.ts'
import { deliveryIdOf, timeOfId } from '../ids.ts'
import { isInRange, type MatchJob } from '../queue/queue.ts'
import * as deliveries from '../store/deliveries.ts'
import * as events from '../store/events.ts'
import type { Claim } from './claims.ts'
import { interruptFirstAttempts } from './interrupted.ts'
import { launch, type LaunchDeps, type Planned } from './launch.ts'
import type { Target, Targets, TargetIndex } from './targets.ts'

type MatchDeps = LaunchDeps & Pick<Deps, 'queue' | 'ids'> & { targets: Targets }

type MatchClaim = Claim<'match-events'>

/** Subscriptions of one event that are handled in one job; a larger fan-out is split into jobs of its own. */
const fanOutMax = 1_000

/** Attempts of one endpoint that may wait in memory; the rest wait as rows. */
const waitingPerEndpointMax = 200

/** Handles claimed match jobs. Returns how many deliveries they made. */
export async function matchEvents(deps: MatchDeps, claims: readonly MatchClaim[]): Promise<number> {
  const resumed = claims.filter(({ job }) => job.retryCount > 0 || job.data.isResumed)
  const together = resumed.filter(({ job }) => job.data.eventIds.length > 1)
  await Promise.all(together.map(claim => splitJob(deps, claim)))

  const remaining = claims.filter(claim => !together.includes(claim))
  const indexes = await deps.targets.load([...new Set(remaining.map(({ job }) => job.data.workspaceId))])
  const plans = await Promise.all(
    remaining.map(claim =>
      planJob(deps, claim, indexes.get(claim.job.data.workspaceId), resumed.includes(claim)),
    ),
  )
  const planned = plans.flatMap(plan => plan ?? [])
  await launch(
    deps,
    remaining.filter((_, i) => plans[i] !== undefined),
    planned,
  )
  return planned.length
}

/**
 * Events that were run together and did not finish go on one by one: should one of them be what ended the worker,
 * the others are not held up by it.
 */
async function splitJob(deps: MatchDeps, claim: MatchClaim): Promise<void> {
  const { eventIds, ...rest } = claim.job.data
  await replaceJob(
    deps,
    claim,
    eventIds.map(id => ({ ...rest, eventIds: [id], isResumed: true })),
  )
}

/** Puts other jobs in the place of one that is ours; nothing of it has been started. */
async function replaceJob(deps: MatchDeps, claim: MatchClaim, jobs: readonly MatchJob[]): Promise<void> {
  await deps.db.transaction(async trx => {
    const ours = await deps.queue.complete('match-events', [claim.job], trx)
    if (ours.has(claim.job.id)) await deps.queue.enqueueMatches(trx, jobs)
  })
  deps.claims.remove(claim)
}

type Wanted = { event: StoredEvent; targets: Target[] }

/** What is to be done for a job; undefined when other jobs took its place. */
async function planJob(
  deps: MatchDeps,
  claim: MatchClaim,
  index: TargetIndex | undefined,
  isResumed: boolean,
): Promise<Planned[] | undefined> {
  if (index === undefined) return [] // The workspace was removed.
  const { workspaceId, eventIds, range } = claim.job.data
  const found = await events.listByIds(deps.db, workspaceId, eventIds)
  const wanted = found.map(event => ({ event, targets: targetsOf(claim.job.data, index, event) }))
  if (range === undefined && wanted.some(isLarge)) {
    const job = isResumed ? { ...claim.job.data, isResumed } : claim.job.data
    await replaceJob(deps, claim, stepsOf(job, wanted))
    return undefined
  }

  const existing = isResumed ? await resumeEvents(deps, claim) : undefined
  const planned: Planned[] = []
  for (const { event, targets } of wanted) {
    const renderable = { ...event, createdAt: timeOfId(event.id), bodies: {} }
    for (const target of targets) {
      const delivery = newDelivery(renderable, target)
      if (existing?.has(delivery.id)) continue
      planned.push(planDelivery(claim, delivery, renderable, target))
    }
  }
  return limitWaiting(deps, planned)
}

/** Settles what a dead worker had on the wire; returns the deliveries that exist already. */
async function resumeEvents(deps: MatchDeps, claim: MatchClaim): Promise<Set<string>> {
  const { workspaceId, eventIds, range } = claim.job.data
  await interruptFirstAttempts(deps, workspaceId, eventIds, range)
  const existing = await Promise.all(
    eventIds.map(eventId => deliveries.listIdsOfEvent(deps.db, workspaceId, eventId)),
  )
  return new Set(existing.flat())
}

function targetsOf({ subscriptionId, range }: MatchJob, index: TargetIndex, event: StoredEvent): Target[] {
  if (subscriptionId === undefined) return index.match(event).filter(target => isInRange(range, target.id))
  const only = index.get(subscriptionId)
  return only === undefined ? [] : [only]
}

function isLarge({ targets }: Wanted): boolean {
  return targets.length > fanOutMax
}

/**
 * The jobs for events of which some want many subscriptions. The ranges are fixed here, once, so that a step that
 * runs again after a crash has the same deliveries, whatever was subscribed or deleted meanwhile.
 */
function stepsOf(job: MatchJob, wanted: readonly Wanted[]): MatchJob[] {
  const small = wanted.filter(entry => !isLarge(entry)).map(({ event }) => event.id)
  const steps = wanted.filter(isLarge).flatMap(({ event, targets }) => {
    const ends = targets.filter((_, i) => i % fanOutMax === fanOutMax - 1).map(({ id }) => id)
    return [null, ...ends].map((after, i) => {
      const range = { after, upTo: ends[i] ?? null }
      return { ...job, eventIds: [event.id], range }
    })
  })
  return small.length === 0 ? steps : [{ ...job, eventIds: small }, ...steps]
}

function planDelivery(
  claim: Claim,
  delivery: PendingDelivery,
  event: RenderableEvent,
  target: Target,
): Planned {
  const state = untouched(delivery)
  const { subscription } = target
  const isNew = true
  if (subscription.endpoint.status === 'disabled')
    return { claim, isNew, state: { ...state, heldBy: 'endpoint' } }
  if (subscription.status === 'inactive') return { claim, isNew, state: { ...state, heldBy: 'paused' } }
  return { claim, isNew, state, departure: { claim, delivery, event, target, isNew } }
}

/** Keeps at most so many attempts of an endpoint in memory; the others become rows with a job at once. */
function limitWaiting(deps: MatchDeps, planned: Planned[]): Planned[] {
  const room = new Map<string, number>()
  return planned.map(entry => {
    if (entry.departure === undefined) return entry
    const { endpointId } = entry.state
    const left = room.get(endpointId) ?? waitingPerEndpointMax - deps.slots.waitingFor(endpointId)
    room.set(endpointId, left - 1)
    return left > 0 ? entry : { claim: entry.claim, isNew: entry.isNew, state: scheduled(entry.state, 0) }
  })
}

function newDelivery(event: StoredEvent, { subscription }: Target): PendingDelivery {
  return {
    id: deliveryIdOf(event.id, subscription.id),
    workspaceId: event.workspaceId,
    eventId: event.id,
    subscriptionId: subscription.id,
    endpointId: subscription.endpoint.id,
    service: event.service,
    event: event.event,
    format: subscription.format,
    attemptsCount: 0,
    interruptionsCount: 0,
    scheduleNumber: 0,
  }
}
