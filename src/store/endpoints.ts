/** Endpoints: where deliveries go. Reads of them come with their subscriptions (store/webhook-subscriptions.ts). */
import type { SuccessStatus } from '../domain/outcome.ts'
import type { RetryPolicy } from '../domain/retry.ts'
import type { Method } from '../domain/subscription.ts'
import { affected, rows, type Db } from './db.ts'

/** The columns that an owner sets; `secrets` is encrypted by the caller. */
export type EndpointColumns = {
  url: string
  method: Method
  params: Record<string, string>
  headerNames: string[]
  authUsername: string | null
  secrets: string | null
  signatures: string[]
  timeoutMs: number | null
  retryPolicy: RetryPolicy | null
  successStatus: SuccessStatus
}

export async function insert(
  db: Db,
  workspaceId: string,
  id: string,
  endpoint: EndpointColumns,
): Promise<void> {
  const sql = /* sql */ `
    insert into endpoints
      (id, workspace_id, url, method, params, header_names, auth_username, secrets, signatures, timeout_ms,
       retry_policy, success_status, status)
    values
      (:id, :workspaceId, :url, :method, :params::jsonb, :headerNames, :authUsername, :secrets, :signatures, :timeoutMs,
       :retryPolicy::jsonb, :successStatus::jsonb, 'active')`
  await rows(db, sql, { id, workspaceId, ...encode(endpoint) })
}

export async function update(
  db: Db,
  workspaceId: string,
  id: string,
  endpoint: EndpointColumns,
): Promise<void> {
  const sql = /* sql */ `
    update endpoints
       set url = :url, method = :method, params = :params::jsonb, header_names = :headerNames,
           auth_username = :authUsername, secrets = :secrets, signatures = :signatures, timeout_ms = :timeoutMs,
           retry_policy = :retryPolicy::jsonb, success_status = :successStatus::jsonb, updated_at = now()
     where workspace_id = :workspaceId and id = :id`
  await rows(db, sql, { id, workspaceId, ...encode(endpoint) })
}

export async function isActive(db: Db, workspaceId: string, id: string): Promise<boolean> {
  const sql = /* sql */ `
    select id from endpoints where workspace_id = :workspaceId and id = :id and status = 'active'`
  return (await rows(db, sql, { workspaceId, id })).length > 0
}

/** True when the status changed. */
export async function setStatus(
  db: Db,
  workspaceId: string,
  id: string,
  status: 'active' | 'disabled',
  reason: string | null,
): Promise<boolean> {
  const sql = /* sql */ `
    update endpoints
       set status = :status, status_reason = :reason, updated_at = now()
     where workspace_id = :workspaceId and id = :id and status <> :status`
  return (await affected(db, sql, { workspaceId, id, status, reason })) > 0
}

function encode(endpoint: EndpointColumns) {
  return {
    ...endpoint,
    params: JSON.stringify(endpoint.params),
    retryPolicy: endpoint.retryPolicy === null ? null : JSON.stringify(endpoint.retryPolicy),
    successStatus: JSON.stringify(endpoint.successStatus),
  }
}
