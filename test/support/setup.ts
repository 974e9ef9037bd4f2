/**
 * What mocha does once around a whole run: one PostgreSQL server for all tests, and in it one migrated database that
 * every test process copies (database.ts). Who sets DATABASE_URL has the tests run on that server instead; its role
 * must be allowed to create databases, and what the run made is dropped again.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { createDb, migrate } from '#src/store/db.ts'
import { databaseUrlOf, runVariable, serverVariable, templateOf, withServer } from '#test/support/database.ts'

let server: ChildProcess | undefined

export async function mochaGlobalSetup(): Promise<void> {
  const run = `hookseal_test_${randomBytes(4).toString('hex')}`
  process.env[runVariable] = run
  process.env[serverVariable] = process.env['DATABASE_URL'] ?? (await startServer())
  await withServer(client => client.query(`create database ${templateOf(run)}`))
  await migrateTemplate(run)
}

export async function mochaGlobalTeardown(): Promise<void> {
  if (server === undefined) return await dropDatabases(process.env[runVariable]!)
  server.disconnect()
  await once(server, 'exit')
}

/** A process of its own, because it must end also when this one is killed. */
async function startServer(): Promise<string> {
  server = fork(fileURLToPath(new URL('./database-server.ts', import.meta.url)), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    // A group of its own: Ctrl-C reaches the tests alone, which then end in order.
    detached: true,
  })
  const [message] = (await Promise.race([
    once(server, 'message'),
    once(server, 'exit').then(() => {
      throw new Error('The database server of the tests ended before it was ready; its output is above.')
    }),
  ])) as [string]
  return message
}

async function migrateTemplate(run: string): Promise<void> {
  const db = createDb({
    url: databaseUrlOf(templateOf(run)),
    connectionsMax: 4,
    applicationName: 'tests',
    onError: error => {
      throw error
    },
  })
  await migrate(db, async () => {})
  await db.destroy()
}

async function dropDatabases(run: string): Promise<void> {
  await withServer(async client => {
    const { rows } = await client.query<{ name: string }>(
      'select datname as name from pg_database where starts_with(datname, $1)',
      [run],
    )
    for (const { name } of rows) await client.query(`drop database ${name} with (force)`)
  })
}
