import { expect } from 'chai'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { judge, outcomes, parseRetryAfter, stripNul } from '#src/domain/outcome.ts'
import type { FaultCode, SendFault, SendResponse } from '#src/domain/outcome.ts'

const now = new Date('2026-11-20T22:00:00.000Z')

const answered = (status: number, headers: [string, string][] = []): SendResponse => ({
  kind: 'response',
  status,
  headers,
  body: Buffer.alloc(0),
  isTruncated: false,
  remoteAddress: '192.0.2.1',
  requestsCount: 1,
  durationMs: 12,
})

const failed = (fault: FaultCode, isLocal = false): SendFault => ({
  kind: 'fault',
  fault,
  detail: 'Something went wrong.',
  requestsCount: 1,
  durationMs: 12,
  isLocal,
})

describe('the outcome of a response', () => {
  const cases = [
    { status: 200, outcome: 'delivered' },
    { status: 204, outcome: 'delivered' },
    { status: 299, outcome: 'delivered' },
    { status: 300, outcome: 'redirect_refused' },
    { status: 302, outcome: 'redirect_refused' },
    { status: 304, outcome: 'redirect_refused' },
    { status: 399, outcome: 'redirect_refused' },
    { status: 400, outcome: 'http_error' },
    { status: 404, outcome: 'http_error' },
    { status: 410, outcome: 'gone' },
    { status: 429, outcome: 'throttled' },
    { status: 500, outcome: 'http_error' },
    { status: 503, outcome: 'http_error' },
    { status: 599, outcome: 'http_error' },
    { status: 999, outcome: 'http_error' },
  ]
  for (const { status, outcome } of cases) {
    it(`is ${outcome} for ${status}`, () => {
      expect(judge(answered(status), '2xx', now)).to.deep.equal({
        outcome,
        retryAfterMs: undefined,
        isLocal: false,
      })
    })
  }

  for (const status of [429, 503]) {
    it(`is throttled for ${status} with Retry-After`, () => {
      expect(judge(answered(status, [['retry-after', '120']]), '2xx', now)).to.deep.equal({
        outcome: 'throttled',
        retryAfterMs: 120_000,
        isLocal: false,
      })
    })
  }

  it('does not take a Retry-After that cannot be read for one', () => {
    const headers: [string, string][] = [['retry-after', 'later']]
    expect(judge(answered(503, headers), '2xx', now).outcome).to.equal('http_error')
    expect(judge(answered(429, headers), '2xx', now)).to.deep.equal({
      outcome: 'throttled',
      retryAfterMs: undefined,
      isLocal: false,
    })
  })

  it('ignores Retry-After beside other statuses', () => {
    expect(judge(answered(500, [['retry-after', '120']]), '2xx', now).retryAfterMs).to.equal(undefined)
  })

  it('goes by the listed statuses, and by no other, when there is a list', () => {
    const outcomeOf = (status: number) => judge(answered(status), [202, 302, 410], now).outcome
    expect([202, 302, 410, 200, 301].map(outcomeOf)).to.deep.equal([
      'delivered',
      'delivered',
      'delivered',
      'http_error',
      'redirect_refused',
    ])
  })

  it('does not depend on the body having come whole', () => {
    expect(judge({ ...answered(200), isTruncated: true }, '2xx', now).outcome).to.equal('delivered')
  })
})

describe('the outcome of a fault', () => {
  const faults: FaultCode[] = [
    'timeout',
    'connection_refused',
    'connection_reset',
    'dns_error',
    'tls_error',
    'protocol_error',
    'blocked_destination',
    'network_error',
  ]
  for (const fault of faults) {
    it(`is ${fault} by its own name`, () => {
      expect(judge(failed(fault), '2xx', now)).to.deep.equal({
        outcome: fault,
        retryAfterMs: undefined,
        isLocal: false,
      })
      expect(outcomes).to.include(fault)
    })
  }

  it('is interrupted for a request that was ended from here', () => {
    expect(judge(failed('aborted'), '2xx', now).outcome).to.equal('interrupted')
  })

  it('says when the fault is ours', () => {
    expect(judge(failed('network_error', true), '2xx', now).isLocal).to.equal(true)
  })
})

describe('Retry-After', () => {
  const cases = [
    { value: '0', ms: 0 },
    { value: '120', ms: 120_000 },
    { value: ' 7 ', ms: 7_000 },
    { value: '1.2', ms: 2_000 },
    { value: '0.001', ms: 1_000 },
    { value: '9'.repeat(400), ms: Number.MAX_SAFE_INTEGER },
    { value: 'Fri, 20 Nov 2026 22:01:00 GMT', ms: 60_000 },
    { value: 'Friday, 20-Nov-26 22:01:00 GMT', ms: 60_000 },
    { value: 'Fri Nov 20 22:01:00 2026', ms: 60_000 },
    { value: 'Sun Dec  6 22:00:00 2026', ms: 16 * 86_400_000 },
    { value: 'Fri, 20 Nov 2026 21:59:59 GMT', ms: 0 },
    { value: 'Sun, 06 Nov 1994 08:49:37 GMT', ms: 0 },
  ]
  for (const { value, ms } of cases) {
    it(`reads "${value.slice(0, 40)}" as ${ms} ms`, () => {
      expect(parseRetryAfter(value, now)).to.equal(ms)
    })
  }

  const garbage = [
    '',
    '-1',
    '+5',
    '1e3',
    '0x10',
    '5s',
    '5, 6',
    '.5',
    '5.',
    'NaN',
    'Infinity',
    'later',
    '2026-11-20T22:01:00Z',
    'Nov 20 2026',
    'Fri, 20 Nov 2026 22:01:00',
    'Fri, 20 Nov 2026 22:01:00 CET',
    'Fri, 99 Nov 2026 99:99:99 GMT',
  ]
  for (const value of garbage) {
    it(`does not read "${value}"`, () => {
      expect(parseRetryAfter(value, now)).to.equal(undefined)
    })
  }

  it('reads every date as it is written in HTTP, to the second', () => {
    const seconds = fc.integer({ min: -86_400 * 365, max: 86_400 * 365 })
    fc.assert(
      fc.property(seconds, offset => {
        const date = new Date(now.getTime() + offset * 1_000)
        expect(parseRetryAfter(date.toUTCString(), now)).to.equal(Math.max(0, offset * 1_000))
      }),
    )
  })
})

describe('text from a remote', () => {
  it('loses every NUL and nothing else', () => {
    expect(stripNul('\0a\0\0b\n\0')).to.equal('ab\n')
    expect(stripNul('plain')).to.equal('plain')
  })
})
