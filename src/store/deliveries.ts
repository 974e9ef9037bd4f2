/**
 * Deliveries: written when they settle or have to wait, never while their first attempt is on the wire (that is
 * in store/flights.ts). Readers see both through the view current_deliveries.
 */
import type { Delivery, DeliveryState, DeliveryStatus, PendingDelivery } from '../domain/delivery.ts'
import { float8Array, int4Array, textArray, uuidArray } from './arrays.ts'
import { firstIdAt } from '../ids.ts'
import {
  affected,
  firstRow,
  pageStart,
  rows,
  runPrepared,
  toPage,
  type Db,
  type Page,
  type PageQuery,
} from './db.ts'
import { deliveryIdRange, idRange } from './events.ts'

const columns = /* sql */ `
  id, workspace_id as "workspaceId", event_id as "eventId", subscription_id as "subscriptionId",
  endpoint_id as "endpointId", service, event, format, status, held_by as "heldBy", status_reason as "statusReason",
  attempts_count as "attemptsCount", next_attempt_at as "nextAttemptAt", last_outcome as "lastOutcome",
  last_response_status as "lastResponseStatus", updated_at as "updatedAt"`

/** Writes deliveries of any workspaces for the first time; one that exists already is left as it is. */
export async function insertMany(db: Db, deliveries: readonly DeliveryState[]): Promise<void> {
  const sql = /* sql */ `
    insert into deliveries
      (workspace_id, id, event_id, subscription_id, endpoint_id, service, event, format, status, held_by, status_reason,
       attempts_count, interruptions_count, schedule_number, next_attempt_at, last_outcome, last_response_status)
    select workspace_id, id, event_id, subscription_id, endpoint_id, service, event, format, status, held_by,
           status_reason, attempts_count, interruptions_count, schedule_number, now() + next_in * interval '1 second',
           last_outcome, last_response_status
      from unnest(:workspaceIds::uuid[], :ids::uuid[], :eventIds::uuid[], :subscriptionIds::uuid[], :endpointIds::uuid[],
                  :services::text[], :events::text[], :formats::text[], :statuses::text[], :heldBys::text[],
                  :reasons::text[], :attemptsCounts::integer[], :interruptionsCounts::integer[],
                  :scheduleNumbers::integer[], :nextIns::float8[], :lastOutcomes::text[], :lastStatuses::integer[])
           as d (workspace_id, id, event_id, subscription_id, endpoint_id, service, event, format, status, held_by,
                 status_reason, attempts_count, interruptions_count, schedule_number, next_in, last_outcome,
                 last_response_status)
    on conflict do nothing`
  await runPrepared(db, sql, {
    eventIds: uuidArray(deliveries.map(delivery => delivery.eventId)),
    subscriptionIds: uuidArray(deliveries.map(delivery => delivery.subscriptionId)),
    endpointIds: uuidArray(deliveries.map(delivery => delivery.endpointId)),
    services: textArray(deliveries.map(delivery => delivery.service)),
    events: textArray(deliveries.map(delivery => delivery.event)),
    formats: textArray(deliveries.map(delivery => delivery.format)),
    ...stateArrays(deliveries),
  })
}

/**
 * Writes the new state of deliveries of any workspaces. One that was cancelled while its attempt was on the wire stays
 * cancelled, unless that attempt delivered it: then that is what happened.
 */
export async function updateMany(db: Db, deliveries: readonly DeliveryState[]): Promise<void> {
  const sql = /* sql */ `
    update deliveries d
       set status = case when d.status = 'pending' or n.status = 'delivered' then n.status else d.status end,
           status_reason = case when d.status = 'pending' or n.status = 'delivered' then n.status_reason
                                else d.status_reason end,
           held_by = case when d.status = 'pending' then n.held_by end,
           next_attempt_at = case when d.status = 'pending' then now() + n.next_in * interval '1 second' end,
           attempts_count = n.attempts_count, interruptions_count = n.interruptions_count,
           schedule_number = n.schedule_number, updated_at = now(),
           -- Without an attempt (it was held, or given back) what the last one came to still holds.
           last_outcome = coalesce(n.last_outcome, d.last_outcome),
           last_response_status = case when n.last_outcome is null then d.last_response_status
                                       else n.last_response_status end
      from unnest(:workspaceIds::uuid[], :ids::uuid[], :statuses::text[], :heldBys::text[], :reasons::text[],
                  :attemptsCounts::integer[], :interruptionsCounts::integer[], :scheduleNumbers::integer[],
                  :nextIns::float8[], :lastOutcomes::text[], :lastStatuses::integer[])
           as n (workspace_id, id, status, held_by, status_reason, attempts_count, interruptions_count,
                 schedule_number, next_in, last_outcome, last_response_status)
     where d.workspace_id = n.workspace_id
       and d.id = n.id
       and d.id = any(:ids::uuid[])
       and d.id between :firstId::uuid and :lastId::uuid
       and d.status in ('pending', 'cancelled')`
  const range = idRange(deliveries.map(({ id }) => id))
  await runPrepared(db, sql, { ...stateArrays(deliveries), ...range })
}

