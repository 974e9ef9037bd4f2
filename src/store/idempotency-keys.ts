/** Idempotency keys: which events a key made, and of what. In a table of its own, because a unique index cannot
 * span the partitions of events. */
import { byteaArray, textArray } from './arrays.ts'
import { affected, rows, type Db } from './db.ts'

export type IdempotencyKey = { key: string; bodySha256: Buffer; eventIds: string[] }

/**
 * Takes the keys that are free, and returns those. Waits for a transaction that is just taking the same key.
 * The caller sorts them: two transactions that take the same keys in opposite order would deadlock.
 */
export async function claim(
  db: Db,
  workspaceId: string,
  keys: readonly IdempotencyKey[],
): Promise<Set<string>> {
  const sql = /* sql */ `
    insert into idempotency_keys (workspace_id, key, body_sha256, event_ids)
    select :workspaceId::uuid, key, digest, event_ids::uuid[]
      from unnest(:keys::text[], :digests::bytea[], :eventIds::text[]) as k (key, digest, event_ids)
    on conflict do nothing
    returning key`
  const claimed = await rows<{ key: string }>(db, sql, {
    workspaceId,
    keys: textArray(keys.map(key => key.key)),
    digests: byteaArray(keys.map(key => key.bodySha256)),
    eventIds: textArray(keys.map(key => `{${key.eventIds.join()}}`)),
  })
  return new Set(claimed.map(row => row.key))
}

export async function listByKeys(
  db: Db,
  workspaceId: string,
  keys: readonly string[],
): Promise<IdempotencyKey[]> {
  const sql = /* sql */ `
    select key, body_sha256 as "bodySha256", event_ids as "eventIds"
      from idempotency_keys
     where workspace_id = :workspaceId and key = any(:keys::text[])`
  return rows(db, sql, { workspaceId, keys: textArray(keys) })
}

/** Gives keys back that were claimed in this very transaction. */
export async function release(db: Db, workspaceId: string, keys: readonly string[]): Promise<void> {
  const sql = /* sql */ `
    delete from idempotency_keys where workspace_id = :workspaceId and key = any(:keys::text[])`
  await rows(db, sql, { workspaceId, keys: textArray(keys) })
}

/** Forgets keys of every workspace that are older than this; at most `limit` of them. */
export async function removeExpired(db: Db, olderThanSeconds: number, limit: number): Promise<number> {
  const sql = /* sql */ `
    delete from idempotency_keys
     where (workspace_id, key) in (
       select workspace_id, key
         from idempotency_keys
        where created_at < now() - :olderThanSeconds * interval '1 second'
        order by created_at
        limit :limit)`
  return affected(db, sql, { olderThanSeconds, limit })
}
