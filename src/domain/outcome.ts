/**
 * What became of a request, and what that means for its delivery. A receiver's fault is a value here, never a
 * throw: it is expected, recorded, and decides when to try again.
 */

/** Why no response came. `aborted` is our own doing: the caller's signal, or the sender was closed. */
export type FaultCode =
  | 'timeout'
  | 'connection_refused'
  | 'connection_reset'
  | 'dns_error'
  | 'tls_error'
  | 'protocol_error'
  | 'blocked_destination'
  | 'network_error'
  | 'aborted'

export type SendResponse = {
  kind: 'response'
  status: number
  /** As received, names in lower case, a repeated name once per value. */
  headers: [name: string, value: string][]
  /** The first bytes of the body, at most `responseBytesMax`. */
  body: Buffer
  /** The body had more, came too slowly, or broke off: what is in `body` is only its start. */
  isTruncated: boolean
  remoteAddress?: string | undefined
  /** Requests on the wire: 2 when a kept connection turned out to be closed and the request was sent again. */
  requestsCount: 1 | 2
  durationMs: number
}

export type SendFault = {
  kind: 'fault'
  fault: FaultCode
  /** A sentence for the endpoint's owner. Names no address and no internals. */
  detail: string
  remoteAddress?: string | undefined
  /** 0 when nothing was sent, so that the receiver cannot have seen it. */
  requestsCount: 0 | 1 | 2
  durationMs: number
  /** The fault is on our side (no file descriptors, no ports): not to be charged to the endpoint. */
  isLocal: boolean
}

export type SendResult = SendResponse | SendFault

/** All states of an attempt: `started` until it is completed by one of the others. */
export const outcomes = [
  'started',
  'delivered',
  'http_error',
  'gone',
  'throttled',
  'redirect_refused',
  'timeout',
  'connection_refused',
  'connection_reset',
  'dns_error',
  'tls_error',
  'protocol_error',
  'blocked_destination',
  'secret_unavailable',
  'interrupted',
  'superseded',
  'network_error',
] as const

export type Outcome = (typeof outcomes)[number]

/** The statuses that count as success: every 2xx, or exactly those listed. */
export type SuccessStatus = '2xx' | readonly number[]

export type Judgement = {
  outcome: Outcome
  /** The receiver asked not to be called again for this long; only with `throttled`. */
  retryAfterMs: number | undefined
  /** As in `SendFault`; a response is never local. */
  isLocal: boolean
}

/**
 * What a result means. The status decides alone: a body that broke off after a 200 has been delivered. A caller that
 * aborted because it lost its claim records `superseded` instead of the `interrupted` that comes from here.
 */
export function judge(result: SendResult, successStatus: SuccessStatus, now: Date): Judgement {
  if (result.kind === 'fault') {
    const outcome = result.fault === 'aborted' ? 'interrupted' : result.fault
    return { outcome, retryAfterMs: undefined, isLocal: result.isLocal }
  }
  const { status } = result
  if (isSuccess(status, successStatus)) return response('delivered')
  if (status === 410) return response('gone')
  if (status === 429) return response('throttled', readRetryAfter(result, now))
  if (status === 503) {
    const retryAfterMs = readRetryAfter(result, now)
    return retryAfterMs === undefined ? response('http_error') : response('throttled', retryAfterMs)
  }
  return response(status >= 300 && status <= 399 ? 'redirect_refused' : 'http_error')
}

/**
 * How long a `Retry-After` asks to wait (RFC 9110 section 10.2.3), in milliseconds: seconds, a fraction of which is
 * rounded up to a whole one, or a date, 0 once it has passed. `undefined` for anything else. Not capped: years may come.
 */
export function parseRetryAfter(value: string, now: Date): number | undefined {
  const text = value.trim()
  if (/^\d+(?:\.\d+)?$/.test(text)) return Math.min(Math.ceil(Number(text)) * 1_000, Number.MAX_SAFE_INTEGER)

  const date = parseHttpDate(text)
  return date === undefined ? undefined : Math.max(0, date - now.getTime())
}

/** Text from a remote without NUL, which Postgres refuses: one would fail the whole group it is settled in, for ever. */
export function stripNul(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '') : text
}

function isSuccess(status: number, successStatus: SuccessStatus): boolean {
  return successStatus === '2xx' ? status >= 200 && status <= 299 : successStatus.includes(status)
}

function response(outcome: Outcome, retryAfterMs?: number): Judgement {
  return { outcome, retryAfterMs, isLocal: false }
}

function readRetryAfter(result: SendResponse, now: Date): number | undefined {
  const header = result.headers.find(([name]) => name === 'retry-after')
  return header === undefined ? undefined : parseRetryAfter(header[1], now)
}

const day = '(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)'
const month = '(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)'
const time = String.raw`\d\d:\d\d:\d\d`

/** RFC 9110 section 5.6.7: the form that is sent, and the two that a recipient must still read. */
const imfFixdate = new RegExp(String.raw`^${day}, \d\d ${month} \d{4} ${time} GMT$`)
const rfc850Date = new RegExp(
  String.raw`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, \d\d-${month}-\d\d ${time} GMT$`,
)
const asctimeDate = new RegExp(String.raw`^${day} ${month} [ \d]\d ${time} \d{4}$`)

/** Milliseconds since 1970. `Date.parse` alone would also take "1" or "soon 7" for a date. */
function parseHttpDate(text: string): number | undefined {
  const isUtc = imfFixdate.test(text) || rfc850Date.test(text)
  if (!isUtc && !asctimeDate.test(text)) return undefined
  const parsed = Date.parse(isUtc ? text : `${text} GMT`)
  return Number.isNaN(parsed) ? undefined : parsed
}
