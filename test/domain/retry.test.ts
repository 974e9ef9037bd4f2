import { expect } from 'chai'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { outcomes } from '#src/domain/outcome.ts'
import {
  attemptsMax,
  nextAttemptDelayMs,
  retryDelaysMs,
  retryPolicyFaults,
  type EndedAttempt,
  type RetryPolicy,
} from '#src/domain/retry.ts'

const seconds = 1_000
const minutes = 60 * seconds
const hours = 60 * minutes

const lowest = () => 0
const middle = () => 0.5
const highest = () => 1 - Number.EPSILON
const failed = (attemptNumber: number): EndedAttempt => ({ attemptNumber, outcome: 'http_error' })

describe('retry schedules', () => {
  const schedules: [policy: RetryPolicy, delaysMs: number[]][] = [
    [
      'standard',
      [
        0,
        5 * seconds,
        5 * minutes,
        30 * minutes,
        2 * hours,
        5 * hours,
        10 * hours,
        14 * hours,
        20 * hours,
        24 * hours,
      ],
    ],
    [
      'bird',
      [
        0,
        10 * seconds,
        1 * minutes,
        5 * minutes,
        15 * minutes,
        30 * minutes,
        1 * hours,
        2 * hours,
        4 * hours,
      ],
    ],
    ['none', [0]],
    [{ delays: [0, 5, 300] }, [0, 5 * seconds, 5 * minutes]],
    [{ delays: [30] }, [30 * seconds]],
  ]
  for (const [policy, delaysMs] of schedules) {
    it(`are followed from the first attempt to the last: ${JSON.stringify(policy)}`, () => {
      expect(retryDelaysMs(policy)).to.deep.equal(delaysMs)
      expect(attemptsMax(policy)).to.equal(delaysMs.length)
      const waits = delaysMs.map((_, index) => nextAttemptDelayMs(policy, failed(index + 1), middle))
      expect(waits).to.deep.equal([...delaysMs.slice(1), undefined])
    })
  }

  it('are an attempt at once and one in each of 24 hours for hourly', () => {
    expect(attemptsMax('hourly')).to.equal(25)
    expect(retryDelaysMs('hourly')[0]).to.equal(0)
    expect(new Set(retryDelaysMs('hourly').slice(1))).to.deep.equal(new Set([1 * hours]))
  })

  it('span 75 hours 35 minutes 5 seconds for standard, and at most 8 hours for bird', () => {
    const spanMs = (policy: RetryPolicy) => retryDelaysMs(policy).reduce((sum, delayMs) => sum + delayMs)
    expect(spanMs('standard')).to.equal(75 * hours + 35 * minutes + 5 * seconds)
    expect(spanMs('bird')).to.be.within(7 * hours, 8 * hours)
  })
})

