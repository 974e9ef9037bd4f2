/**
 * The connection to PostgreSQL and what every store file needs: typed rows, pages, migrations.
 */
import { strict as assert } from 'node:assert'
import { hash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import knexPackage, { type Knex } from 'knex'
import pg from 'pg'
import { AppError } from '../errors.ts'
import { isUuid } from '../ids.ts'

/** The pool or a transaction: every store function takes one, so that its caller decides what is atomic. */
export type Db = Knex

export type DbOptions = {
  url: string
  connectionsMax: number
  /** Shown in pg_stat_activity, so that an operator sees which process holds a connection. */
  applicationName: string
  /** An idle connection that breaks; it is replaced at the next use, so this is only to be logged. */
  onError: (error: Error) => void
  /** What knex would otherwise print past the log. */
  onMessage?: (message: string) => void
}

/** Longest wait for a free connection; past it the caller hears 503 instead of hanging. */
const acquireTimeoutMs = 5_000

/** Longest run of one statement: far above any of ours, so what reaches it is a lock or a dead database. */
const statementTimeoutMs = 15_000

// int8: our counters stay far below 2^53, and a string in their place breaks arithmetic silently.
pg.types.setTypeParser(pg.types.builtins.INT8, Number)

export function createDb(options: DbOptions): Db {
  const db = knexPackage({
    client: 'pg',
    connection: {
      connectionString: options.url,
      application_name: options.applicationName,
      statement_timeout: statementTimeoutMs,
      keepAlive: true,
    },
    pool: {
      min: 0,
      max: options.connectionsMax,
      afterCreate(connection: pg.Client, done: (error: Error | null, connection: pg.Client) => void) {
        // Without a listener the error of an idle connection ends the process.
        connection.on('error', options.onError)
        done(null, connection)
      },
    },
    acquireConnectionTimeout: acquireTimeoutMs,
    ...(options.onMessage === undefined ? {} : { log: knexLog(options.onMessage) }),
  })
  return db
}

type Bindings = Record<string, unknown>

function knexLog(onMessage: (message: string) => void): Knex.Logger {
  const say = (message: unknown) => onMessage(String(message))
  return { warn: say, error: say, deprecate: say, debug: () => {} }
}

export async function rows<Row>(db: Db, sql: string, bindings: Bindings = {}): Promise<Row[]> {
  return (await run<Row>(db, sql, bindings)).rows
}

export async function firstRow<Row>(db: Db, sql: string, bindings: Bindings = {}): Promise<Row | undefined> {
  return (await run<Row>(db, sql, bindings)).rows[0]
}

/** How many rows a statement changed. */
export async function affected(db: Db, sql: string, bindings: Bindings = {}): Promise<number> {
  return (await run(db, sql, bindings)).rowCount ?? 0
}

/**
 * Runs a statement of the hot path, prepared once per connection: parsing and planning it each time costs more than
 * small batches of rows do. For statements whose plan does not depend on their values.
 */
export async function runPrepared<Row = unknown>(db: Db, sql: string, bindings: Bindings): Promise<Row[]> {
  const positional = toPositional({ sql, bindings })
  const result: { rows: Row[] } = await db
    .raw(positional.sql, positional.values)
    .options({ name: preparedName(positional.sql) })
  return result.rows
}

const preparedNames = new Map<string, string>()

/** The name under which a statement is prepared: the same in every process, and another when its text changes. */
export function preparedName(sql: string): string {
  let name = preparedNames.get(sql)
  if (name === undefined) preparedNames.set(sql, (name = `hookseal_${hash('sha1', sql).slice(0, 24)}`))
  return name
}

/** A statement that is not run alone: see `enqueueMatches` in queue/queue.ts. */
export type Statement = { sql: string; bindings: Bindings }

type Parsed = { sql: string; names: string[] }
const parsedStatements = new Map<string, Parsed>()

/**
 * Runs a statement with `:name` bindings. Knex has named bindings of its own, but takes the `:id:` in
 * `:id::uuid` for an identifier, and casts are how our SQL stays readable.
 */
async function run<Row>(db: Db, sql: string, bindings: Bindings) {
  const positional = toPositional({ sql, bindings })
  const result: { rows: Row[]; rowCount: number | null } = await db.raw(positional.sql, positional.values)
  return result
}

/** The statement as knex takes it: a `?` for each value. */
export function toPositional({ sql, bindings }: Statement): { sql: string; values: Knex.Value[] } {
  let parsed = parsedStatements.get(sql)
  if (parsed === undefined) parsedStatements.set(sql, (parsed = parse(sql)))
  const values = parsed.names.map(name => {
    const value = bindings[name]
    assert(value !== undefined, `the statement needs a value for :${name}`)
    return value as Knex.Value
  })
  return { sql: parsed.sql, values }
}

function parse(sql: string): Parsed {
  const names: string[] = []
  const positional = sql.replace(/(?<!:):([a-z]\w*)/gi, (_, name: string) => {
    names.push(name)
    return '?'
  })
  return { sql: positional, names }
}

/** The conditions of PostgreSQL that the code tells apart (its manual, appendix A). */
export const pgCodes = {
  serializationFailure: '40001',
  deadlockDetected: '40P01',
  lockNotAvailable: '55P03',
  notNullViolation: '23502',
} as const

export function pgCode(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined
}

/** The transaction lost a race and may simply be run again. */
export function isTransient(error: unknown): boolean {
  const code = pgCode(error)
  return code === pgCodes.serializationFailure || code === pgCodes.deadlockDetected
}

/** pg gives a connection that breaks under a statement no code, and knex puts the statement before its message. */
const lostConnection = /Connection terminated|timeout expired|has encountered a connection error/

/** The database cannot be used just now: not reached, shutting down, read-only, out of space, or too busy. */
export function isUnavailable(error: unknown): boolean {
  if (error instanceof knexPackage.KnexTimeoutError) return true
  const code = pgCode(error) ?? (error as { code?: unknown } | undefined)?.code
  if (typeof code !== 'string') return lostConnection.test((error as Error | undefined)?.message ?? '')
  return /^(08|53|57P|25006|55P03|40001|40P01|57014|ECONN|EPIPE|ENOENT|ETIMEDOUT|EAI_)/.test(code)
}

/** One page of a list that is sorted by id, newest first. */
export type PageQuery = { limit: number; pageToken?: string | undefined }
export type Page<Item> = { results: Item[]; nextPageToken?: string }

const pageTokenPrefix = 'before:'

/** The id a page starts after, or null for the first page. Throws invalid_page_token. */
export function pageStart(query: PageQuery): string | null {
  if (query.pageToken === undefined) return null
  const text = Buffer.from(query.pageToken, 'base64url').toString('latin1')
  const id = text.slice(pageTokenPrefix.length)
  if (!text.startsWith(pageTokenPrefix) || !isUuid(id)) {
    throw new AppError(
      'invalid_page_token',
      'pageToken: take it unchanged from nextPageToken of the page before.',
      {
        faults: [{ pointer: '?pageToken', detail: 'is not a token of this list' }],
      },
    )
  }
  return id
}

/** Cuts a list read with `limit + 1` into a page: the extra row only tells that there is another page. */
export function toPage<Item extends { id: string }>(items: Item[], limit: number): Page<Item> {
  if (items.length <= limit) return { results: items }
  const results = items.slice(0, limit)
  const last = results[limit - 1]!
  return { results, nextPageToken: Buffer.from(pageTokenPrefix + last.id).toString('base64url') }
}

const migrationsDirectory = new URL('../../migrations/', import.meta.url)

/** Migration names carry no extension, so that it does not matter what runs them. */
const migrationSource: Knex.MigrationSource<string> = {
  async getMigrations() {
    const files = await readdir(migrationsDirectory)
    return files.filter(file => /^\d{4}-.*\.ts$/.test(file)).sort()
  },
  getMigrationName: file => file.replace(/\.ts$/, ''),
  getMigration: file => import(new URL(file, migrationsDirectory).href) as Promise<Knex.Migration>,
}

/** Any fixed number serves: it only has to be the same in every process. */
const startLock = 8_236_114

/**
 * Brings the schema up to date. Many processes may start at once: one works, the others wait for it.
 * Everything that has to happen once per start goes into `alsoDo`, under the same lock.
 */
export async function migrate(db: Db, alsoDo: () => Promise<void>): Promise<void> {
  await db.transaction(async trx => {
    await trx.raw('set local statement_timeout = 0')
    await trx.raw('select pg_advisory_xact_lock(?)', [startLock])
    await db.migrate.latest({
      migrationSource,
      tableName: 'migrations',
      disableMigrationsListValidation: true,
    })
    await alsoDo()
  })
}

/** How far the database's clock is ahead of this machine's, in milliseconds. */
export async function clockOffsetMs(db: Db): Promise<number> {
  // In a transaction, so that the wait for a connection is over before the clocks are compared.
  return db.transaction(async trx => {
    const askedAt = Date.now()
    const sql = 'select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms'
    const row = await firstRow<{ ms: number }>(trx, sql)
    return row!.ms - (askedAt + Date.now()) / 2
  })
}

/** Takes a lock of the transaction, if nobody else has it. */
export async function tryLock(trx: Db, lock: number): Promise<boolean> {
  const row = await firstRow<{ isLocked: boolean }>(
    trx,
    'select pg_try_advisory_xact_lock(:lock) as "isLocked"',
    { lock },
  )
  return row!.isLocked
}

/** Ends what waits longer than this for a row's lock in the transaction with `pgCodes.lockNotAvailable`. */
export async function limitLockWait(trx: Db, waitMs: number): Promise<void> {
  await rows(trx, `select set_config('lock_timeout', :waitMs, true)`, { waitMs: String(waitMs) })
}

/** True while a migration of this version is missing: the process is not ready to serve. */
export async function hasPendingMigrations(db: Db): Promise<boolean> {
  const known = await migrationSource.getMigrations([])
  const done = await db<{ name: string }>('migrations').pluck('name')
  return known.some(file => !done.includes(migrationSource.getMigrationName(file)))
}
