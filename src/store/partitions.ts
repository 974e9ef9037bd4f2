/** The daily partitions of events, deliveries and attempts: made ahead of time. */
import { firstIdAt } from '../ids.ts'
import { rows, type Db } from './db.ts'

const partitionedTables = ['events', 'deliveries', 'attempts'] as const

const dayMs = 86_400_000

/** Days made ahead: longer than any holiday over which nobody looks at a failing maintenance. */
export const daysAhead = 14

/** Makes the partitions from yesterday (an id may be a clock's error older) to `daysAhead`, where missing. */
export async function ensurePartitions(db: Db, now: Date): Promise<void> {
  const existing = await listPartitions(db)
  const today = Math.floor(now.getTime() / dayMs)
  for (let day = today - 1; day <= today + daysAhead; day++) {
    const from = new Date(day * dayMs)
    const to = new Date((day + 1) * dayMs)
    for (const table of partitionedTables) {
      const name = `${table}_${from.toISOString().slice(0, 10).replaceAll('-', '')}`
      if (existing.has(name)) continue
      // DDL takes no bindings; name and bounds are made of digits only.
      await db.raw(
        `create table if not exists ${name} partition of ${table} for values from ('${firstIdAt(from)}') to ('${firstIdAt(to)}')`,
      )
    }
  }
}

async function listPartitions(db: Db): Promise<Set<string>> {
  const sql = /* sql */ `
    select c.relname as name
      from pg_inherits i
      join pg_class c on c.oid = i.inhrelid
     where i.inhparent in ('events'::regclass, 'deliveries'::regclass, 'attempts'::regclass)`
  return new Set((await rows<{ name: string }>(db, sql)).map(row => row.name))
}