describe('the next attempt', () => {
  const standard: [why: string, ended: EndedAttempt, random: () => number, delayMs: number | undefined][] = [
    ['comes up to 20 % sooner than planned', failed(2), lowest, 4 * minutes],
    ['comes up to 20 % later than planned', failed(2), highest, 6 * minutes],
    ['may come later than a day by jitter alone', failed(9), highest, 28.8 * hours],
    ['does not come after the last', failed(10), middle, undefined],
    ['does not come beyond the last either', failed(11), middle, undefined],
    ['does not come after a 410', { attemptNumber: 1, outcome: 'gone' }, middle, undefined],
    ['does not come after success', { attemptNumber: 1, outcome: 'delivered' }, middle, undefined],

    ['waits 60 s after a timeout', { attemptNumber: 1, outcome: 'timeout' }, lowest, 60 * seconds],
    ['waits 72 s after a timeout at most', { attemptNumber: 1, outcome: 'timeout' }, highest, 72 * seconds],
    ['waits 60 s after a 429', { attemptNumber: 1, outcome: 'throttled', status: 429 }, lowest, 60 * seconds],
    [
      'takes throttled without a status for a 429',
      { attemptNumber: 1, outcome: 'throttled' },
      lowest,
      60 * seconds,
    ],
    [
      'waits 60 s after a 429 that asks for less',
      { attemptNumber: 1, outcome: 'throttled', status: 429, retryAfterMs: 1 * seconds },
      lowest,
      60 * seconds,
    ],
    [
      'waits what a 503 asks for, even less than 60 s',
      { attemptNumber: 1, outcome: 'throttled', status: 503, retryAfterMs: 20 * seconds },
      lowest,
      20 * seconds,
    ],
    [
      'adds to what a receiver asks for',
      { attemptNumber: 1, outcome: 'throttled', status: 503, retryAfterMs: 100 * seconds },
      highest,
      120 * seconds,
    ],
    [
      'waits as planned where a receiver asks for less',
      { attemptNumber: 4, outcome: 'throttled', status: 429, retryAfterMs: 60 * seconds },
      middle,
      2 * hours,
    ],
    [
      'waits a day where a receiver asks for more',
      { attemptNumber: 1, outcome: 'throttled', status: 429, retryAfterMs: Number.MAX_SAFE_INTEGER },
      lowest,
      24 * hours,
    ],
    [
      'adds jitter to the day too',
      { attemptNumber: 1, outcome: 'throttled', status: 429, retryAfterMs: 25 * hours },
      middle,
      26.4 * hours,
    ],
    [
      'is not held up by a Retry-After of a date that has passed',
      { attemptNumber: 1, outcome: 'throttled', status: 503, retryAfterMs: 0 },
      middle,
      5 * seconds,
    ],
  ]
  for (const [why, ended, random, delayMs] of standard) {
    it(why, () => {
      expect(nextAttemptDelayMs('standard', ended, random)).to.equal(delayMs)
    })
  }

  it('comes at once where the list says 0, but not for a receiver that is overloaded', () => {
    const policy = { delays: [0, 0] }
    expect(nextAttemptDelayMs(policy, failed(1), highest)).to.equal(0)
    expect(nextAttemptDelayMs(policy, { attemptNumber: 1, outcome: 'timeout' }, lowest)).to.equal(
      60 * seconds,
    )
  })

  it('is asked for with attempts counted from 1', () => {
    expect(() => nextAttemptDelayMs('standard', failed(0), middle)).to.throw('counted from 1')
    expect(() => nextAttemptDelayMs('standard', failed(1.5), middle)).to.throw('counted from 1')
  })

  it('is never sooner than the receiver asked, nor than 80 % of the plan, nor later than 120 % of the later of the two', () => {
    const policies = fc.oneof(
      fc.constantFrom('standard' as const, 'bird' as const, 'hourly' as const, 'none' as const),
      fc.record({ delays: fc.array(fc.integer({ min: 0, max: 86_400 }), { minLength: 1, maxLength: 50 }) }),
    )
    const endedAttempts = fc.record({
      attemptNumber: fc.integer({ min: 1, max: 51 }),
      outcome: fc.constantFrom(...outcomes.filter(outcome => outcome !== 'delivered' && outcome !== 'gone')),
      retryAfterMs: fc.option(fc.nat(48 * hours), { nil: undefined }),
    })
    const randoms = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

    fc.assert(
      fc.property(policies, endedAttempts, randoms, (policy, ended, random) => {
        const delayMs = nextAttemptDelayMs(policy, ended, () => random)
        if (ended.attemptNumber >= attemptsMax(policy)) {
          expect(delayMs).to.equal(undefined)
          return
        }
        const plannedMs = retryDelaysMs(policy)[ended.attemptNumber]!
        const isSlowed = ended.outcome === 'timeout' || ended.outcome === 'throttled'
        const askedMs = Math.min(24 * hours, Math.max(ended.retryAfterMs ?? 0, isSlowed ? 1 * minutes : 0))
        expect(delayMs).to.be.at.least(askedMs)
        expect(delayMs).to.be.at.least(Math.floor(0.8 * plannedMs))
        expect(delayMs).to.be.at.most(Math.ceil(1.2 * Math.max(plannedMs, askedMs)))
      }),
    )
  })
})

describe('the rule of a retry policy that a caller gives', () => {
  const good: unknown[] = [
    'standard',
    'bird',
    'hourly',
    'none',
    { delays: [0] },
    { delays: [86_400] },
    { delays: Array(50).fill(0) },
  ]
  for (const policy of good) {
    it(`takes ${JSON.stringify(policy)}`, () => {
      expect(retryPolicyFaults(policy, '/retryPolicy')).to.deep.equal([])
    })
  }

  const bad: [policy: unknown, pointer: string, advice: string][] = [
    ['Standard', '/retryPolicy', 'Use one of "standard", "bird", "hourly", "none", or {"delays"'],
    ['toString', '/retryPolicy', 'Use one of'],
    [null, '/retryPolicy', 'Use one of'],
    [[0, 5], '/retryPolicy', 'Use one of'],
    [{}, '/retryPolicy', 'Use one of'],
    [{ delays: 'none' }, '/retryPolicy', 'Use one of'],
    [{ delays: [0], jitter: 0 }, '/retryPolicy', 'Use one of'],
    [{ delays: [] }, '/retryPolicy/delays', 'Give 1 to 50 delays.'],
    [{ delays: Array(51).fill(0) }, '/retryPolicy/delays', 'Give 1 to 50 delays.'],
    [{ delays: [0, 86_401] }, '/retryPolicy/delays/1', 'Use whole seconds, 0 to 86400.'],
    [{ delays: [-1] }, '/retryPolicy/delays/0', 'Use whole seconds'],
    [{ delays: [0, 1.5] }, '/retryPolicy/delays/1', 'Use whole seconds'],
    [{ delays: [0, '5'] }, '/retryPolicy/delays/1', 'Use whole seconds'],
    [{ delays: [null] }, '/retryPolicy/delays/0', 'Use whole seconds'],
  ]
  for (const [policy, pointer, advice] of bad) {
    it(`refuses ${JSON.stringify(policy)}, and says what to do`, () => {
      const faults = retryPolicyFaults(policy, '/retryPolicy')
      expect(faults.map(fault => fault.pointer)).to.deep.equal([pointer])
      expect(faults[0]?.detail).to.contain(advice)
    })
  }

  it('points at every delay that is wrong', () => {
    const faults = retryPolicyFaults({ delays: [0, -5, 10, 1e9] }, '/retryPolicy')
    expect(faults.map(fault => fault.pointer)).to.deep.equal([
      '/retryPolicy/delays/1',
      '/retryPolicy/delays/3',
    ])
  })
})
