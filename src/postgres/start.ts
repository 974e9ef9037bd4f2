/**
 * Our own PostgreSQL server, for those who brought none: from an empty folder to a URL, and back to a clean
 * end. Nothing here listens to this process's signals or its exit; who starts the server stops it, last.
 *
 * In the data folder: `postgres` (the cluster), `postgres.password`, `postgres.log`, `postgres.lock` and
 * `postgres.owner` (the pid that holds the lock). Its tuning is settings.ts; who needs another brings a
 * PostgreSQL of their own.
 */
import type { ChildProcess } from 'node:child_process'
import { mkdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { type Binaries, findBinaries, restoreLibraryLinks } from './binaries.ts'
import { clusterDirOf, findClusterOwner, prepareCluster, roleName } from './cluster.ts'
import { bringYourOwn, PostgresFault } from './fault.ts'
import { lockDataDir } from './lock.ts'
import { choosePort, endChild, endLeftBehind, launch, rotateLog } from './postmaster.ts'
import { chooseRunAs } from './run-as.ts'
import { serverSettings } from './settings.ts'

export type EmbeddedPostgres = {
  /** `postgres://…`, with the password: TCP on loopback, database `hookseal`, a role that is no superuser. */
  url: string
  /** Of the server process, for logs; it ends by `stop`. */
  pid: number
  /**
   * Ends the server (30 s to write what is in memory, then at once; nothing committed is lost either way) and frees
   * the data folder. Call it also after an unexpected `exited`. Calls after the first give the same promise.
   */
  stop(): Promise<void>
  /** Settles when the server has ended; never rejects. `requested` is false when `stop` was not called before. */
  exited: Promise<PostgresExit>
}

export type PostgresExit = { requested: boolean; code: number | null; signal: NodeJS.Signals | null }

export type StartOptions = {
  /** The folder that holds our things; made if missing. One service at a time. */
  dataDir: string
  log: (line: string) => void
  /** Further server settings (`-c`), stronger than our own, for instance `{ fsync: 'off' }` in tests. */
  settings?: Readonly<Record<string, string>>
  /** Default: the port of the last run if it is free, else any free one. */
  port?: number
}

/**
 * Starts PostgreSQL on `dataDir`; the first time it makes the cluster, the role and the database. A server that a
 * killed service left running is stopped first; a crash of any part is recovered from, no matter in which state.
 *
 * @throws PostgresFault with what to do; nothing is left running then.
 */
export async function startPostgres(options: StartOptions): Promise<EmbeddedPostgres> {
  const binaries = findBinaries()
  const dataDir = await makeDataDir(options.dataDir)
  const lock = lockDataDir(dataDir)
  try {
    const { child, url } = await startServer({ ...options, dataDir }, binaries)
    return handle(child, url, () => lock.release())
  } catch (error) {
    lock.release()
    throw explain(error, dataDir)
  }
}

async function makeDataDir(dataDir: string): Promise<string> {
  try {
    // Root's server is another user, who must pass through; what is secret in there has a mode of its own.
    await mkdir(dataDir, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 })
    // One name for one folder: a server left behind is recognised by it.
    return await realpath(dataDir)
  } catch (cause) {
    throw new PostgresFault(
      'data_dir_unusable',
      `The data folder cannot be made: ${(cause as Error).message}.`,
      { cause },
    )
  }
}

/** A file that may not be touched, or a full disk, is for the operator to mend; the rest is told as it is. */
function explain(error: unknown, dataDir: string): unknown {
  const { code, message } = error as NodeJS.ErrnoException
  if (!['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT'].includes(code ?? '')) return error
  return new PostgresFault(
    'data_dir_unusable',
    `The data folder ${dataDir} cannot be used: ${message}. It needs room on its disk, and all in it must belong to the user ` +
      `who runs the service (chown -R ${process.getuid?.()} ${dataDir}).`,
    { cause: error },
  )
}

type Server = { child: ChildProcess; url: string }

async function startServer(options: StartOptions, binaries: Binaries): Promise<Server> {
  const { dataDir, log, settings = {} } = options
  const clusterDir = clusterDirOf(dataDir)
  await restoreLibraryLinks(binaries.libDir)
  const { runAs, version } = await chooseRunAs({
    program: binaries.postgres,
    folder: dataDir,
    cluster: await findClusterOwner(clusterDir),
  })
  await endLeftBehind(clusterDir, log)
  const password = await prepareCluster({ dataDir, binaries, runAs, version, settings, log })
  const logFile = join(dataDir, 'postgres.log')
  await rotateLog(logFile)

  for (let launchesCount = 1; ; launchesCount += 1) {
    const port = await choosePort(clusterDir, options.port)
    const launched = await launch({
      runAs,
      program: binaries.postgres,
      clusterDir,
      settings: serverSettings({ port, overrides: settings, platform: process.platform }),
      logFile,
      log,
    })
    if (launched.kind === 'ready') {
      const url = `postgres://${roleName}:${password}@127.0.0.1:${port}/${roleName}`
      await checkLogin(url, launched.child, dataDir)
      return { child: launched.child, url }
    }
    if (launchesCount === launchesCountMax || !passes.test(launched.output)) {
      throw new PostgresFault(
        'start_failed',
        `PostgreSQL did not start. It wrote:\n${launched.output}\n${bringYourOwn}`,
      )
    }
    await sleep(launchesCount * 100)
    await endLeftBehind(clusterDir, log)
  }
}

const launchesCountMax = 10

/**
 * What passes by itself: another program took the port between our look and the server's; the processes of a server
 * that was killed are about to notice; a server of a killed service was just coming up when we looked for it.
 */
const passes = /could not bind|pre-existing shared memory block|lock file "postmaster.pid" already exists/

/** The server is up; whether we may log in decides whether it is of use. */
async function checkLogin(url: string, child: ChildProcess, dataDir: string): Promise<void> {
  const client = new Client({ connectionString: url })
  // A server that dies after the login would otherwise end this process by an unheard event; `exited` tells of it.
  client.on('error', () => {})
  try {
    await client.connect()
    await client.end()
  } catch (cause) {
    await endChild(child)
    throw new PostgresFault(
      'start_failed',
      `PostgreSQL runs, but refuses the login: ${(cause as Error).message}. If postgres.password in ${dataDir} is not the ` +
        "cluster's own, remove that file: the next start sets a new password.",
      { cause },
    )
  }
}

function handle(child: ChildProcess, url: string, release: () => void): EmbeddedPostgres {
  let stopped: Promise<void> | undefined
  const exited = new Promise<PostgresExit>(resolve => {
    const settle = () =>
      resolve({ requested: stopped !== undefined, code: child.exitCode, signal: child.signalCode })
    if (child.exitCode !== null || child.signalCode !== null) settle()
    else child.once('exit', settle)
  })
  const stop = () => (stopped ??= endChild(child).then(release))
  return { url, pid: child.pid ?? 0, stop, exited }
}
