/** Organizations: the customers of the operator. */
import type { Organization } from '../domain/tenancy.ts'
import { firstRow, pageStart, rows, toPage, type Db, type Page, type PageQuery } from './db.ts'

const columns = `id, name, created_at as "createdAt", updated_at as "updatedAt"`

export async function insert(db: Db, id: string, name: string): Promise<Organization> {
  const sql = /* sql */ `insert into organizations (id, name) values (:id, :name) returning ${columns}`
  return (await firstRow<Organization>(db, sql, { id, name }))!
}

export async function list(db: Db, query: PageQuery): Promise<Page<Organization>> {
  const sql = /* sql */ `
    select ${columns}
      from organizations
     where deleted_at is null
       and (:before::uuid is null or id < :before::uuid)
     order by id desc
     limit :limit`
  return toPage(await rows(db, sql, { before: pageStart(query), limit: query.limit + 1 }), query.limit)
}

export async function find(db: Db, id: string): Promise<Organization | undefined> {
  const sql = /* sql */ `select ${columns} from organizations where id = :id and deleted_at is null`
  return firstRow(db, sql, { id })
}

/** Keeps the organization from being removed until the transaction ends. False when it is gone already. */
export async function hold(db: Db, id: string): Promise<boolean> {
  const sql = /* sql */ `select id from organizations where id = :id and deleted_at is null for share`
  return (await firstRow(db, sql, { id })) !== undefined
}

export async function update(db: Db, id: string, name: string): Promise<Organization | undefined> {
  const sql = /* sql */ `
    update organizations
       set name = :name, updated_at = now()
     where id = :id and deleted_at is null
    returning ${columns}`
  return firstRow(db, sql, { id, name })
}

/** Marks it removed; what it owns is removed by the caller, in the same transaction. */
export async function remove(db: Db, id: string): Promise<boolean> {
  const sql = /* sql */ `
    update organizations set deleted_at = now() where id = :id and deleted_at is null returning id`
  return (await firstRow(db, sql, { id })) !== undefined
}
