/** Attempts that have ended. Appended once; those on the wire are in store/flights.ts. */
import type { Attempt } from '../domain/delivery.ts'
import { boolArray, byteaArray, int4Array, textArray, timestamptzArray, uuidArray } from './arrays.ts'
import { rows, runPrepared, type Db } from './db.ts'

/** An attempt to be written; the headers of its request come as lines of `name: value`. */
export type NewAttempt = Omit<Attempt, 'request'> & { method: string; url: string; requestHeaders: string }

/** Appends attempts of any workspaces. */
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
    on conflict do nothing`
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

/**
 * Completes attempts that were given up as `interrupted` and whose worker came back later: what it learned is kept, as
 * `superseded`, since another attempt took their place. Where nobody took over yet there is nothing to complete; who
 * does will find the attempt in its flight.
 */
export async function supersedeMany(db: Db, attempts: readonly NewAttempt[]): Promise<void> {
  const sql = /* sql */ `
    update attempts a
       set outcome = 'superseded', duration_ms = n.duration_ms, requests_count = n.requests_count, error = n.error,
           response_status = n.response_status, response_body = n.response_body
      from unnest(:workspaceIds::uuid[], :deliveryIds::uuid[], :numbers::integer[], :durations::integer[],
                  :requestsCounts::integer[], :errors::text[], :statuses::integer[], :responseBodies::bytea[])
           as n (workspace_id, delivery_id, number, duration_ms, requests_count, error, response_status, response_body)
     where a.workspace_id = n.workspace_id
       and a.delivery_id = n.delivery_id
       and a.number = n.number
       and a.outcome = 'interrupted'`
  await rows(db, sql, {
    workspaceIds: uuidArray(attempts.map(attempt => attempt.workspaceId)),
    deliveryIds: uuidArray(attempts.map(attempt => attempt.deliveryId)),
    numbers: int4Array(attempts.map(attempt => attempt.number)),
    durations: int4Array(attempts.map(attempt => Math.round(attempt.durationMs))),
    requestsCounts: int4Array(attempts.map(attempt => attempt.requestsCount)),
    errors: textArray(attempts.map(attempt => attempt.error)),
    statuses: int4Array(attempts.map(attempt => attempt.response?.status ?? null)),
    responseBodies: byteaArray(attempts.map(attempt => attempt.response && attempt.response.body)),
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
     where workspace_id = :workspaceId
       and delivery_id = any(:deliveryIds::uuid[])
     order by delivery_id, number`
  return (await rows<AttemptRow>(db, sql, { workspaceId, deliveryIds: uuidArray(deliveryIds) })).map(fromRow)
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
