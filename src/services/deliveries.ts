/** Reading deliveries and their attempts, and what a subscription's log shows of them. */
import type { Deps } from '../deps.ts'
import { renderBody } from '../domain/body.ts'
import type { Attempt, Delivery, DeliveryStatus } from '../domain/delivery.ts'
import { notFound } from '../errors.ts'
import { timeOfId } from '../ids.ts'
import * as attempts from '../store/attempts.ts'
import type { Page, PageQuery } from '../store/db.ts'
import * as deliveries from '../store/deliveries.ts'
import * as events from '../store/events.ts'
import * as flights from '../store/flights.ts'
import * as subscriptions from '../store/webhook-subscriptions.ts'
import { getEvent } from './events.ts'

/** An attempt that has ended, with its body; or one on the wire, of which only the start is known. */
export type ShownAttempt =
  | (Attempt & { requestBody: string | null })
  | { deliveryId: string; number: number; outcome: 'started'; startedAt: Date }

export async function listDeliveries(
  deps: Deps,
  workspaceId: string,
  query: PageQuery & deliveries.DeliverySearch,
): Promise<Page<Delivery>> {
  return deliveries.list(deps.db, workspaceId, query)
}

export async function listDeliveriesOfEvent(
  deps: Deps,
  workspaceId: string,
  eventId: string,
  query: PageQuery,
): Promise<Page<Delivery>> {
  await getEvent(deps, workspaceId, eventId)
  return deliveries.list(deps.db, workspaceId, { ...query, eventId })
}

export async function getDelivery(deps: Deps, workspaceId: string, id: string): Promise<Delivery> {
  const delivery = await deliveries.find(deps.db, workspaceId, id)
  if (delivery === undefined) throw notFound('delivery')
  return delivery
}

/** Every attempt of a delivery in order, the one on the wire last, each with the body that it carried. */
export async function listAttempts(
  deps: Deps,
  workspaceId: string,
  deliveryId: string,
): Promise<ShownAttempt[]> {
  // What is on the wire is read first: an attempt that ends between the two reads then shows as ended.
  const live = await flights.listLiveByDeliveries(deps.db, workspaceId, [deliveryId])
  const delivery = await getDelivery(deps, workspaceId, deliveryId)
  const ended = await attempts.listByDeliveries(deps.db, workspaceId, [deliveryId])
  // A delivery that waits for a time to come is not on the wire: it was given back before its attempt began.
  const isWaiting = delivery.nextAttemptAt !== null && delivery.nextAttemptAt > deps.ids.now()
  const started = isWaiting ? [] : live.filter(entry => ended.every(({ number }) => number !== entry.number))
  const body = await requestBody(deps, delivery)
  return [
    ...ended.map(attempt => ({ ...attempt, requestBody: attempt.request.method === 'GET' ? null : body })),
    ...started.map(({ number, startedAt }) => ({
      deliveryId,
      number,
      outcome: 'started' as const,
      startedAt,
    })),
  ]
}

/** Bodies are not kept per attempt: made again from the event they are the same bytes. Null when it has expired. */
async function requestBody(deps: Deps, delivery: Delivery): Promise<string | null> {
  const event = await events.find(deps.db, delivery.workspaceId, delivery.eventId)
  if (event === undefined) return null
  return renderBody(delivery.format, {
    ...event,
    occurredAt: event.occurredAt ?? timeOfId(event.id),
  }).body.toString()
}

/** The deliveries of a subscription, newest first. */
export async function listLogs(
  deps: Deps,
  workspaceId: string,
  subscriptionId: string,
  query: PageQuery & { executionStatus?: DeliveryStatus },
): Promise<Page<Delivery>> {
  await requireSubscription(deps, workspaceId, subscriptionId)
  const { executionStatus: status, ...page } = query
  return deliveries.list(deps.db, workspaceId, { ...page, subscriptionId, status })
}

/** Every attempt of an event's delivery to a subscription. */
export async function listLogDetails(
  deps: Deps,
  workspaceId: string,
  subscriptionId: string,
  eventId: string,
): Promise<ShownAttempt[]> {
  await requireSubscription(deps, workspaceId, subscriptionId)
  const { results } = await deliveries.list(deps.db, workspaceId, { limit: 1, subscriptionId, eventId })
  const [delivery] = results
  if (delivery === undefined) throw notFound('delivery of this event to this subscription')
  return listAttempts(deps, workspaceId, delivery.id)
}

async function requireSubscription(deps: Deps, workspaceId: string, id: string): Promise<void> {
  if (!(await subscriptions.wasKnown(deps.db, workspaceId, id))) throw notFound('webhook subscription')
}
