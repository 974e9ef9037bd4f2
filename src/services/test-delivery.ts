/** Sending a sample event to one subscription, to see that its receiver works. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Deps } from '../deps.ts'
import type { Delivery } from '../domain/delivery.ts'
import { AppError } from '../errors.ts'
import { deliveryIdOf } from '../ids.ts'
import * as deliveries from '../store/deliveries.ts'
import * as events from '../store/events.ts'
import { listAttempts, type ShownAttempt } from './deliveries.ts'
import { getSubscription } from './webhook-subscriptions.ts'

/** How often the outcome is looked for while the caller waits. */
const lookIntervalMs = 50

/** On top of the attempt's own deadline: for the way through the queue and the settling. */
const graceMs = 2_000

export type TestDelivery = {
  eventId: string
  delivery: Delivery | undefined
  /** Undefined: it had not ended when the deadline came. */
  attempt: ShownAttempt | undefined
}

/**
 * Publishes the sample of the subscription's event type to this subscription alone, whatever its filters say, and
 * waits for the first attempt to end, at most for its deadline.
 */
export async function sendTestDelivery(
  deps: Deps,
  workspaceId: string,
  subscriptionId: string,
): Promise<TestDelivery> {
  const subscription = await getSubscription(deps, workspaceId, subscriptionId)
  const { endpoint } = subscription
  if (subscription.status !== 'active' || endpoint.status !== 'active') {
    throw new AppError('conflict', 'The subscription is not active; set its status to active to send a test.')
  }
  const eventType = deps.catalogue.find(subscription.service, subscription.event)
  const event = {
    id: deps.ids.next(),
    workspaceId,
    service: subscription.service,
    event: subscription.event,
    payload: Buffer.from(JSON.stringify(eventType?.sample ?? {})),
  }
  await deps.db.transaction(async trx => {
    await events.insertMany(trx, [event])
    await deps.queue.enqueueMatches(trx, [{ workspaceId, eventIds: [event.id], subscriptionId }])
  })
  deps.wake.notify()

  const deliveryId = deliveryIdOf(event.id, subscriptionId)
  const deadlineMs = performance.now() + (endpoint.timeoutMs ?? deps.config.deliveryTimeoutMs) + graceMs
  while (performance.now() < deadlineMs) {
    const delivery = await deliveries.find(deps.db, workspaceId, deliveryId)
    if (delivery !== undefined && delivery.attemptsCount > 0) {
      const [attempt] = await listAttempts(deps, workspaceId, deliveryId)
      return { eventId: event.id, delivery, attempt }
    }
    await pause(lookIntervalMs)
  }
  return {
    eventId: event.id,
    delivery: await deliveries.find(deps.db, workspaceId, deliveryId),
    attempt: undefined,
  }
}