function stateArrays(deliveries: readonly DeliveryState[]) {
  return {
    workspaceIds: uuidArray(deliveries.map(delivery => delivery.workspaceId)),
    ids: uuidArray(deliveries.map(delivery => delivery.id)),
    statuses: textArray(deliveries.map(delivery => delivery.status)),
    heldBys: textArray(deliveries.map(delivery => delivery.heldBy)),
    reasons: textArray(deliveries.map(delivery => delivery.statusReason)),
    attemptsCounts: int4Array(deliveries.map(delivery => delivery.attemptsCount)),
    interruptionsCounts: int4Array(deliveries.map(delivery => delivery.interruptionsCount)),
    scheduleNumbers: int4Array(deliveries.map(delivery => delivery.scheduleNumber)),
    nextIns: float8Array(deliveries.map(delivery => delivery.nextAttemptInSeconds)),
    lastOutcomes: textArray(deliveries.map(delivery => delivery.lastOutcome)),
    lastStatuses: int4Array(deliveries.map(delivery => delivery.lastResponseStatus)),
  }
}

const pendingColumns = /* sql */ `
  id, workspace_id as "workspaceId", event_id as "eventId", subscription_id as "subscriptionId",
  endpoint_id as "endpointId", service, event, format, attempts_count as "attemptsCount",
  interruptions_count as "interruptionsCount", schedule_number as "scheduleNumber"`

/** Those of the deliveries that wait for an attempt. */
export async function listPending(
  db: Db,
  workspaceId: string,
  ids: readonly string[],
): Promise<PendingDelivery[]> {
  const sql = /* sql */ `
    select ${pendingColumns}
      from deliveries
     where workspace_id = :workspaceId and id = any(:ids::uuid[]) and status = 'pending' and held_by is null`
  return rows(db, sql, { workspaceId, ids: uuidArray(ids) })
}

/** Those of the deliveries that exist as rows, whatever became of them. */
export async function listByIds(
  db: Db,
  workspaceId: string,
  ids: readonly string[],
): Promise<PendingDelivery[]> {
  const sql = /* sql */ `
    select ${pendingColumns} from deliveries where workspace_id = :workspaceId and id = any(:ids::uuid[])`
  return rows(db, sql, { workspaceId, ids: uuidArray(ids) })
}

/** Locks a bounded number of a subscription's pending deliveries, so that they can be released or cancelled. */
export async function lockPendingOfSubscription(
  db: Db,
  workspaceId: string,
  subscriptionId: string,
  which: { heldOnly: boolean; limit: number },
): Promise<PendingDelivery[]> {
  const sql = /* sql */ `
    select ${pendingColumns}
      from deliveries
     where workspace_id = :workspaceId
       and subscription_id = :subscriptionId
       and status = 'pending'
       and (not :heldOnly or held_by in ('paused', 'endpoint'))
     order by id
     limit :limit
       for update skip locked`
  return rows(db, sql, { workspaceId, subscriptionId, ...which })
}

/**
 * Subscriptions of which deliveries are held although nothing holds them any more: it is active with its endpoint, or
 * it or its workspace was removed.
 */
export async function listStuckHolders(
  db: Db,
  limit: number,
): Promise<{ workspaceId: string; subscriptionId: string }[]> {
  const sql = /* sql */ `
    select distinct d.workspace_id as "workspaceId", d.subscription_id as "subscriptionId"
      from deliveries d
      join webhook_subscriptions s on s.workspace_id = d.workspace_id and s.id = d.subscription_id
      join endpoints e on e.workspace_id = s.workspace_id and e.id = s.endpoint_id
      join workspaces w on w.id = d.workspace_id
     where d.status = 'pending'
       and d.held_by in ('paused', 'endpoint')
       and (s.deleted_at is not null or w.deleted_at is not null or (s.status = 'active' and e.status = 'active'))
     limit :limit`
  return rows(db, sql, { limit })
}

