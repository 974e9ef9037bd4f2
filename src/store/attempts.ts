/** Attempts that have ended. Appended once; those on the wire are in store/flights.ts. */
import type { Attempt } from '../domain/delivery.ts'
import { boolArray, byteaArray, int4Array, textArray, timestamptzArray, uuidArray } from './arrays.ts'
import { runPrepared, type Db } from './db.ts'

/** An attempt to be written; the headers of its request come as lines of `name: value`. */
export type NewAttempt = Omit<Attempt, 'request'> & { method: string; url: string; requestHeaders: string }

/**
 * Appends attempts of any workspaces. Where the number exists as `interrupted`, its worker was given up and came
 * back later: what it learned replaces the row, as `superseded`, since another attempt took its place.
 */
export async function insertMany(db: Db, attempts: readonly NewAttempt[]): Promise<void> {
  const sql = /* sql */ `
    insert into attempts
      (workspace_id, delivery_id, number, outcome, started_at, duration_ms, requests_count, remote_address, error,
       method, url, request_headers, response_status, response_headers, response_body, response_is_truncated)
    select *
      from unnest(:workspaceIds::uuid[], :deliveryIds::uuid[], :numbers::integer[], :outcomes::text[],
                  :startedAts::timestamptz[], :durations::integer[], :requestsCounts::integer[],
                  :remoteAddresses::text[], :errors::text[], :methods::text[], :urls::text[], :requestHeaders::text[],
                  :statuses::integer[], :responseHeaders::text[], :responseBodies::bytea[], :truncations::boolean[])
    on conflict (delivery_id, number) do update
       set outcome = 'superseded', duration_ms = excluded.duration_ms, requests_count = excluded.requests_count,
           remote_address = excluded.remote_address, error = excluded.error,
           response_status = excluded.response_status, response_headers = excluded.response_headers,
           response_body = excluded.response_body, response_is_truncated = excluded.response_is_truncated
     where attempts.outcome = 'interrupted' and excluded.outcome = 'superseded'`
  await runPrepared(db, sql, {
    workspaceIds: uuidArray(attempts.map(attempt => attempt.workspaceId)),
    deliveryIds: uuidArray(attempts.map(attempt => attempt.deliveryId)),
    numbers: int4Array(attempts.map(attempt => attempt.number)),
    outcomes: textArray(attempts.map(attempt => attempt.outcome)),
    startedAts: timestamptzArray(attempts.map(attempt => attempt.startedAt)),
    durations: int4Array(attempts.map(attempt => Math.round(attempt.durationMs))),
    requestsCounts: int4Array(attempts.map(attempt => attempt.requestsCount)),
    remoteAddresses: textArray(attempts.map(attempt => attempt.remoteAddress)),
    errors: textArray(attempts.map(attempt => attempt.error)),
    methods: textArray(attempts.map(attempt => attempt.method)),
    urls: textArray(attempts.map(attempt => attempt.url)),
    requestHeaders: textArray(attempts.map(attempt => attempt.requestHeaders)),
    statuses: int4Array(attempts.map(attempt => attempt.response?.status ?? null)),
    responseHeaders: textArray(
      attempts.map(attempt => attempt.response && headerLines(attempt.response.headers)),
    ),
    responseBodies: byteaArray(attempts.map(attempt => attempt.response && attempt.response.body)),
    truncations: boolArray(attempts.map(attempt => attempt.response?.isTruncated ?? false)),
  })
}

type AttemptRow = Omit<Attempt, 'request' | 'response'> & {
  method: string
  url: string
  requestHeaders: string
  responseStatus: number | null
  responseHeaders: string | null
  responseBody: Buffer | null
  responseIsTruncated: boolean
}

/** The ended attempts of deliveries of one workspace, by delivery and number. */
export async function listByDeliveries(
  db: Db,
  workspaceId: string,
  deliveryIds: readonly string[],
): Promise<Attempt[]> {
  const sql = /* sql */ `
    select workspace_id as "workspaceId", delivery_id as "deliveryId", number, outcome, started_at as "startedAt",
           duration_ms as "durationMs", requests_count as "requestsCount", remote_address as "remoteAddress", error,
           method, url, request_headers as "requestHeaders", response_status as "responseStatus",
           response_headers as "responseHeaders", response_body as "responseBody",
           response_is_truncated as "responseIsTruncated"
      from attempts
     where workspace_id = :workspaceId and delivery_id = any(:deliveryIds::uuid[])
     order by delivery_id, number`
  return (await runPrepared<AttemptRow>(db, sql, { workspaceId, deliveryIds: uuidArray(deliveryIds) })).map(
    fromRow,
  )
}

function fromRow(row: AttemptRow): Attempt {
  const {
    method,
    url,
    requestHeaders,
    responseStatus,
    responseHeaders,
    responseBody,
    responseIsTruncated,
    ...rest
  } = row
  return {
    ...rest,
    request: { method, url, headers: parseHeaderLines(requestHeaders) },
    response:
      responseStatus === null
        ? null
        : {
            status: responseStatus,
            headers: parseHeaderLines(responseHeaders ?? ''),
            body: responseBody ?? Buffer.alloc(0),
            isTruncated: responseIsTruncated,
          },
  }
}

/** Headers as lines of `name: value`: a third of the cost of JSON at this rate, and readable in psql. */
function headerLines(headers: readonly [string, string][]): string {
  let text = ''
  for (const [name, value] of headers) text += `${name}: ${value}\n`
  return text
}

function parseHeaderLines(text: string): [string, string][] {
  return text
    .split('\n')
    .slice(0, -1)
    .map(line => {
      const colon = line.indexOf(': ')
      return [line.slice(0, colon), line.slice(colon + 2)]
    })
}
