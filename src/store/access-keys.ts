/** Access keys: only the SHA-256 of a key's secret is kept. */
import type { AccessKey, Owner } from '../domain/tenancy.ts'
import { affected, firstRow, pageStart, rows, toPage, type Db, type Page, type PageQuery } from './db.ts'

const columns = `id, organization_id as "organizationId", workspace_id as "workspaceId", name, scopes, hint,
  expires_at as "expiresAt", created_at as "createdAt"`

export type NewAccessKey = Owner & {
  id: string
  name: string
  scopes: string[]
  hint: string
  secretSha256: Buffer
  expiresAt: Date | null
}

export async function insert(db: Db, key: NewAccessKey): Promise<AccessKey> {
  const sql = /* sql */ `
    insert into access_keys (id, organization_id, workspace_id, name, scopes, hint, secret_sha256, expires_at)
    values (:id, :organizationId, :workspaceId, :name, :scopes, :hint, :secretSha256, :expiresAt)
    returning ${columns}`
  return (await firstRow<AccessKey>(db, sql, key))!
}

export async function list(db: Db, owner: Owner, query: PageQuery): Promise<Page<AccessKey>> {
  const sql = /* sql */ `
    select ${columns}
      from access_keys
     where organization_id = :organizationId
       and workspace_id is not distinct from :workspaceId::uuid
       and revoked_at is null
       and (:before::uuid is null or id < :before::uuid)
     order by id desc
     limit :limit`
  return toPage(
    await rows(db, sql, { ...owner, before: pageStart(query), limit: query.limit + 1 }),
    query.limit,
  )
}

/**
 * The key whose secret has this digest, if it may be used now. The look-up is by digest and not by the secret,
 * so its timing tells nothing about any secret.
 */
export async function findBySecret(db: Db, secretSha256: Buffer): Promise<AccessKey | undefined> {
  const sql = /* sql */ `
    select k.id, k.organization_id as "organizationId", k.workspace_id as "workspaceId", k.name, k.scopes, k.hint,
           k.expires_at as "expiresAt", k.created_at as "createdAt"
      from access_keys k
      join organizations o on o.id = k.organization_id and o.deleted_at is null
      left join workspaces w on w.id = k.workspace_id
     where k.secret_sha256 = :secretSha256
       and k.revoked_at is null
       and (k.expires_at is null or k.expires_at > now())
       and (k.workspace_id is null or w.deleted_at is null)`
  return firstRow(db, sql, { secretSha256 })
}

export async function revoke(db: Db, owner: Owner, id: string): Promise<boolean> {
  const sql = /* sql */ `
    update access_keys
       set revoked_at = now()
     where id = :id
       and organization_id = :organizationId
       and workspace_id is not distinct from :workspaceId::uuid
       and revoked_at is null`
  return (await affected(db, sql, { ...owner, id })) > 0
}
