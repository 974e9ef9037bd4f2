/**
 * Match jobs: decides which subscriptions want each event, and makes the first attempts at once, while the job is
 * still held. A worker that dies leaves the job to be run again; what it had not finished is found and goes on.
 */
import type { Deps } from '../deps.ts'
import { scheduled, untouched, type PendingDelivery } from '../domain/delivery.ts'
import type { StoredEvent } from '../domain/event.ts'
import type { RenderableEvent } from '../domain/request.ts'
import { deliveryIdOf, timeOfId } from '../ids.ts'
import type { MatchJob } from '../queue/queue.ts'
import * as deliveries from '../store/deliveries.ts'
import * as events from '../store/events.ts'
import type { Claim } from './claims.ts'
import { interruptFirstAttempts } from './interrupted.ts'
import { launch, type LaunchDeps, type Planned } from './launch.ts'
import type { Target, Targets, TargetIndex } from './targets.ts'

type MatchDeps = LaunchDeps & Pick<Deps, 'queue' | 'ids'> & { targets: Targets }

type MatchClaim = Claim<'match-events'>

/** Subscriptions of one event that are handled in one step; a larger fan-out goes on in a job of its own. */
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
  const plan = plans.flat()
  await launch(deps, remaining, plan)
  return plan.length
}

/**
 * Events that were run together and did not finish go on one by one: should one of them be what ended the worker,
 * the others are not held up by it.
 */
async function splitJob(deps: MatchDeps, claim: MatchClaim): Promise<void> {
  const { eventIds, ...rest } = claim.job.data
  await deps.db.transaction(async trx => {
    const ours = await deps.queue.complete('match-events', [claim.job], trx)
    if (!ours.has(claim.job.id)) return
    await deps.queue.enqueueMatches(
      trx,
      eventIds.map(id => ({ ...rest, eventIds: [id], isResumed: true })),
    )
  })
  deps.claims.remove(claim)
}

async function planJob(
  deps: MatchDeps,
  claim: MatchClaim,
  index: TargetIndex | undefined,
  isResumed: boolean,
): Promise<Planned[]> {
  if (index === undefined) return [] // The workspace was removed.
  const { workspaceId, eventIds } = claim.job.data
  const found = await events.listByIds(deps.db, workspaceId, eventIds)
  const settled = isResumed ? await resumeEvents(deps, claim) : undefined
  const planned: Planned[] = []
  for (const event of found) {
    const renderable = { ...event, createdAt: timeOfId(event.id), bodies: {} }
    for (const target of await targetsOf(deps, claim, index, event)) {
      const delivery = newDelivery(renderable, target)
      if (settled?.has(delivery.id)) continue
      planned.push(planDelivery(claim, delivery, renderable, target))
    }
  }
  return limitWaiting(deps, planned)
}

/** Settles what a dead worker had on the wire; returns the deliveries that exist already. */
async function resumeEvents(deps: MatchDeps, claim: MatchClaim): Promise<Set<string>> {
  const { workspaceId, eventIds } = claim.job.data
  await interruptFirstAttempts(deps, workspaceId, eventIds)
  const existing = await Promise.all(
    eventIds.map(eventId => deliveries.listIdsOfEvent(deps.db, workspaceId, eventId)),
  )
  return new Set(existing.flat())
}

async function targetsOf(
  deps: MatchDeps,
  claim: MatchClaim,
  index: TargetIndex,
  event: StoredEvent,
): Promise<Target[]> {
  const { subscriptionId, afterSubscriptionId, ...rest } = claim.job.data
  if (subscriptionId !== undefined) {
    const only = index.get(subscriptionId)
    return only === undefined ? [] : [only]
  }
  const all = index.match(event)
  const from =
    afterSubscriptionId === undefined ? 0 : all.findIndex(target => target.id > afterSubscriptionId)
  if (from < 0) return []
  const step = all.slice(from, from + fanOutMax)
  if (from + fanOutMax < all.length) {
    const next: MatchJob = { ...rest, eventIds: [event.id], afterSubscriptionId: step.at(-1)!.id }
    await deps.queue.enqueueMatches(deps.db, [next])
  }
  return step
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
