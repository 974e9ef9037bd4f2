/** The daily partitions of events, deliveries and attempts: made ahead of time. */
import { firstIdAt } from '../ids.ts'
import { limitLockWait, rows, type Db } from './db.ts'

const partitionedTables = ['events', 'deliveries', 'attempts'] as const

const dayMs = 86_400_000

/** Any fixed number serves: it only has to be the same in every process, and no other lock's. */
const partitionLock = 8_236_116

/** Days made ahead: longer than any holiday over which nobody looks at a failing maintenance. */
export const daysAhead = 14

/** A partition waits no longer than this for its table; the next round tries again, two weeks ahead of need. */
const lockTimeoutMs = 1_000

/** Makes the partitions from yesterday (an id may be a clock's error older) to `daysAhead`, where missing. */
export async function ensurePartitions(db: Db, now: Date): Promise<void> {
  const existing = await listPartitions(db)
  const today = Math.floor(now.getTime() / dayMs)
  for (let day = today - 1; day <= today + daysAhead; day++) {
    for (const table of partitionedTables) {
      const name = `${table}_${new Date(day * dayMs).toISOString().slice(0, 10).replaceAll('-', '')}`
      if (!existing.has(name)) await addPartition(db, table, name, day)
    }
  }
}

/**
 * Makes the table first and attaches it then: `partition of` would lock the whole table against readers and writers,
 * an attachment lets both go on.
 */
async function addPartition(db: Db, table: string, name: string, day: number): Promise<void> {
  const [from, to] = [firstIdAt(new Date(day * dayMs)), firstIdAt(new Date((day + 1) * dayMs))]
  await db.transaction(async trx => {
    await limitLockWait(trx, lockTimeoutMs)
    // Two processes may be at it: the second waits here and finds it done. DDL takes no bindings; names and bounds are
    // made of digits only.
    await trx.raw('select pg_advisory_xact_lock(?)', [partitionLock])
    if ((await listPartitions(trx)).has(name)) return
    await trx.raw(`create table ${name} (like ${table} including all)`)
    await trx.raw(`alter table ${table} attach partition ${name} for values from ('${from}') to ('${to}')`)
  })
}

async function listPartitions(db: Db): Promise<Set<string>> {
  const sql = /* sql */ `
    select c.relname as name
      from pg_inherits i
      join pg_class c on c.oid = i.inhrelid
     where i.inhparent in ('events'::regclass, 'deliveries'::regclass, 'attempts'::regclass)`
  return new Set((await rows<{ name: string }>(db, sql)).map(row => row.name))
}
