/**
 * Errors as the caller sees them: problem documents (RFC 9457) with a stable code.
 */
import { STATUS_CODES } from 'node:http'
import { AppError, faultsMax, type ErrorCode, type Fault } from '../errors.ts'
import { isUnavailable } from '../store/db.ts'

/** A code without a status does not compile. */
export const statusOf: Readonly<Record<ErrorCode, number>> = {
  invalid_json: 400,
  invalid_utf8: 400,
  invalid_encoding: 400,
  invalid_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  idempotency_key_in_use: 409,
  too_many_identical_subscriptions: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  validation_failed: 422,
  invalid_page_token: 422,
  idempotency_key_reused: 422,
  rate_limited: 429,
  internal_error: 500,
  unavailable: 503,
}

export type Problem = {
  type: 'about:blank'
  title: string
  status: number
  detail: string
  code: ErrorCode
  requestId: string
  errors?: readonly Fault[]
}

export function toProblem(error: AppError, requestId: string): Problem {
  const status = statusOf[error.code]
  return {
    type: 'about:blank',
    // RFC 9457 §4.2.1: with about:blank the title is the phrase of the status.
    title: STATUS_CODES[status]!,
    status,
    detail: error.message,
    code: error.code,
    requestId,
    ...(error.faults.length > 0 ? { errors: error.faults.slice(0, faultsMax) } : {}),
  }
}

/** What any error is to the caller. Text of errors that are not for callers never leaves. */
export function asAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (isUnavailable(error)) {
    const message = 'The database cannot be reached just now; nothing was stored. Send the request again.'
    return new AppError('unavailable', message, { cause: error, retryAfterSeconds: 1 })
  }
  return new AppError('internal_error', 'This is a fault of the service; its log has the request id.', {
    cause: error,
  })
}