/** Deliveries of every workspace whose time came more than `overdueSeconds` ago, oldest first. */
export async function lockOverdue(
  db: Db,
  which: { overdueSeconds: number; limit: number },
): Promise<PendingDelivery[]> {
  const sql = /* sql */ `
    select ${pendingColumns}
      from deliveries
     where status = 'pending'
       and held_by is null
       and next_attempt_at < now() - :overdueSeconds * interval '1 second'
     order by next_attempt_at
     limit :limit
       for update skip locked`
  return rows(db, sql, which)
}

/** The deliveries of an event that exist as rows. */
export async function listIdsOfEvent(db: Db, workspaceId: string, eventId: string): Promise<string[]> {
  const sql = /* sql */ `
    select id
      from deliveries
     where workspace_id = :workspaceId and event_id = :eventId and id between :from::uuid and :to::uuid`
  const found = await rows<{ id: string }>(db, sql, { workspaceId, eventId, ...deliveryIdRange(eventId) })
  return found.map(row => row.id)
}

export async function find(db: Db, workspaceId: string, id: string): Promise<Delivery | undefined> {
  const sql = /* sql */ `select ${columns} from current_deliveries where workspace_id = :workspaceId and id = :id`
  return firstRow(db, sql, { workspaceId, id })
}

export type DeliverySearch = {
  subscriptionId?: string | undefined
  eventId?: string | undefined
  status?: DeliveryStatus | undefined
  since?: Date | undefined
  until?: Date | undefined
}

export async function list(
  db: Db,
  workspaceId: string,
  query: PageQuery & DeliverySearch,
): Promise<Page<Delivery>> {
  // One statement per kind of question, so that each gets the plan of its own index.
  const conditions = ['workspace_id = :workspaceId']
  if (query.subscriptionId !== undefined) conditions.push('subscription_id = :subscriptionId')
  if (query.eventId !== undefined) {
    conditions.push('event_id = :eventId', 'id between :eventFrom::uuid and :eventTo::uuid')
  }
  if (query.status !== undefined) conditions.push('status = :status')
  if (query.since !== undefined) conditions.push('id >= :since::uuid')
  if (query.until !== undefined) conditions.push('id < :until::uuid')
  if (query.pageToken !== undefined) conditions.push('id < :before::uuid')
  const sql = `select ${columns} from current_deliveries where ${conditions.join(' and ')} order by id desc limit :limit`
  const range = query.eventId === undefined ? undefined : deliveryIdRange(query.eventId)
  const bindings = {
    workspaceId,
    subscriptionId: query.subscriptionId,
    eventId: query.eventId,
    eventFrom: range?.from,
    eventTo: range?.to,
    status: query.status,
    since: query.since && firstIdAt(query.since),
    until: query.until && firstIdAt(query.until),
    before: pageStart(query),
    limit: query.limit + 1,
  }
  return toPage(await rows(db, sql, bindings), query.limit)
}

/** Ends deliveries of one workspace that nobody may attempt any more. */
export async function cancelMany(
  db: Db,
  workspaceId: string,
  ids: readonly string[],
  reason: string,
): Promise<number> {
  const sql = /* sql */ `
    update deliveries
       set status = 'cancelled', status_reason = :reason, held_by = null, next_attempt_at = null, updated_at = now()
     where workspace_id = :workspaceId and id = any(:ids::uuid[]) and status = 'pending'`
  return affected(db, sql, { workspaceId, ids: uuidArray(ids), reason })
}

/** Schedules held or overdue deliveries at once, under a new schedule number each. */
export async function rescheduleMany(db: Db, workspaceId: string, ids: readonly string[]): Promise<void> {
  const sql = /* sql */ `
    update deliveries
       set held_by = null, next_attempt_at = now(), schedule_number = schedule_number + 1, updated_at = now()
     where workspace_id = :workspaceId and id = any(:ids::uuid[]) and status = 'pending'`
  await rows(db, sql, { workspaceId, ids: uuidArray(ids) })
}
