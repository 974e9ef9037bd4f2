/** Events: immutable, partitioned by day, the payload kept as the bytes that came. */
import type { EventSummary, NewEvent, StoredEvent } from '../domain/event.ts'
import { byteaArray, textArray, timestamptzArray, uuidArray } from './arrays.ts'
import { firstIdAt } from '../ids.ts'
import {
  pageStart,
  rows,
  runPrepared,
  toPage,
  type Db,
  type Page,
  type PageQuery,
  type Statement,
} from './db.ts'

export type WorkspaceEvent = NewEvent & { workspaceId: string }

/** Writes events of any workspaces. */
export async function insertMany(db: Db, events: readonly WorkspaceEvent[]): Promise<void> {
  const { sql, bindings } = insertManyStatement(events)
  await rows(db, sql, bindings)
}

/**
 * Each event carries its workspace's version as this statement sees it. An event of a removed workspace violates
 * the not-null constraint of its workspace_id, so that none can be accepted and not written.
 */
export function insertManyStatement(events: readonly WorkspaceEvent[]): Statement {
  const sql = /* sql */ `
    insert into events (workspace_id, id, workspace_version, service, event, external_id, occurred_at, payload)
    select w.id, e.id, w.version, e.service, e.event, e.external_id, e.occurred_at, e.payload
      from unnest(:workspaceIds::uuid[], :ids::uuid[], :services::text[], :events::text[], :externalIds::text[],
                  :occurredAts::timestamptz[], :payloads::bytea[])
           as e (workspace_id, id, service, event, external_id, occurred_at, payload)
      left join workspaces w on w.id = e.workspace_id and w.deleted_at is null`
  const bindings = {
    workspaceIds: uuidArray(events.map(event => event.workspaceId)),
    ids: uuidArray(events.map(event => event.id)),
    services: textArray(events.map(event => event.service)),
    events: textArray(events.map(event => event.event)),
    externalIds: textArray(events.map(event => event.externalId ?? null)),
    occurredAts: timestamptzArray(events.map(event => event.occurredAt ?? null)),
    payloads: byteaArray(events.map(event => event.payload)),
  }
  return { sql, bindings }
}

/** Those of the events that (still) exist, in the order of their ids. */
export async function listByIds(db: Db, workspaceId: string, ids: readonly string[]): Promise<StoredEvent[]> {
  const sql = /* sql */ `
    select id, workspace_id as "workspaceId", workspace_version as "workspaceVersion", service, event,
           external_id as "externalId", occurred_at as "occurredAt", payload
      from events
     where workspace_id = :workspaceId and id = any(:ids::uuid[]) and id between :firstId::uuid and :lastId::uuid
     order by id`
  if (ids.length === 0) return []
  return runPrepared(db, sql, { workspaceId, ids: uuidArray(ids), ...idRange(ids) })
}

/** With a range a prepared plan still looks into the partitions of these ids only. */
export function idRange(ids: readonly string[]): { firstId: string; lastId: string } {
  let [firstId, lastId] = [ids[0]!, ids[0]!]
  for (const id of ids) {
    if (id < firstId) firstId = id
    if (id > lastId) lastId = id
  }
  return { firstId, lastId }
}

export async function find(db: Db, workspaceId: string, id: string): Promise<StoredEvent | undefined> {
  return (await listByIds(db, workspaceId, [id]))[0]
}

export type EventSearch = {
  service?: string | undefined
  event?: string | undefined
  since?: Date | undefined
  until?: Date | undefined
}

export async function list(
  db: Db,
  workspaceId: string,
  query: PageQuery & EventSearch,
): Promise<Page<EventSummary>> {
  const sql = /* sql */ `
    select id, workspace_id as "workspaceId", service, event, external_id as "externalId", occurred_at as "occurredAt"
      from events
     where workspace_id = :workspaceId
       and (:service::text is null or service = :service)
       and (:event::text is null or event = :event)
       and (:from::uuid is null or id >= :from::uuid)
       and (:before::uuid is null or id < :before::uuid)
       and (:until::uuid is null or id < :until::uuid)
     order by id desc
     limit :limit`
  const bindings = {
    workspaceId,
    service: query.service ?? null,
    event: query.event ?? null,
    from: query.since ? firstIdAt(query.since) : null,
    until: query.until ? firstIdAt(query.until) : null,
    before: pageStart(query),
    limit: query.limit + 1,
  }
  return toPage(await rows(db, sql, bindings), query.limit)
}

/** How many deliveries each of these events has, by event. */
export async function countDeliveries(
  db: Db,
  workspaceId: string,
  eventIds: readonly string[],
): Promise<Map<string, number>> {
  const sql = /* sql */ `
    select e.id,
           (select count(*)
              from current_deliveries d
             where d.workspace_id = :workspaceId and d.event_id = e.id and d.id between e.first_id and e.last_id) as count
      from unnest(:eventIds::uuid[], :firstIds::uuid[], :lastIds::uuid[]) as e (id, first_id, last_id)`
  const ranges = eventIds.map(deliveryIdRange)
  const counts = await rows<{ id: string; count: number }>(db, sql, {
    workspaceId,
    eventIds: uuidArray(eventIds),
    firstIds: uuidArray(ranges.map(range => range.from)),
    lastIds: uuidArray(ranges.map(range => range.to)),
  })
  return new Map(counts.map(({ id, count }) => [id, count]))
}

/** Deliveries begin with the time of their event, so those of one event lie in a narrow range of ids. */
export function deliveryIdRange(eventId: string): { from: string; to: string } {
  const time = eventId.slice(0, 13)
  return { from: `${time}-0000-0000-000000000000`, to: `${time}-ffff-ffff-ffffffffffff` }
}
