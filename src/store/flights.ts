/**
 * Flights: the attempts that are on the wire. One row covers all attempts of a workspace that a worker starts
 * together; it is written before the first byte leaves and removed when the last of them has ended.
 */
import type { BodyFormat } from '../domain/body.ts'
import { int4Array, textArray, uuidArray } from './arrays.ts'
import { rows, runPrepared, type Db } from './db.ts'

type FlightEntry = {
  deliveryId: string
  eventId: string
  subscriptionId: string
  format: BodyFormat
  /** Number of the attempt, counted from 1. */
  number: number
}

export type Flight = { id: string; workspaceId: string; startedAt: Date; entries: readonly FlightEntry[] }

export async function insert(db: Db, flight: Flight): Promise<void> {
  const sql = /* sql */ `
    insert into flights (id, workspace_id, started_at, delivery_ids, event_ids, subscription_ids, formats, numbers)
    values (:id, :workspaceId, :startedAt, :deliveryIds::uuid[], :eventIds::uuid[], :subscriptionIds::uuid[],
            :formats::text[], :numbers::integer[])`
  const { id, workspaceId, startedAt, entries } = flight
  await runPrepared(db, sql, {
    id,
    workspaceId,
    startedAt,
    deliveryIds: uuidArray(entries.map(entry => entry.deliveryId)),
    eventIds: uuidArray(entries.map(entry => entry.eventId)),
    subscriptionIds: uuidArray(entries.map(entry => entry.subscriptionId)),
    formats: textArray(entries.map(entry => entry.format)),
    numbers: int4Array(entries.map(entry => entry.number)),
  })
}

export async function removeMany(db: Db, ids: readonly string[]): Promise<void> {
  await runPrepared(db, /* sql */ `delete from flights where id = any(:ids::uuid[])`, { ids: uuidArray(ids) })
}

/** An attempt on the wire, with what its endpoint is now. */
export type LiveEntry = FlightEntry & {
  workspaceId: string
  endpointId: string
  service: string
  event: string
  method: string
  url: string
  startedAt: Date
}

// A delivery that was given back is still in its first flight when it is taken up again: its attempt counts once.
const liveEntriesSql = /* sql */ `
  select distinct on (e.delivery_id, e.number)
         e.delivery_id as "deliveryId", e.event_id as "eventId", e.subscription_id as "subscriptionId", e.format,
         e.number, f.started_at as "startedAt", f.workspace_id as "workspaceId", s.endpoint_id as "endpointId",
         s.service, s.event, p.method, p.url
    from flights f
   cross join lateral unnest(f.delivery_ids, f.event_ids, f.subscription_ids, f.formats, f.numbers)
         as e (delivery_id, event_id, subscription_id, format, number)
    join webhook_subscriptions s on s.workspace_id = f.workspace_id and s.id = e.subscription_id
    join endpoints p on p.workspace_id = s.workspace_id and p.id = s.endpoint_id
   where f.workspace_id = :workspaceId
     and not exists (
       select from attempts a where a.delivery_id = e.delivery_id and a.number = e.number)`

const latestFirst = /* sql */ `order by e.delivery_id, e.number, f.started_at desc`

/**
 * The first attempts of these events that were started and have not ended, of deliveries that are not written yet:
 * one that is written has ended, or was given back and has a job of its own.
 */
export async function listLiveFirstByEvents(
  db: Db,
  workspaceId: string,
  eventIds: readonly string[],
): Promise<LiveEntry[]> {
  const sql = /* sql */ `${liveEntriesSql}
     and f.event_ids && :eventIds::uuid[]
     and e.event_id = any(:eventIds::uuid[])
     and e.number = 1
     and not exists (select from deliveries d where d.workspace_id = f.workspace_id and d.id = e.delivery_id)
   ${latestFirst}`
  return rows(db, sql, { workspaceId, eventIds: uuidArray(eventIds) })
}

/** The attempts of these deliveries that were started and have not ended. */
export async function listLiveByDeliveries(
  db: Db,
  workspaceId: string,
  ids: readonly string[],
): Promise<LiveEntry[]> {
  const sql = /* sql */ `${liveEntriesSql}
     and f.delivery_ids && :ids::uuid[]
     and e.delivery_id = any(:ids::uuid[])
   ${latestFirst}`
  return rows(db, sql, { workspaceId, ids: uuidArray(ids) })
}

/**
 * Forgets flights of dead workers: those of which every attempt has ended, or was given back, or can start no more.
 * Age alone would not do, since after a long outage the jobs that resume them are still waiting.
 */
export async function removeLanded(db: Db, olderThanSeconds: number): Promise<void> {
  const sql = /* sql */ `
    delete from flights f
     where f.started_at < now() - :olderThanSeconds * interval '1 second'
       and not exists (
         select
           from unnest(f.delivery_ids, f.numbers) as e (delivery_id, number)
           left join deliveries d on d.workspace_id = f.workspace_id and d.id = e.delivery_id
          where not exists (select from attempts a where a.delivery_id = e.delivery_id and a.number = e.number)
            and case when e.number = 1 then d.id is null else d.status = 'pending' end)`
  await rows(db, sql, { olderThanSeconds })
}
