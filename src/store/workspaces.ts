/** Workspaces: the unit of isolation, and the version by which changes of subscriptions are ordered. */
import type { Workspace } from '../domain/tenancy.ts'
import { uuidArray } from './arrays.ts'
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

const columns = `id, organization_id as "organizationId", name, created_at as "createdAt", updated_at as "updatedAt"`

export async function insert(
  db: Db,
  workspace: { id: string; organizationId: string; name: string },
): Promise<Workspace> {
  const sql = /* sql */ `
    insert into workspaces (id, organization_id, name)
    values (:id, :organizationId, :name)
    returning ${columns}`
  return (await firstRow<Workspace>(db, sql, workspace))!
}

export async function list(db: Db, organizationId: string, query: PageQuery): Promise<Page<Workspace>> {
  const sql = /* sql */ `
    select ${columns}
      from workspaces
     where organization_id = :organizationId
       and deleted_at is null
       and (:before::uuid is null or id < :before::uuid)
     order by id desc
     limit :limit`
  const bindings = { organizationId, before: pageStart(query), limit: query.limit + 1 }
  return toPage(await rows(db, sql, bindings), query.limit)
}

export async function find(db: Db, workspaceId: string): Promise<Workspace | undefined> {
  const sql = /* sql */ `select ${columns} from workspaces where id = :workspaceId and deleted_at is null`
  return firstRow(db, sql, { workspaceId })
}

export async function update(
  db: Db,
  organizationId: string,
  workspaceId: string,
  name: string,
): Promise<Workspace | undefined> {
  const sql = /* sql */ `
    update workspaces
       set name = :name, updated_at = now()
     where id = :workspaceId and organization_id = :organizationId and deleted_at is null
    returning ${columns}`
  return firstRow(db, sql, { organizationId, workspaceId, name })
}

export async function remove(db: Db, organizationId: string, workspaceId: string): Promise<boolean> {
  const sql = /* sql */ `
    update workspaces
       set deleted_at = now(), version = version + 1
     where id = :workspaceId and organization_id = :organizationId and deleted_at is null`
  return (await affected(db, sql, { organizationId, workspaceId })) > 0
}

export async function removeOfOrganization(db: Db, organizationId: string): Promise<void> {
  const sql = /* sql */ `
    update workspaces
       set deleted_at = now(), version = version + 1
     where organization_id = :organizationId and deleted_at is null`
  await rows(db, sql, { organizationId })
}

/**
 * Takes the next version of the workspace. Comes first in every transaction that changes what events are
 * matched against: the row lock orders those changes, so a limit that is counted after it is exact.
 * Undefined when the workspace is gone.
 */
export async function bumpVersion(db: Db, workspaceId: string): Promise<number | undefined> {
  const sql = /* sql */ `
    update workspaces
       set version = version + 1
     where id = :workspaceId and deleted_at is null
    returning version`
  return (await firstRow<{ version: number }>(db, sql, { workspaceId }))?.version
}

export type WorkspaceVersion = { id: string; version: number; isDeleted: boolean }

export async function listVersions(db: Db, workspaceIds: readonly string[]): Promise<WorkspaceVersion[]> {
  const sql = /* sql */ `
    select id, version, deleted_at is not null as "isDeleted" from workspaces where id = any(:ids::uuid[])`
  return runPrepared(db, sql, { ids: uuidArray(workspaceIds) })
}
