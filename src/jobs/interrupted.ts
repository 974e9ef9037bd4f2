/**
 * What a dead worker had on the wire: nobody will ever know its answer, so the attempt ends as `interrupted`, which
 * is not charged to the endpoint, and the delivery goes on with the next one.
 */
import type { Deps } from '../deps.ts'
import { stateAfterAttempt, type DeliveryState, type PendingDelivery } from '../domain/delivery.ts'
import { isInRange, type SubscriptionRange } from '../queue/queue.ts'
import * as attempts from '../store/attempts.ts'
import * as deliveries from '../store/deliveries.ts'
import * as flights from '../store/flights.ts'

type InterruptDeps = Pick<Deps, 'db' | 'ids' | 'queue' | 'random' | 'config'>

/**
 * Ends the first attempts of these events, and schedules the next ones at once. With a range, only those for its
 * subscriptions: the others are in the hands of another job.
 */
export async function interruptFirstAttempts(
  deps: InterruptDeps,
  workspaceId: string,
  eventIds: readonly string[],
  range: SubscriptionRange | undefined,
): Promise<void> {
  await deps.db.transaction(async trx => {
    const live = await flights.listLiveFirstByEvents(trx, workspaceId, eventIds)
    const first = live.filter(entry => isInRange(range, entry.subscriptionId))
    if (first.length === 0) return
    const states = first.map(entry => interruptedState(deps, toDelivery(entry)))
    await deliveries.insertMany(trx, states)
    await attempts.insertMany(
      trx,
      first.map(entry => toInterrupted(deps, entry)),
    )
    await deps.queue.enqueueAttempts(
      trx,
      states.map(({ id, scheduleNumber }) => ({
        workspaceId,
        deliveryId: id,
        scheduleNumber,
        delaySeconds: 0,
      })),
    )
  })
}

/** Ends the later attempts of deliveries whose job is in hand again; the job goes on with the next attempt. */
export async function interruptLaterAttempts(
  deps: InterruptDeps,
  workspaceId: string,
  deliveryIds: readonly string[],
): Promise<void> {
  await deps.db.transaction(async trx => {
    const live = await flights.listLiveByDeliveries(trx, workspaceId, deliveryIds)
    if (live.length === 0) return
    // Also those that were cancelled meanwhile: their request went out all the same.
    const known = await deliveries.listByIds(trx, workspaceId, deliveryIds)
    const byId = new Map(known.map(delivery => [delivery.id, delivery]))
    const onTheWire = live.filter(entry => byId.get(entry.deliveryId)?.attemptsCount === entry.number - 1)
    if (onTheWire.length === 0) return
    await attempts.insertMany(
      trx,
      onTheWire.map(entry => toInterrupted(deps, entry)),
    )
    await deliveries.updateMany(
      trx,
      onTheWire.map(({ deliveryId }) => {
        const delivery = byId.get(deliveryId)!
        // The schedule number stays: it is the one of the job in hand.
        return { ...interruptedState(deps, delivery), scheduleNumber: delivery.scheduleNumber }
      }),
    )
  })
}

function interruptedState(deps: InterruptDeps, delivery: PendingDelivery): DeliveryState {
  const ended = {
    outcome: 'interrupted',
    isLocal: false,
    retryAfterMs: undefined,
    status: undefined,
  } as const
  return stateAfterAttempt(delivery, ended, deps.config.retryPolicy, deps.random)
}

function toDelivery(entry: flights.LiveEntry): PendingDelivery {
  const { deliveryId: id, workspaceId, eventId, subscriptionId, endpointId, service, event, format } = entry
  return {
    id,
    workspaceId,
    eventId,
    subscriptionId,
    endpointId,
    service,
    event,
    format,
    attemptsCount: 0,
    interruptionsCount: 0,
    scheduleNumber: 0,
  }
}

function toInterrupted(deps: InterruptDeps, entry: flights.LiveEntry): attempts.NewAttempt {
  return {
    workspaceId: entry.workspaceId,
    deliveryId: entry.deliveryId,
    number: entry.number,
    outcome: 'interrupted',
    startedAt: entry.startedAt,
    durationMs: Math.max(0, deps.ids.now().getTime() - entry.startedAt.getTime()),
    requestsCount: 1,
    remoteAddress: null,
    error: 'The worker ended while the request may have been on the wire; the receiver may have got it.',
    method: entry.method,
    url: entry.url,
    requestHeaders: '',
    response: null,
  }
}
