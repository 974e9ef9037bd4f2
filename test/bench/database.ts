/**
 * A PostgreSQL of the benchmark's own, with its durable defaults, in a temporary directory that goes when this
 * process does. It is a process so that both go even when the benchmark is killed.
 */

import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres, type EmbeddedPostgres } from '#src/postgres/start.ts'
import { offer } from './child.ts'

let directory: string | undefined
let postgres: EmbeddedPostgres | undefined

const commands = {
  /** Starts a new, empty database; `dataDir` is for the services that use it. */
  async start(): Promise<{ url: string; dataDir: string }> {
    directory = await mkdtemp(join(tmpdir(), 'hookseal-bench-'))
    // As root the server runs as another user, who must be able to pass through.
    await chmod(directory, 0o711)
    postgres = await startPostgres({ dataDir: join(directory, 'database'), log: line => console.error(line) })
    return { url: postgres.url, dataDir: join(directory, 'service') }
  },
}

export type Database = typeof commands

async function stop(): Promise<void> {
  await postgres?.stop()
  if (directory !== undefined) await rm(directory, { recursive: true, force: true })
}

offer(commands, stop)
