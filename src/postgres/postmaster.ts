/**
 * The server process (PostgreSQL calls it the postmaster): its pid file, how it is launched and awaited, and
 * how it is brought to an end, by us or after a service that was killed and left it behind.
 */
import type { ChildProcess } from 'node:child_process'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { open, readFile, rename, rm, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { PostgresFault } from './fault.ts'
import { type RunAs, startDetached } from './run-as.ts'

/** What became of a launch: a server that takes connections, or what it wrote before it gave up. */
export type Launch = { kind: 'ready'; child: ChildProcess } | { kind: 'ended'; output: string }

/**
 * Starts the server and waits until it takes connections. After a crash it first recovers from its WAL.
 *
 * @throws PostgresFault `start_failed` when it does neither, nor end, within five minutes.
 */
export async function launch(options: {
  runAs: RunAs
  program: string
  clusterDir: string
  settings: Readonly<Record<string, string>>
  logFile: string
  log: (line: string) => void
}): Promise<Launch> {
  const { runAs, program, clusterDir, settings, logFile, log } = options
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  await using output = await open(logFile, 'a', 0o600)
  const { size: outputFrom } = await output.stat()
  const child = startDetached(runAs, program, ['-D', clusterDir, ...flags], output.fd)
  await once(child, 'spawn')

  const waited = await waitUntil(async () => hasEnded(child) || (await isReady(clusterDir, child.pid)), {
    timeoutMs: readyTimeoutMs,
    everyMs: 10_000,
    tell: () => log('waiting for PostgreSQL to recover from its write-ahead log'),
  })
  if (waited && !hasEnded(child)) return { kind: 'ready', child }

  const said = (await readFile(logFile)).subarray(outputFrom).toString('utf8').trim().slice(-outputCharsMax)
  if (waited) return { kind: 'ended', output: said }
  await endChild(child)
  throw new PostgresFault(
    'start_failed',
    `PostgreSQL was not ready within ${readyTimeoutMs / 1_000} s. It wrote:\n${said}`,
  )
}

/**
 * Ends a server that a killed service left behind, and forgets a pid file that is not a server's any more.
 * It is stopped rather than kept: what it holds may be locks of the dead service's sessions, and settings and
 * programs of another release.
 *
 * The caller holds the data folder's lock, so no living service owns that server.
 */
export async function endLeftBehind(clusterDir: string, log: (line: string) => void): Promise<void> {
  const { pid } = (await readPidFile(clusterDir)) ?? {}
  if (pid !== undefined && (await isServerOf(clusterDir, pid))) {
    log(`stopping the PostgreSQL server (pid ${pid}) that an earlier process left behind`)
    await end(pid, async () => !(await isServerOf(clusterDir, pid)))
  }
  // PostgreSQL would refuse to start on an empty file, and on a pid that is now another program's. Its own second guard, the
  // shared memory that belongs to this folder, stays: it still refuses while any process of the old server lives.
  await rm(join(clusterDir, 'postmaster.pid'), { force: true })
}

/** Stops a server of ours: what runs is rolled back, what is committed is written; seconds at most as a rule. */
export async function endChild(child: ChildProcess): Promise<void> {
  const { pid } = child
  if (pid !== undefined) await end(pid, async () => hasEnded(child))
}

/**
 * A port on loopback that is free now. Without `wanted` the one of the last run, if it can be had, so that what an
 * operator has noted down stays true. Another program can still take it first; the server then says so and ends.
 *
 * @throws PostgresFault `port_in_use` when `wanted` is taken.
 */
export async function choosePort(clusterDir: string, wanted: number | undefined): Promise<number> {
  const port = await findFreePort(wanted ?? (await readLastPort(clusterDir)) ?? 0)
  if (port !== undefined) return port
  if (wanted === undefined) return (await findFreePort(0)) ?? 0
  throw new PostgresFault(
    'port_in_use',
    `Port ${wanted} on 127.0.0.1, meant for PostgreSQL, is taken by another program.`,
  )
}

/** Keeps the log from growing for ever: a big one becomes `<name>.1`, in place of the one before. */
export async function rotateLog(logFile: string): Promise<void> {
  const size = await stat(logFile).then(
    found => found.size,
    () => 0,
  )
  if (size > logBytesMax) await rename(logFile, `${logFile}.1`)
}

const readyTimeoutMs = 300_000
const outputCharsMax = 2_000
const logBytesMax = 10 * 1024 * 1024

/** Signals that end a server (PostgreSQL 18, section 18.5), each with the time it has before the next is sent. */
const endings = [
  // Fast: sessions are rolled back, then all that is in memory is written.
  { signal: 'SIGINT', timeoutMs: 30_000 },
  // Immediate: nothing is written; the next start recovers from the WAL, and nothing committed is lost.
  { signal: 'SIGQUIT', timeoutMs: 10_000 },
  { signal: 'SIGKILL', timeoutMs: 5_000 },
] as const

async function end(pid: number, isGone: () => Promise<boolean>): Promise<void> {
  for (const { signal, timeoutMs } of endings) {
    if (await isGone()) return
    try {
      process.kill(pid, signal)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return
      throw error
    }
    if (await waitUntil(isGone, { timeoutMs })) return
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

type PidFile = { pid: number; status: string | undefined }

/** `postmaster.pid`: the pid is its first line, the state of the server its eighth (PostgreSQL's pidfile.h). */
async function readPidFile(clusterDir: string): Promise<PidFile | undefined> {
  const text = await readFile(join(clusterDir, 'postmaster.pid'), 'utf8').catch(() => '')
  const lines = text.split('\n')
  // Single-user mode writes its pid as a negative number.
  const pid = Math.abs(Number.parseInt(lines[0] ?? '', 10))
  return Number.isSafeInteger(pid) && pid > 0 ? { pid, status: lines[7]?.trim() } : undefined
}

async function isReady(clusterDir: string, pid: number | undefined): Promise<boolean> {
  const pidFile = await readPidFile(clusterDir)
  return pidFile?.pid === pid && pidFile?.status === 'ready'
}

/** Whether a process lives and is the server of this cluster, by its command line: a pid alone proves nothing. */
async function isServerOf(clusterDir: string, pid: number): Promise<boolean> {
  return `${await readCommandLine(pid)} `.includes(` -D ${clusterDir} `)
}

async function readCommandLine(pid: number): Promise<string> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ')
  } catch {
    // No such process, or no /proc: macOS.
    return await execFileAsync('ps', ['-ww', '-o', 'command=', '-p', String(pid)]).then(
      ({ stdout }) => stdout.trim(),
      () => '',
    )
  }
}

const execFileAsync = promisify(execFile)

/** From the command line of the last run, which PostgreSQL keeps beside its data. */
async function readLastPort(clusterDir: string): Promise<number | undefined> {
  const text = await readFile(join(clusterDir, 'postmaster.opts'), 'utf8').catch(() => '')
  const port = /"port=(\d+)"/.exec(text)?.[1]
  return port === undefined ? undefined : Number(port)
}

async function findFreePort(wanted: number): Promise<number | undefined> {
  const server = createServer()
  try {
    server.listen(wanted, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : undefined
  } catch {
    return undefined
  } finally {
    server.close()
  }
}

/** Looks every 20 ms, for there is nothing to wait on: another process's file or end. `false` when time is up. */
async function waitUntil(
  isDone: () => Promise<boolean>,
  options: { timeoutMs: number; everyMs?: number; tell?: () => void },
): Promise<boolean> {
  const startedMs = performance.now()
  let toldMs = startedMs
  while (performance.now() - startedMs < options.timeoutMs) {
    if (await isDone()) return true
    if (options.everyMs !== undefined && performance.now() - toldMs > options.everyMs) {
      toldMs = performance.now()
      options.tell?.()
    }
    await sleep(20)
  }
  return await isDone()
}
