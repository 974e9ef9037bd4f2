/**
 * One request and what comes back, as a handler for undici's `dispatch`. There is no stream and no timer of its own
 * in it, since every delivery makes one: whoever holds it looks at `expiresAtMs` and calls `expire`.
 */

import assert from 'node:assert'
import type { Socket } from 'node:net'
import { errors } from 'undici'
import type { Dispatcher } from 'undici'
import type { SendResult } from '../domain/outcome.ts'
import { stripNul } from '../domain/outcome.ts'
import type { Line, LineHandler } from './connection.ts'
import type { Fault } from './faults.ts'
import { abortedFault, faultOf, isLostConnection, protocolFault, timeoutFault } from './faults.ts'

/** How long a body may take after the status line, which has decided the outcome already. */
const bodyWindowMs = 2_000

export type ExchangeOptions = {
  startedAtMs: number
  deadlineMs: number
  responseBytesMax: number
  /** Sends the request again, on a connection that has carried none. Called at most once. */
  resend: () => void
  /** Called once, with the result. */
  settle: (result: SendResult) => void
}

export class Exchange implements LineHandler {
  line: Line | undefined = undefined
  /** On the clock of `performance.now()`: the deadline, and once there is a status, the end of the body's window. */
  expiresAtMs: number

  readonly #options: ExchangeOptions
  #isSettled = false
  #controller: Dispatcher.DispatchController | undefined = undefined
  #socket: Socket | undefined = undefined
  #remoteAddress: string | undefined = undefined
  #requestsCount: 0 | 1 | 2 = 0
  #isOnUsedSocket = false
  #hasResponseByte = false
  #status = 0
  #headers: [name: string, value: string][] = []
  #bodyBytes = 0
  /** Put together at the end: joining at each would be quadratic in the number of chunks, which the receiver chooses. */
  readonly #chunks: Buffer[] = []

  constructor(options: ExchangeOptions) {
    this.#options = options
    this.expiresAtMs = options.startedAtMs + options.deadlineMs
  }

  /** Time is up: the response as far as it came, or a timeout. */
  expire(): void {
    this.#end(timeoutFault())
  }

  /** The caller wants no answer any more. One that has its status already is kept, because the receiver has acted. */
  abort(): void {
    this.#end(abortedFault())
  }

  /** The listener of an `AbortSignal`; as a method of an object, it costs no closure. */
  handleEvent(): void {
    this.abort()
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // It waited for a connection until its time was up: nothing has been written yet, and nothing will be.
    if (this.#isSettled) return controller.abort(giveUp)

    this.#controller = controller
    this.#requestsCount = this.#requestsCount === 0 ? 1 : 2
    const { line } = this
    assert(line !== undefined, 'a request starts on a connection')
    this.#socket = line.socket
    this.#remoteAddress = line.remoteAddress
    this.#isOnUsedSocket = line.isUsed
    line.isUsed = true
  }

  onResponseStarted(): void {
    this.#hasResponseByte = true
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: ResponseHeaders,
  ): void {
    // Interim responses (RFC 9110 section 15.2) decide nothing; a flood of them ends at the deadline.
    if (status < 200) return
    this.#status = status
    this.#headers = toPairs(headers)
    this.expiresAtMs = Math.min(this.expiresAtMs, performance.now() + bodyWindowMs)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isSettled) return
    const bytesLeft = this.#options.responseBytesMax - this.#bodyBytes
    const isTooMuch = chunk.length > bytesLeft
    this.#chunks.push(isTooMuch ? chunk.subarray(0, bytesLeft) : chunk)
    this.#bodyBytes += chunk.length
    if (isTooMuch) this.#endWithResponse()
  }

  onResponseEnd(): void {
    if (!this.#isSettled) this.#settleResponse(false)
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (this.#isSettled) return
    if (this.#status !== 0) return this.#settleResponse(true)
    if (this.#mayResend(error)) return this.#options.resend()
    this.#settleFault(this.#isRefusedAnswer(error) ? protocolFault() : faultOf(error))
  }

  /**
   * A receiver that closes an idle connection just as we use it has not read the request (RFC 9112 section 9.3.1 lets
   * such a request be sent again). On a fresh connection, and so at the second time, or after a byte of an answer, it
   * may have acted on it.
   */
  #mayResend(error: Error): boolean {
    return this.#isOnUsedSocket && !this.#hasResponseByte && isLostConnection(error)
  }

  /**
   * undici gives up on an interim 100 and on an upgrade, which we have asked for neither, with the error of a lost
   * connection. The difference is that the receiver has not ended it.
   */
  #isRefusedAnswer(error: Error): boolean {
    return (
      this.#hasResponseByte && error instanceof errors.SocketError && this.#socket?.readableEnded === false
    )
  }

  #end(fault: Fault): void {
    if (this.#isSettled) return
    if (this.#status !== 0) return this.#endWithResponse()
    this.#settleFault(fault)
    this.#controller?.abort(giveUp)
  }

  /** Settles with what there is, and does not read the rest. */
  #endWithResponse(): void {
    this.#settleResponse(true)
    this.#controller?.abort(giveUp)
  }

  #settleResponse(isTruncated: boolean): void {
    this.#isSettled = true
    this.#options.settle({
      kind: 'response',
      status: this.#status,
      headers: this.#headers,
      body: join(this.#chunks),
      isTruncated,
      remoteAddress: this.#remoteAddress,
      requestsCount: this.#requestsCount === 2 ? 2 : 1,
      durationMs: this.#durationMs(),
    })
  }

  #settleFault({ fault, detail, isLocal }: Fault): void {
    this.#isSettled = true
    this.#options.settle({
      kind: 'fault',
      fault,
      detail,
      remoteAddress: this.#remoteAddress,
      requestsCount: this.#requestsCount,
      durationMs: this.#durationMs(),
      isLocal,
    })
  }

  #durationMs(): number {
    return Math.round(performance.now() - this.#options.startedAtMs)
  }
}

type ResponseHeaders = Record<string, string | string[] | undefined>

const noBytes = Buffer.alloc(0)

/** Tells undici to close the connection; it reaches no one, since the exchange has been settled before. */
const giveUp = new Error('The exchange is over.')

function join(chunks: readonly Buffer[]): Buffer {
  const [first = noBytes] = chunks
  return chunks.length <= 1 ? first : Buffer.concat(chunks)
}

function toPairs(headers: ResponseHeaders): [string, string][] {
  const pairs: [string, string][] = []
  for (const name in headers) {
    const value = headers[name]
    if (typeof value === 'string') pairs.push([name, stripNul(value)])
    else for (const item of value ?? []) pairs.push([name, stripNul(item)])
  }
  return pairs
}
