/**
 * The closed list of mistakes a caller can make. The code is the contract (it goes out as `code` of a
 * problem document, and `http/problem.ts` gives each its status); the message is for people and says
 * what to do. A remote's fault is never an AppError but a value, and our own bug is an assert.
 */

export type ErrorCode =
  | 'invalid_json'
  | 'invalid_utf8'
  | 'invalid_encoding'
  | 'invalid_request'
  | 'invalid_page_token'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'method_not_allowed'
  | 'conflict'
  | 'idempotency_key_in_use'
  | 'too_many_identical_subscriptions'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'validation_failed'
  | 'idempotency_key_reused'
  | 'rate_limited'
  | 'internal_error'
  | 'unavailable'

/** One fault of an input: where (JSON Pointer, RFC 6901; `?name` for a query parameter; a header by its name) and what to do. */
export type Fault = { pointer: string; detail: string }

/** Faults that one reply names; the caller learns enough, and a batch of 1,000 bad events cannot make it megabytes. */
export const faultsMax = 20

export class AppError extends Error {
  readonly code: ErrorCode
  readonly faults: readonly Fault[]
  /** Seconds after which the same request may succeed; becomes `Retry-After`. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    code: ErrorCode,
    message: string,
    options: { faults?: readonly Fault[]; cause?: unknown; retryAfterSeconds?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.faults = options.faults ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
  }
}

/** Input that is well-formed but breaks a rule: 422 with a pointer to each fault. */
export function invalid(faults: readonly Fault[]): AppError {
  const [first] = faults
  return new AppError(
    'validation_failed',
    first ? `${first.pointer}: ${first.detail}` : 'The input is not valid.',
    {
      faults,
    },
  )
}

/** A missing resource, and a foreign one: both answer alike, so that ids of other tenants cannot be probed. */
export function notFound(what: string): AppError {
  return new AppError('not_found', `No such ${what}.`)
}
