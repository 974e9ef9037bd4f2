/**
 * The PostgreSQL server of a test run, in a temporary folder. It says its URL to the process that started it, and goes,
 * with all its data, when that process does, however it went.
 */
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startPostgres } from '#src/postgres/start.ts'

const gone = new Promise<void>(resolve => process.once('disconnect', resolve))
const folder = await mkdtemp(join(tmpdir(), 'hookseal-test-'))
// As root the server runs as another user, who must be able to pass through.
await chmod(folder, 0o711)
try {
  const postgres = await startPostgres({
    dataDir: folder,
    log: () => {},
    // What a test run has written is of no use after a power cut.
    settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' },
  })
  process.send?.(postgres.url)
  await gone
  await postgres.stop()
} finally {
  await rm(folder, { recursive: true, force: true })
}
process.exit()
