/**
 * Attempt jobs: the attempts that were scheduled for later. Everything is read again when an attempt starts, so that
 * a changed, paused or removed subscription is respected.
 */
import type { Deps } from '../deps.ts'
import { untouched, type DeliveryState, type PendingDelivery } from '../domain/delivery.ts'
import type { StoredEvent } from '../domain/event.ts'
import { timeOfId } from '../ids.ts'
import * as deliveries from '../store/deliveries.ts'
import * as events from '../store/events.ts'
import type { Claim } from './claims.ts'
import { interruptLaterAttempts } from './interrupted.ts'
import { launch, type LaunchDeps, type Planned } from './launch.ts'
import { holderOf, type TargetIndex, type Targets } from './targets.ts'

type AttemptsDeps = LaunchDeps & Pick<Deps, 'queue'> & { targets: Targets }

type AttemptClaim = Claim<'attempt-deliveries'>

export async function attemptDeliveries(deps: AttemptsDeps, claims: readonly AttemptClaim[]): Promise<void> {
  const byWorkspace = Map.groupBy(claims, ({ job }) => job.data.workspaceId)
  const indexes = await deps.targets.load([...byWorkspace.keys()])
  const plans = await Promise.all(
    [...byWorkspace].map(([workspaceId, ofWorkspace]) =>
      planAttempts(deps, workspaceId, ofWorkspace, indexes.get(workspaceId)),
    ),
  )
  await launch(deps, claims, plans.flat())
}

async function planAttempts(
  deps: AttemptsDeps,
  workspaceId: string,
  claims: readonly AttemptClaim[],
  index: TargetIndex | undefined,
): Promise<Planned[]> {
  const resumed = claims.filter(({ job }) => job.retryCount > 0).map(({ job }) => job.data.deliveryId)
  if (resumed.length > 0) await interruptLaterAttempts(deps, workspaceId, resumed)

  const pending = await deliveries.listPending(
    deps.db,
    workspaceId,
    claims.map(({ job }) => job.data.deliveryId),
  )
  const pendingById = new Map(pending.map(delivery => [delivery.id, delivery]))
  const found = await events.listByIds(
    deps.db,
    workspaceId,
    pending.map(({ eventId }) => eventId),
  )
  const eventsById = new Map(found.map(event => [event.id, event]))

  return claims.flatMap((claim): Planned[] => {
    const delivery = pendingById.get(claim.job.data.deliveryId)
    // Ended, held or scheduled anew since: this job has nothing left to do.
    if (delivery?.scheduleNumber !== claim.job.data.scheduleNumber) return []
    return [planAttempt(claim, delivery, eventsById.get(delivery.eventId), index)]
  })
}

function planAttempt(
  claim: Claim,
  delivery: PendingDelivery,
  event: StoredEvent | undefined,
  index: TargetIndex | undefined,
): Planned {
  const isNew = false
  const target = index?.get(delivery.subscriptionId)
  if (target === undefined) return { claim, isNew, state: cancelled(delivery, subscriptionRemoved) }
  if (event === undefined) return { claim, isNew, state: cancelled(delivery, eventExpired) }
  const heldBy = holderOf(target)
  if (heldBy !== undefined) return { claim, isNew, state: { ...untouched(delivery), heldBy } }
  const renderable = { ...event, createdAt: timeOfId(event.id), bodies: {} }
  return { claim, isNew, delivery, event: renderable, target }
}

function cancelled(delivery: PendingDelivery, statusReason: string): DeliveryState {
  return { ...untouched(delivery), status: 'cancelled', statusReason }
}

export const subscriptionRemoved = 'the subscription was deleted'
const eventExpired = 'the event has expired'
