/**
 * Match jobs: decides which subscriptions want each event, and makes the first attempts at once, while the job is
 * still held. A worker that dies leaves the job to be run again; what it had not finished is found and goes on.
 */
import type { Deps } from '../deps.ts'
import { untouched, type PendingDelivery } from '../domain/delivery.ts'
import type { StoredEvent } from '../domain/event.ts'
import type { RenderableEvent } from '../domain/request.ts'
import { deliveryIdOf, timeOfId } from '../ids.ts'
import { isInRange, type MatchJob } from '../queue/queue.ts'
import * as deliveries from '../store/deliveries.ts'
import * as events from '../store/events.ts'
import type { Claim } from './claims.ts'
import { interruptFirstAttempts } from './interrupted.ts'
import { launch, type LaunchDeps, type Planned } from './launch.ts'
import { holderOf, type Target, type TargetIndex, type Targets } from './targets.ts'

type MatchDeps = LaunchDeps & Pick<Deps, 'queue' | 'ids'> & { targets: Targets }

type MatchClaim = Claim<'match-events'>

/** Subscriptions of one event that are handled in one job; a larger fan-out is split into jobs of its own. */
const fanOutMax = 1_000

/** Deliveries that are planned together; what goes beyond goes back to the queue. Bounds memory and stalls. */
const plannedMax = 4_000

/** Handles claimed match jobs. Returns how many deliveries they made. */
export async function matchEvents(deps: MatchDeps, claims: readonly MatchClaim[]): Promise<number> {
  const fresh = await splitResumed(deps, claims)
  const byWorkspace = Map.groupBy(fresh, ({ job }) => job.data.workspaceId)
  const indexes = await deps.targets.load([...byWorkspace.keys()])

  const planned: Planned[] = []
  const launched: MatchClaim[] = []
  for (const [workspaceId, ofWorkspace] of byWorkspace) {
    const index = indexes.get(workspaceId)
    const found = await listEvents(deps, workspaceId, ofWorkspace)
    for (const claim of ofWorkspace) {
      if (planned.length >= plannedMax) {
        await replaceJob(deps, claim, [resumable(claim)])
        continue
      }
      // Of a removed workspace nothing is left to do.
      const plan = index === undefined ? [] : await planJob(deps, claim, index, found)
      if (plan === undefined) continue
      for (const entry of plan) planned.push(entry)
      launched.push(claim)
    }
  }
  await launch(deps, launched, planned)
  return planned.length
}

function isResumed({ job }: MatchClaim): boolean {
  return job.retryCount > 0 || job.data.isResumed === true
}

/** The job as it has to be written anew: that it ran before must not be forgotten. */
function resumable(claim: MatchClaim): MatchJob {
  return isResumed(claim) ? { ...claim.job.data, isResumed: true } : claim.job.data
}

/**
 * Events that were run together and did not finish go on one by one: should one of them be what ended the worker,
 * the others are not held up by it. Returns the claims that are left.
 */
async function splitResumed(deps: MatchDeps, claims: readonly MatchClaim[]): Promise<MatchClaim[]> {
  const isTogether = (claim: MatchClaim) => isResumed(claim) && claim.job.data.eventIds.length > 1
  for (const claim of claims.filter(isTogether)) {
    const job = resumable(claim)
    await replaceJob(
      deps,
      claim,
      job.eventIds.map(id => ({ ...job, eventIds: [id] })),
    )
  }
  return claims.filter(claim => !isTogether(claim))
}

/** Puts other jobs in the place of one that is ours; nothing of it has been started. */
async function replaceJob(deps: MatchDeps, claim: MatchClaim, jobs: readonly MatchJob[]): Promise<void> {
  await deps.db.transaction(async trx => {
    const ours = await deps.queue.complete('match-events', [claim.job], trx)
    if (ours.has(claim.job.id)) await deps.queue.enqueueMatches(trx, jobs)
  })
  deps.claims.remove(claim)
}

async function listEvents(
  deps: MatchDeps,
  workspaceId: string,
  claims: readonly MatchClaim[],
): Promise<Map<string, StoredEvent>> {
  const ids = claims.flatMap(({ job }) => job.data.eventIds)
  const found = await events.listByIds(deps.db, workspaceId, ids)
  return new Map(found.map(event => [event.id, event]))
}

type Wanted = { event: StoredEvent; targets: Target[] }

/** What is to be done for a job; undefined when other jobs took its place. */
async function planJob(
  deps: MatchDeps,
  claim: MatchClaim,
  index: TargetIndex,
  found: ReadonlyMap<string, StoredEvent>,
): Promise<Planned[] | undefined> {
  const { eventIds, range } = claim.job.data
  const wanted = eventIds.flatMap((id): Wanted[] => {
    const event = found.get(id)
    return event === undefined ? [] : [{ event, targets: targetsOf(claim.job.data, index, event) }]
  })
  if (range === undefined && (wanted.some(isLarge) || (wanted.length > 1 && countOf(wanted) > plannedMax))) {
    await replaceJob(deps, claim, stepsOf(resumable(claim), wanted))
    return undefined
  }

  const existing = isResumed(claim) ? await resumeEvents(deps, claim) : undefined
  const planned: Planned[] = []
  for (const { event, targets } of wanted) {
    const renderable = { ...event, createdAt: timeOfId(event.id), bodies: {} }
    for (const target of targets) {
      const delivery = newDelivery(renderable, target)
      if (existing?.has(delivery.id)) continue
      planned.push(planDelivery(claim, delivery, renderable, target))
    }
  }
  return planned
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

function countOf(wanted: readonly Wanted[]): number {
  return wanted.reduce((count, { targets }) => count + targets.length, 0)
}

/**
 * The jobs for events that are too many deliveries for one. The ranges are fixed here, once, so that a step that runs
 * again after a crash has the same deliveries, whatever was subscribed or deleted meanwhile.
 */
function stepsOf(job: MatchJob, wanted: readonly Wanted[]): MatchJob[] {
  const small = wanted.filter(entry => !isLarge(entry))
  const ids = small.map(({ event }) => event.id)
  const together = countOf(small) > plannedMax ? ids.map(id => [id]) : ids.length > 0 ? [ids] : []
  const steps = wanted.filter(isLarge).flatMap(({ event, targets }) => {
    const ends = targets.filter((_, i) => i % fanOutMax === fanOutMax - 1).map(({ id }) => id)
    return [null, ...ends].map((after, i): MatchJob => {
      const range = { after, upTo: ends[i] ?? null }
      return { ...job, eventIds: [event.id], range }
    })
  })
  return [...together.map(eventIds => ({ ...job, eventIds })), ...steps]
}

function planDelivery(
  claim: Claim,
  delivery: PendingDelivery,
  event: RenderableEvent,
  target: Target,
): Planned {
  const isNew = true
  const heldBy = holderOf(target)
  if (heldBy !== undefined) return { claim, isNew, state: { ...untouched(delivery), heldBy } }
  return { claim, isNew, delivery, event, target }
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
