/** Signing keys, encrypted by the keyring: nothing here can be used without ENCRYPTION_KEYS. */
import { uuidArray } from './arrays.ts'
import { rows, type Db } from './db.ts'

export type StoredSigningKey = {
  id: string
  endpointId: string
  encrypted: string
  /** Until when a replaced key still signs; null for the current one. */
  expiresAt: Date | null
}

export async function insert(
  db: Db,
  workspaceId: string,
  key: { id: string; endpointId: string; encrypted: string },
): Promise<void> {
  const sql = /* sql */ `
    insert into signing_keys (id, workspace_id, endpoint_id, encrypted)
    values (:id, :workspaceId, :endpointId, :encrypted)`
  await rows(db, sql, { workspaceId, ...key })
}

/** Lets the keys that sign now do so until `expiresAt` at the longest, and forgets those whose time is over. */
export async function retire(
  db: Db,
  workspaceId: string,
  endpointId: string,
  expiresAt: Date,
): Promise<void> {
  const retireSql = /* sql */ `
    update signing_keys
       set expires_at = :expiresAt
     where workspace_id = :workspaceId and endpoint_id = :endpointId
       and (expires_at is null or expires_at > :expiresAt)`
  const forgetSql = /* sql */ `
    delete from signing_keys
     where workspace_id = :workspaceId and endpoint_id = :endpointId and expires_at <= now()`
  await rows(db, retireSql, { workspaceId, endpointId, expiresAt })
  await rows(db, forgetSql, { workspaceId, endpointId })
}

/** The keys of these endpoints that may sign, newest first. */
export async function listUsable(
  db: Db,
  workspaceId: string,
  endpointIds: readonly string[],
): Promise<StoredSigningKey[]> {
  const sql = /* sql */ `
    select id, endpoint_id as "endpointId", encrypted, expires_at as "expiresAt"
      from signing_keys
     where workspace_id = :workspaceId
       and endpoint_id = any(:endpointIds::uuid[])
       and (expires_at is null or expires_at > now())
     order by id desc`
  return rows(db, sql, { workspaceId, endpointIds: uuidArray(endpointIds) })
}
