import { expect } from 'chai'
import { describe, it } from 'mocha'
import type { Dispatcher } from 'undici'
import type { SendResult } from '#src/domain/outcome.ts'
import { Exchange } from '#src/sending/exchange.ts'

const controller: Dispatcher.DispatchController = {
  aborted: false,
  paused: false,
  reason: null,
  abort: () => {},
  pause: () => {},
  resume: () => {},
}

function startExchange({ deadlineMs }: { deadlineMs: number }) {
  const results: SendResult[] = []
  const startedAtMs = performance.now()
  const exchange = new Exchange({
    startedAtMs,
    deadlineMs,
    responseBytesMax: 16,
    resend: () => {},
    settle: result => results.push(result),
  })
  exchange.line = { socket: undefined, remoteAddress: '192.0.2.1', isUsed: false }
  exchange.onRequestStart(controller)
  return { exchange, results, startedAtMs }
}

describe('an exchange', () => {
  it('ends at its deadline while there is no status', () => {
    const { exchange, startedAtMs } = startExchange({ deadlineMs: 60_000 })
    exchange.onResponseStart(controller, 103, {})
    expect(exchange.expiresAtMs).to.equal(startedAtMs + 60_000)
  })

  it('gives a body 2 seconds from the status on', () => {
    const { exchange } = startExchange({ deadlineMs: 60_000 })
    const statusAtMs = performance.now()
    exchange.onResponseStart(controller, 200, {})
    expect(exchange.expiresAtMs).to.be.within(statusAtMs + 2_000, performance.now() + 2_000)
  })

  it('gives a body less where the deadline is nearer', () => {
    const { exchange, startedAtMs } = startExchange({ deadlineMs: 500 })
    exchange.onResponseStart(controller, 200, {})
    expect(exchange.expiresAtMs).to.equal(startedAtMs + 500)
  })

  for (const end of ['expire', 'abort', 'handleEvent'] as const) {
    it(`keeps an answer whose status had come before ${end}`, () => {
      const { exchange, results } = startExchange({ deadlineMs: 500 })
      exchange.onResponseStart(controller, 200, {})
      exchange.onResponseData(controller, Buffer.from('abc'))
      exchange[end]()
      expect(results[0]).to.deep.include({
        kind: 'response',
        status: 200,
        body: Buffer.from('abc'),
        isTruncated: true,
      })
    })
  }

  it('has one result, whatever comes after it', () => {
    const { exchange, results } = startExchange({ deadlineMs: 500 })
    exchange.onResponseStart(controller, 200, { 'x-a': 'b' })
    exchange.onResponseData(controller, Buffer.from('x'.repeat(17)))
    exchange.onResponseData(controller, Buffer.from('y'))
    exchange.onResponseEnd()
    exchange.onResponseError(controller, new Error('late'))
    exchange.expire()
    exchange.abort()
    expect(results).to.have.length(1)
    expect(results[0]).to.deep.include({ status: 200, body: Buffer.from('x'.repeat(16)), isTruncated: true })
  })
})
