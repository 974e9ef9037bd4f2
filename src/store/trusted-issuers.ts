/** Trusted issuers: whose signed tokens an organization or workspace accepts. */
import type { Owner, TrustedIssuer } from '../domain/tenancy.ts'
import { affected, firstRow, pageStart, rows, toPage, type Db, type Page, type PageQuery } from './db.ts'

const columns = `i.id, i.organization_id as "organizationId", i.workspace_id as "workspaceId", i.issuer, i.audience,
  i.jwks_url as "jwksUrl", i.jwks, i.algorithms, i.scopes, i.scope_claim as "scopeClaim", i.created_at as "createdAt"`

export type NewTrustedIssuer = Omit<TrustedIssuer, 'createdAt'>

export async function insert(db: Db, issuer: NewTrustedIssuer): Promise<TrustedIssuer> {
  const sql = /* sql */ `
    insert into trusted_issuers as i
      (id, organization_id, workspace_id, issuer, audience, jwks_url, jwks, algorithms, scopes, scope_claim)
    values
      (:id, :organizationId, :workspaceId, :issuer, :audience, :jwksUrl, :jwks::jsonb, :algorithms, :scopes, :scopeClaim)
    returning ${columns}`
  const jwks = issuer.jwks === null ? null : JSON.stringify(issuer.jwks)
  return (await firstRow<TrustedIssuer>(db, sql, { ...issuer, jwks }))!
}

export async function list(db: Db, owner: Owner, query: PageQuery): Promise<Page<TrustedIssuer>> {
  const sql = /* sql */ `
    select ${columns}
      from trusted_issuers i
     where i.organization_id = :organizationId
       and i.workspace_id is not distinct from :workspaceId::uuid
       and i.removed_at is null
       and (:before::uuid is null or i.id < :before::uuid)
     order by i.id desc
     limit :limit`
  return toPage(
    await rows(db, sql, { ...owner, before: pageStart(query), limit: query.limit + 1 }),
    query.limit,
  )
}

/**
 * Every trust in the issuer of a token, whoever gave it. Those of the named organization come first, then the oldest:
 * trusts that others gave, however many, cannot push them out of the list.
 */
export async function listByIssuer(
  db: Db,
  issuer: string,
  organizationId: string | null,
): Promise<TrustedIssuer[]> {
  const sql = /* sql */ `
    select ${columns}
      from trusted_issuers i
      join organizations o on o.id = i.organization_id and o.deleted_at is null
      left join workspaces w on w.id = i.workspace_id
     where i.issuer = :issuer
       and i.removed_at is null
       and (i.workspace_id is null or w.deleted_at is null)
     order by i.organization_id is not distinct from :organizationId::uuid desc, i.id
     limit 100`
  return rows(db, sql, { issuer, organizationId })
}

export async function remove(db: Db, owner: Owner, id: string): Promise<boolean> {
  const sql = /* sql */ `
    update trusted_issuers
       set removed_at = now()
     where id = :id
       and organization_id = :organizationId
       and workspace_id is not distinct from :workspaceId::uuid
       and removed_at is null`
  return (await affected(db, sql, { ...owner, id })) > 0
}
