/**
 * When a delivery is tried again. The schedule is the endpoint's, the jitter keeps deliveries that failed together from
 * coming back together, and what the receiver asks for is a lower bound that we never go below.
 */
import assert from 'node:assert/strict'
import type { Fault } from '../errors.ts'
import type { Outcome } from './outcome.ts'

export const retryPolicyNames = ['standard', 'bird', 'hourly', 'none'] as const

/** A schedule by name, or the seconds before each attempt; the first is usually 0. */
export type RetryPolicy = (typeof retryPolicyNames)[number] | { delays: number[] }

/** The largest list of delays that is taken. More attempts than this help no receiver, and each is a row. */
export const retryDelaysMax = 50

/** The longest wait before jitter, planned or asked for by a receiver: a day. */
export const retryDelaySecondsMax = 86_400

/** The attempt that just ended. */
export type EndedAttempt = {
  /** Counted from 1 since the schedule began; a delivery that is sent again by a person begins it anew. */
  attemptNumber: number
  outcome: Outcome
  /** Of the response, where one came. Tells a 503 that names its wait from a 429; without it, `throttled` is a 429. */
  status?: number | undefined
  /** From `Retry-After`. */
  retryAfterMs?: number | undefined
}

/** What is wrong with a retry policy that a caller gave, at `pointer`; empty when it is a `RetryPolicy`. */
export function retryPolicyFaults(value: unknown, pointer: string): Fault[] {
  if (retryPolicyNames.some(name => name === value)) return []
  if (!isListPolicy(value)) {
    const names = retryPolicyNames.map(name => `"${name}"`).join(', ')
    return [
      {
        pointer,
        detail: `Use one of ${names}, or {"delays": [0, 5, 300]}: the seconds before each attempt.`,
      },
    ]
  }

  const { delays } = value
  if (delays.length < 1 || delays.length > retryDelaysMax) {
    return [{ pointer: `${pointer}/delays`, detail: `Give 1 to ${retryDelaysMax} delays.` }]
  }
  return delays.flatMap((delay, index) =>
    isDelaySeconds(delay)
      ? []
      : [
          {
            pointer: `${pointer}/delays/${index}`,
            detail: `Use whole seconds, 0 to ${retryDelaySecondsMax}.`,
          },
        ],
  )
}

/** The planned wait before each attempt, in milliseconds, without jitter. */
export function retryDelaysMs(policy: RetryPolicy): readonly number[] {
  return typeof policy === 'string' ? namedDelaysMs[policy] : toMs(policy.delays)
}

/** How many attempts a delivery gets before it has failed. */
export function attemptsMax(policy: RetryPolicy): number {
  return typeof policy === 'string' ? namedDelaysMs[policy].length : policy.delays.length
}

/**
 * How long to wait before the next attempt, in whole milliseconds; `undefined` when there is none, because the schedule
 * is used up or the outcome ends the delivery (`delivered`, `gone`).
 *
 * A planned wait varies by ±20 %. `Retry-After`, and 60 s after a timeout or a 429, are lower bounds, to which 0 to 20 %
 * is added. Both are capped at a day before that. `random` gives a number from 0 to below 1, and is asked once.
 */
export function nextAttemptDelayMs(
  policy: RetryPolicy,
  ended: EndedAttempt,
  random: () => number,
): number | undefined {
  assert(Number.isInteger(ended.attemptNumber) && ended.attemptNumber >= 1, 'attempts are counted from 1')
  if (ended.outcome === 'delivered' || ended.outcome === 'gone') return undefined

  const plannedMs = retryDelaysMs(policy)[ended.attemptNumber]
  if (plannedMs === undefined) return undefined

  const jitter = random()
  const oursMs = plannedMs * (1 + jitterRatio * (2 * jitter - 1))
  // Jitter only adds: a receiver that asked for 60 s must not hear from us sooner.
  const theirsMs = lowerBoundMs(ended) * (1 + jitterRatio * jitter)
  return Math.round(Math.max(oursMs, theirsMs))
}

const jitterRatio = 0.2

/** After a timeout or a 429 the receiver is likely short of capacity: more calls soon would keep it so. */
const overloadDelayMs = 60_000

/** Reasons of the named schedules: `standard` is the example of Standard Webhooks 1.0.0, `bird` spans its 8 hours. */
const namedDelaysMs: Record<(typeof retryPolicyNames)[number], readonly number[]> = {
  standard: toMs([0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]),
  bird: toMs([0, 10, 60, 300, 900, 1_800, 3_600, 7_200, 14_400]),
  hourly: toMs([0, ...Array<number>(24).fill(3_600)]),
  none: [0],
}

function lowerBoundMs({ outcome, status, retryAfterMs = 0 }: EndedAttempt): number {
  assert(retryAfterMs >= 0, 'a receiver cannot ask for a time that has passed')
  const isOverload = outcome === 'timeout' || (outcome === 'throttled' && status !== 503)
  return Math.min(Math.max(retryAfterMs, isOverload ? overloadDelayMs : 0), retryDelaySecondsMax * 1_000)
}

function isListPolicy(value: unknown): value is { delays: unknown[] } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'delays' in value &&
    Array.isArray(value.delays) &&
    Object.keys(value).length === 1
  )
}

function isDelaySeconds(value: unknown): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= retryDelaySecondsMax
}

function toMs(delaysSeconds: readonly number[]): readonly number[] {
  return delaysSeconds.map(seconds => seconds * 1_000)
}
