/** Webhook subscriptions, read together with their endpoints. */
import type { BodyFormat } from '../domain/body.ts'
import type { EventFilter, Subscription, SubscriptionStatus } from '../domain/subscription.ts'
import { affected, firstRow, pageStart, rows, toPage, type Db, type Page, type PageQuery } from './db.ts'

export type NewSubscription = {
  id: string
  endpointId: string
  service: string
  event: string
  eventFilters: EventFilter[]
  filtersKey: string
  format: BodyFormat
  name: string | null
  description: string | null
  metadata: Record<string, string> | null
}

export async function insert(
  db: Db,
  workspaceId: string,
  version: number,
  subscription: NewSubscription,
): Promise<void> {
  const sql = /* sql */ `
    insert into webhook_subscriptions
      (id, workspace_id, endpoint_id, service, event, event_filters, filters_key, format, name, description, metadata,
       status, created_version, changed_version)
    values
      (:id, :workspaceId, :endpointId, :service, :event, :eventFilters::jsonb, :filtersKey, :format, :name,
       :description, :metadata::jsonb, 'active', :version, :version)`
  await rows(db, sql, {
    ...subscription,
    workspaceId,
    version,
    eventFilters: JSON.stringify(subscription.eventFilters),
    metadata: subscription.metadata === null ? null : JSON.stringify(subscription.metadata),
  })
}

export type SubscriptionChange = Pick<
  NewSubscription,
  'eventFilters' | 'filtersKey' | 'format' | 'name' | 'description' | 'metadata'
> & { status: 'active' | 'inactive' }

export async function update(
  db: Db,
  workspaceId: string,
  version: number,
  id: string,
  change: SubscriptionChange,
): Promise<void> {
  const sql = /* sql */ `
    update webhook_subscriptions
       set event_filters = :eventFilters::jsonb, filters_key = :filtersKey, format = :format, name = :name,
           description = :description, metadata = :metadata::jsonb, status = :status,
           changed_version = :version, updated_at = now()
     where workspace_id = :workspaceId and id = :id`
  await rows(db, sql, {
    ...change,
    workspaceId,
    version,
    id,
    eventFilters: JSON.stringify(change.eventFilters),
    metadata: change.metadata === null ? null : JSON.stringify(change.metadata),
  })
}

/** Marks every subscription of an endpoint as changed, so that what is held in memory is read again. */
export async function touchByEndpoint(
  db: Db,
  workspaceId: string,
  version: number,
  endpointId: string,
): Promise<void> {
  const sql = /* sql */ `
    update webhook_subscriptions
       set changed_version = :version, updated_at = now()
     where workspace_id = :workspaceId and endpoint_id = :endpointId and deleted_at is null`
  await rows(db, sql, { workspaceId, version, endpointId })
}

export async function remove(db: Db, workspaceId: string, version: number, id: string): Promise<boolean> {
  const sql = /* sql */ `
    update webhook_subscriptions
       set deleted_at = now(), changed_version = :version
     where workspace_id = :workspaceId and id = :id and deleted_at is null`
  return (await affected(db, sql, { workspaceId, version, id })) > 0
}

/** How many other subscriptions ask for exactly the same; exact only after the workspace's version was bumped. */
export async function countIdentical(
  db: Db,
  workspaceId: string,
  wanted: { service: string; event: string; filtersKey: string; exceptId: string },
): Promise<number> {
  const sql = /* sql */ `
    select count(*) as count
      from webhook_subscriptions
     where workspace_id = :workspaceId
       and service = :service
       and event = :event
       and filters_key = :filtersKey
       and id <> :exceptId
       and deleted_at is null`
  return (await firstRow<{ count: number }>(db, sql, { workspaceId, ...wanted }))!.count
}

const columns = /* sql */ `
  s.id, s.workspace_id as "workspaceId", w.organization_id as "organizationId", s.service, s.event,
  s.event_filters as "eventFilters", s.format, s.name, s.description, s.metadata, s.status,
  s.created_at as "createdAt", s.updated_at as "updatedAt",
  json_build_object(
    'id', e.id, 'url', e.url, 'method', e.method, 'params', e.params, 'headerNames', e.header_names,
    'authUsername', e.auth_username, 'signatures', e.signatures, 'timeoutMs', e.timeout_ms,
    'retryPolicy', e.retry_policy, 'successStatus', e.success_status, 'status', e.status,
    'statusReason', e.status_reason) as endpoint`

const tables = /* sql */ `
  from webhook_subscriptions s
  join endpoints e on e.workspace_id = s.workspace_id and e.id = s.endpoint_id
  join workspaces w on w.id = s.workspace_id`

export async function find(db: Db, workspaceId: string, id: string): Promise<Subscription | undefined> {
  const sql = /* sql */ `
    select ${columns} ${tables} where s.workspace_id = :workspaceId and s.id = :id and s.deleted_at is null`
  return firstRow(db, sql, { workspaceId, id })
}

/** Whether there is or was such a subscription: the history of a deleted one stays readable. */
export async function wasKnown(db: Db, workspaceId: string, id: string): Promise<boolean> {
  const sql = /* sql */ `
    select id from webhook_subscriptions where workspace_id = :workspaceId and id = :id`
  return (await firstRow(db, sql, { workspaceId, id })) !== undefined
}

export type SubscriptionSearch = {
  service?: string | undefined
  event?: string | undefined
  status?: SubscriptionStatus | undefined
  url?: string | undefined
}

export async function list(
  db: Db,
  workspaceId: string,
  query: PageQuery & SubscriptionSearch,
): Promise<Page<Subscription>> {
  const sql = /* sql */ `
    select ${columns} ${tables}
     where s.workspace_id = :workspaceId
       and s.deleted_at is null
       and (:service::text is null or s.service = :service)
       and (:event::text is null or s.event = :event)
       and (:url::text is null or e.url = :url)
       and (:status::text is null or :status = case when e.status = 'disabled' then 'disabled' else s.status end)
       and (:before::uuid is null or s.id < :before::uuid)
     order by s.id desc
     limit :limit`
  const { service = null, event = null, status = null, url = null } = query
  const bindings = {
    workspaceId,
    service,
    event,
    status,
    url,
    before: pageStart(query),
    limit: query.limit + 1,
  }
  return toPage(await rows(db, sql, bindings), query.limit)
}

export type ChangedSubscription = Subscription & {
  createdVersion: number
  isDeleted: boolean
  /** Encrypted header values and password of the endpoint. */
  secrets: string | null
}

/** What changed after a version, deletions included: all that a process with an older picture has to read. */
export async function listChangedSince(
  db: Db,
  workspaceId: string,
  version: number,
): Promise<ChangedSubscription[]> {
  const sql = /* sql */ `
    select ${columns}, s.created_version as "createdVersion", s.deleted_at is not null as "isDeleted", e.secrets
      ${tables}
     where s.workspace_id = :workspaceId
       and s.changed_version > :version
       and (:version > 0 or s.deleted_at is null)`
  return rows(db, sql, { workspaceId, version })
}

/** The encrypted header values and password of an endpoint, for a change that keeps some of them. */
export async function findSecrets(db: Db, workspaceId: string, endpointId: string): Promise<string | null> {
  const sql = /* sql */ `select secrets from endpoints where workspace_id = :workspaceId and id = :endpointId`
  return (await firstRow<{ secrets: string | null }>(db, sql, { workspaceId, endpointId }))?.secrets ?? null
}
