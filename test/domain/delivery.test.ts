import { expect } from 'chai'
import { describe, it } from 'mocha'
import {
  scheduled,
  stateAfterAttempt,
  untouched,
  type DeliveryState,
  type PendingDelivery,
} from '#src/domain/delivery.ts'
import { outcomes, type Outcome } from '#src/domain/outcome.ts'
import type { RetryPolicy } from '#src/domain/retry.ts'

const fresh: PendingDelivery = {
  id: 'delivery',
  workspaceId: 'workspace',
  eventId: 'event',
  subscriptionId: 'subscription',
  endpointId: 'endpoint',
  service: 'channels',
  event: 'sms.outbound',
  format: 'bird',
  attemptsCount: 0,
  interruptionsCount: 0,
  scheduleNumber: 0,
}

/** Without jitter. */
const middle = () => 0.5
const policy: RetryPolicy = { delays: [0, 10, 100] }

type Ended = { outcome: Outcome; status?: number; isLocal?: boolean; retryAfterMs?: number }

function after(delivery: PendingDelivery, ended: Ended, by: RetryPolicy = policy): DeliveryState {
  const { outcome, status, isLocal = false, retryAfterMs } = ended
  return stateAfterAttempt(delivery, { outcome, status, isLocal, retryAfterMs }, by, middle)
}

describe('a delivery after an attempt', () => {
  const cases: {
    name: string
    delivery?: Partial<PendingDelivery>
    ended: Ended
    expected: Partial<DeliveryState>
  }[] = [
    {
      name: 'is delivered by a success',
      ended: { outcome: 'delivered', status: 202 },
      expected: {
        status: 'delivered',
        attemptsCount: 1,
        lastOutcome: 'delivered',
        lastResponseStatus: 202,
        nextAttemptInSeconds: null,
        scheduleNumber: 0,
      },
    },
    {
      name: 'has failed when the endpoint is gone, whatever attempts are left',
      ended: { outcome: 'gone', status: 410 },
      expected: {
        status: 'failed',
        statusReason: 'the endpoint answered 410 Gone',
        nextAttemptInSeconds: null,
        scheduleNumber: 0,
      },
    },
    {
      name: 'is scheduled anew by a failure',
      ended: { outcome: 'http_error', status: 500 },
      expected: {
        status: 'pending',
        attemptsCount: 1,
        interruptionsCount: 0,
        nextAttemptInSeconds: 10,
        scheduleNumber: 1,
        lastResponseStatus: 500,
      },
    },
    {
      name: 'is scheduled by the number of its attempt',
      delivery: { attemptsCount: 1, scheduleNumber: 1 },
      ended: { outcome: 'connection_refused' },
      expected: { attemptsCount: 2, nextAttemptInSeconds: 100, scheduleNumber: 2, lastResponseStatus: null },
    },
    {
      name: 'has failed when its attempts are used up',
      delivery: { attemptsCount: 2, scheduleNumber: 2 },
      ended: { outcome: 'http_error', status: 500 },
      expected: {
        status: 'failed',
        statusReason: 'all 3 attempts failed',
        attemptsCount: 3,
        nextAttemptInSeconds: null,
        scheduleNumber: 2,
      },
    },
    {
      name: 'waits as long as the receiver asks',
      ended: { outcome: 'throttled', status: 503, retryAfterMs: 40_000 },
      expected: { status: 'pending', nextAttemptInSeconds: 44 },
    },
    {
      name: 'goes on at once when its worker ended, and is not charged',
      delivery: { attemptsCount: 2, scheduleNumber: 2 },
      ended: { outcome: 'interrupted' },
      expected: {
        status: 'pending',
        attemptsCount: 3,
        interruptionsCount: 1,
        nextAttemptInSeconds: 0,
        scheduleNumber: 3,
        lastOutcome: 'interrupted',
      },
    },
    {
      name: 'has its last attempt still before it after interruptions',
      delivery: { attemptsCount: 4, interruptionsCount: 3, scheduleNumber: 4 },
      ended: { outcome: 'http_error', status: 500 },
      expected: { status: 'pending', attemptsCount: 5, interruptionsCount: 3, nextAttemptInSeconds: 100 },
    },
    {
      name: 'pauses for a fault of our own, and is not charged',
      delivery: { attemptsCount: 2 },
      ended: { outcome: 'network_error', isLocal: true },
      expected: { status: 'pending', attemptsCount: 3, interruptionsCount: 1, nextAttemptInSeconds: 5 },
    },
  ]
  for (const { name, delivery, ended, expected } of cases) {
    it(name, () => expect(after({ ...fresh, ...delivery }, ended)).to.deep.include(expected))
  }

  it('keeps what it is, and is held by nothing', () => {
    const { attemptsCount, interruptionsCount, scheduleNumber, ...identity } = fresh

    expect([attemptsCount, interruptionsCount, scheduleNumber]).to.deep.equal([0, 0, 0])
    expect(after(fresh, { outcome: 'timeout' })).to.deep.include({ ...identity, heldBy: null })
  })

  it('has an end or a next attempt after every outcome, and one more attempt', () => {
    for (const outcome of outcomes.filter(outcome => outcome !== 'started')) {
      for (const attemptsCount of [0, 1, 2]) {
        const state = after({ ...fresh, attemptsCount }, { outcome })
        expect(state.attemptsCount, outcome).to.equal(attemptsCount + 1)
        const isScheduled = state.nextAttemptInSeconds !== null && state.scheduleNumber === 1
        expect(isScheduled, outcome).to.equal(state.status === 'pending')
        expect(state.statusReason !== null, outcome).to.equal(state.status === 'failed')
      }
    }
  })

  it('has failed after its only attempt where its policy has none more', () => {
    expect(after(fresh, { outcome: 'timeout' }, 'none')).to.include({
      status: 'failed',
      statusReason: 'its only attempt failed',
    })
  })
})

describe('a delivery that nothing was done for', () => {
  it('is pending, as it was', () => {
    expect(untouched({ ...fresh, attemptsCount: 2 })).to.deep.equal({
      ...fresh,
      attemptsCount: 2,
      status: 'pending',
      heldBy: null,
      statusReason: null,
      nextAttemptInSeconds: null,
      lastOutcome: null,
      lastResponseStatus: null,
    })
  })

  it('has a schedule number of its own each time it is scheduled, and no attempt more', () => {
    const once = scheduled(untouched(fresh), 3)
    const twice = scheduled(once, 4)

    expect(once).to.include({ scheduleNumber: 1, nextAttemptInSeconds: 3, attemptsCount: 0 })
    expect(twice).to.include({ scheduleNumber: 2, nextAttemptInSeconds: 4, attemptsCount: 0 })
  })
})
