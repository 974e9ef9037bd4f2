/**
 * A database for tests: migrated, and shared by the tests of one process only. Each test makes an organization and a
 * workspace of its own in it, so tests need no cleaning, and each proves that it is not disturbed by others' rows.
 */
import assert from 'node:assert/strict'
import { Client } from 'pg'

/** Where the run's server is, and how its databases' names begin; set by setup.ts, inherited by test processes. */
export const serverVariable = 'HOOKSEAL_TEST_DATABASE'
export const runVariable = 'HOOKSEAL_TEST_RUN'

let database: Promise<{ url: string }> | undefined

/** The database of this process, made at the first call. It goes with the run, so nobody has to remove it. */
export function testDatabase(): Promise<{ url: string }> {
  return (database ??= create(String(process.pid)))
}

/** One more database, for tests of what belongs to a whole database: start-up, the queue, removal of old data. */
export async function ownDatabase(): Promise<{ url: string }> {
  return await create(`${process.pid}_${++ownCount}`)
}

let ownCount = 0

async function create(name: string): Promise<{ url: string }> {
  const run = variable(runVariable)
  const fullName = `${run}_${name}`
  await withServer(client => client.query(`create database ${fullName} template ${templateOf(run)}`))
  return { url: databaseUrlOf(fullName) }
}

export function templateOf(run: string): string {
  return `${run}_template`
}

export function databaseUrlOf(name: string): string {
  const url = new URL(variable(serverVariable))
  url.pathname = name
  return url.href
}

/** Runs statements on the server's own database: nobody may be connected to a template that is copied. */
export async function withServer<Result>(work: (client: Client) => Promise<Result>): Promise<Result> {
  const client = new Client({ connectionString: variable(serverVariable) })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

function variable(name: string): string {
  const value = process.env[name]
  assert(
    value !== undefined,
    `${name} is not set: run tests by mocha in the project's folder, which loads setup.ts`,
  )
  return value
}
