/**
 * A delivery: one event for one subscription. An attempt: one try of it on the wire.
 */
import type { BodyFormat } from './body.ts'
import type { Judgement, Outcome } from './outcome.ts'
import { nextAttemptDelayMs, type RetryPolicy } from './retry.ts'

export const deliveryStatuses = ['pending', 'delivered', 'failed', 'cancelled', 'parked'] as const
export type DeliveryStatus = (typeof deliveryStatuses)[number]

/** What keeps a pending delivery from being attempted. */
type HeldBy = 'paused' | 'endpoint' | 'ordering' | 'limit'

export type Delivery = {
  id: string
  workspaceId: string
  eventId: string
  subscriptionId: string
  endpointId: string
  service: string
  event: string
  /** Copied from the subscription at match, so that every attempt sends the same bytes. */
  format: BodyFormat
  status: DeliveryStatus
  heldBy: HeldBy | null
  statusReason: string | null
  /** Attempts that have ended. */
  attemptsCount: number
  nextAttemptAt: Date | null
  lastOutcome: Outcome | null
  lastResponseStatus: number | null
  updatedAt: Date
}

/** A pending delivery as the worker needs it: how far it is, and which job is its live one. */
export type PendingDelivery = Pick<
  Delivery,
  | 'id'
  | 'workspaceId'
  | 'eventId'
  | 'subscriptionId'
  | 'endpointId'
  | 'service'
  | 'event'
  | 'format'
  | 'attemptsCount'
> & {
  /** Attempts that a dying or leaving worker cut short; they do not count against the retry policy. */
  interruptionsCount: number
  /** Rises with every job written for the delivery; a job of an older number is stale. */
  scheduleNumber: number
}

export type Attempt = {
  workspaceId: string
  deliveryId: string
  /** Counted from 1. */
  number: number
  outcome: Outcome
  startedAt: Date
  durationMs: number
  requestsCount: number
  remoteAddress: string | null
  error: string | null
  request: { method: string; url: string; headers: [string, string][] }
  response: { status: number; headers: [string, string][]; body: Buffer; isTruncated: boolean } | null
}

/** Where a delivery stands after an attempt, or after it was held back or given up. */
export type DeliveryState = PendingDelivery & {
  status: DeliveryStatus
  heldBy: HeldBy | null
  statusReason: string | null
  /** Seconds from now; null when nothing is scheduled. */
  nextAttemptInSeconds: number | null
  lastOutcome: Outcome | null
  lastResponseStatus: number | null
}

/** Pause before an attempt that failed for want of something of our own, such as file descriptors. */
const localFaultPauseSeconds = 5

/**
 * Where a delivery stands after an attempt has ended. What a worker cut short, or could not do for a reason of
 * its own, is not charged: it does not count against the retry policy.
 */
export function stateAfterAttempt(
  delivery: PendingDelivery,
  ended: Judgement & { status: number | undefined },
  policy: RetryPolicy,
  random: () => number,
): DeliveryState {
  const isCharged = ended.outcome !== 'interrupted' && !ended.isLocal
  const next: DeliveryState = {
    ...delivery,
    attemptsCount: delivery.attemptsCount + 1,
    interruptionsCount: delivery.interruptionsCount + (isCharged ? 0 : 1),
    status: 'pending',
    heldBy: null,
    statusReason: null,
    nextAttemptInSeconds: null,
    lastOutcome: ended.outcome,
    lastResponseStatus: ended.status ?? null,
  }
  if (ended.outcome === 'delivered') return { ...next, status: 'delivered' }
  if (ended.outcome === 'gone')
    return { ...next, status: 'failed', statusReason: 'the endpoint answered 410 Gone' }
  if (!isCharged) return scheduled(next, ended.isLocal ? localFaultPauseSeconds : 0)

  const attemptNumber = next.attemptsCount - next.interruptionsCount
  const delayMs = nextAttemptDelayMs(
    policy,
    { attemptNumber, outcome: ended.outcome, status: ended.status, retryAfterMs: ended.retryAfterMs },
    random,
  )
  if (delayMs === undefined) return { ...next, status: 'failed', statusReason: usedUp(attemptNumber) }
  return scheduled(next, delayMs / 1_000)
}

function usedUp(attempts: number): string {
  return attempts === 1 ? 'its only attempt failed' : `all ${attempts} attempts failed`
}

/** The delivery waits for its next attempt, under a schedule number of its own. */
export function scheduled<State extends DeliveryState>(state: State, inSeconds: number): State {
  return { ...state, scheduleNumber: state.scheduleNumber + 1, nextAttemptInSeconds: inSeconds }
}

/** A delivery that nothing has been done for yet. */
export function untouched(delivery: PendingDelivery): DeliveryState {
  return {
    ...delivery,
    status: 'pending',
    heldBy: null,
    statusReason: null,
    nextAttemptInSeconds: null,
    lastOutcome: null,
    lastResponseStatus: null,
  }
}
