/**
 * One service per data folder. The lock is an operating system's file lock, taken through SQLite because
 * Node has no call for it: the kernel drops it when the process ends, however it ends, and sees it across
 * containers that share a volume. A file that holds a pid can do neither; a pid is soon another program's,
 * and in a container it is the same after every start.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { PostgresFault } from './fault.ts'

export type Lock = {
  /** Lets the next service in. Safe to call twice. */
  release(): void
}

/**
 * Takes the data folder for this process until `release` or the process's end.
 *
 * @throws PostgresFault `data_dir_in_use` when it is taken, by this process too; `data_dir_unusable` when the
 *   lock file cannot be written.
 */
export function lockDataDir(dataDir: string): Lock {
  const ownerFile = join(dataDir, 'postgres.owner')
  const database = openExclusively(dataDir, ownerFile)
  locksHeld.add(database)
  // Only for the message to whoever comes second; the lock itself does not depend on it.
  writeFileSync(ownerFile, `${process.pid}\n`)
  return {
    release: () => {
      if (locksHeld.delete(database)) database.close()
    },
  }
}

/** Keeps the open files reachable: a garbage-collected one would be closed, and its lock lost. */
const locksHeld = new Set<DatabaseSync>()

const sqliteBusy = 5

function openExclusively(dataDir: string, ownerFile: string): DatabaseSync {
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(join(dataDir, 'postgres.lock'))
    // Nothing is ever written; without this SQLite would leave a journal file beside the lock.
    database.exec('pragma journal_mode = memory; begin exclusive')
    return database
  } catch (cause) {
    database?.close()
    if ((cause as { errcode?: number }).errcode === sqliteBusy) throw inUse(dataDir, ownerFile, cause)
    throw new PostgresFault(
      'data_dir_unusable',
      `The data folder ${dataDir} cannot be locked: ${(cause as Error).message}. It must be on a file system ` +
        'that can lock files, and writable by the user who runs the service.',
      { cause },
    )
  }
}

function inUse(dataDir: string, ownerFile: string, cause: unknown): PostgresFault {
  return new PostgresFault(
    'data_dir_in_use',
    `The data folder ${dataDir} is in use by another Hookseal process (pid ${readOwner(ownerFile)}). Stop that process, ` +
      `or give this one a folder of its own by DATA_DIR. Several processes can share a PostgreSQL of your own: set DATABASE_URL.`,
    { cause },
  )
}

function readOwner(ownerFile: string): string {
  try {
    return readFileSync(ownerFile, 'utf8').trim()
  } catch {
    // The holder has the lock but has not written its pid yet.
    return 'not known yet'
  }
}
