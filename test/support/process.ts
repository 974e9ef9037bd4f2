/**
 * Runs the service as its users do: `node src/main.ts` in a process of its own, ready before anything is asked
 * of it, and ended by its own pid. A test that dies takes its services along (end-with-parent.ts).
 */

import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export type Service = {
  /** Where it listens, without a trailing slash. */
  url: string
  pid: number
  /** Asks it to stop (SIGTERM), kills it after 20 s, and gives the exit code: null when a signal ended it. */
  stop(): Promise<number | null>
  /** Sends a signal, and does nothing once the process has ended. */
  kill(signal: NodeJS.Signals): void
  /** Settles when the process has ended, for whatever reason; the value is that of `stop`. */
  exited: Promise<number | null>
  /** The last 1 MiB of what it wrote to stdout and stderr. */
  output(): string
  [Symbol.asyncDispose](): Promise<void>
}

/** The settings of a service; HOST, PORT and LOG_LEVEL have defaults here, all others are the service's own. */
export type ServiceEnv = Record<string, string>

/**
 * Starts the service and waits until `/readyz` answers 200. Of this process's environment it gets no more than
 * PATH, HOME, LANG and TMPDIR, so that a developer's own settings never reach a test.
 *
 * - `readyMs`: how long it may take to get ready. Default 30,000.
 * - `signal`: aborting it stops the service.
 *
 * Throws, with the output in the message, when the service ends first or is not ready in time.
 */
export async function startService(
  env: ServiceEnv,
  options: { readyMs?: number; signal?: AbortSignal } = {},
): Promise<Service> {
  options.signal?.throwIfAborted()
  const { HOST = '127.0.0.1', PORT = String(await freePort()) } = env
  const service = spawnService({ LOG_LEVEL: 'warn', ...env, HOST, PORT }, `http://${HOST}:${PORT}`)

  const onAbort = (): void => service.kill('SIGTERM')
  options.signal?.addEventListener('abort', onAbort)
  void service.exited.then(() => options.signal?.removeEventListener('abort', onAbort))

  try {
    await untilReady(service, options.readyMs ?? 30_000)
  } catch (error) {
    await service.stop()
    throw error
  }
  return service
}

/** What every service of a test needs beside its database: new keys, and loopback receivers over plain http. */
export function createServiceEnv(): ServiceEnv & { OPERATOR_KEY: string } {
  return {
    OPERATOR_KEY: randomBytes(32).toString('hex'),
    ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    ALLOW_HTTP_ENDPOINTS: 'true',
    EGRESS_ALLOW_CIDRS: '127.0.0.1/32',
  }
}

/** A TCP port of 127.0.0.1 that was free a moment ago. Nobody holds it: another process may take it first. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

const root = fileURLToPath(new URL('../../', import.meta.url))
const endWithParent = new URL('./end-with-parent.ts', import.meta.url).href
const outputCharactersMax = 1_048_576
// Longer than the service's own limit for what is in flight (the delivery deadline, 15 s by default).
const stopMs = 20_000

function spawnService(env: ServiceEnv, url: string): Service {
  const child = spawn(process.execPath, ['--import', endWithParent, 'src/main.ts'], {
    cwd: root,
    env: { ...inheritedEnv(), ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    // A group of its own: Ctrl-C in a terminal reaches the test alone, which then stops its services in order.
    detached: true,
  })
  const output = collectOutput(child)
  const exited = untilExited(child)

  const stop = async (): Promise<number | null> => {
    child.kill('SIGTERM')
    const killTimer = setTimeout(() => child.kill('SIGKILL'), stopMs)
    try {
      return await exited
    } finally {
      clearTimeout(killTimer)
    }
  }
  return {
    url,
    pid: child.pid ?? 0,
    stop,
    kill: signal => void child.kill(signal),
    exited,
    output,
    [Symbol.asyncDispose]: async () => void (await stop()),
  }
}

function inheritedEnv(): NodeJS.ProcessEnv {
  const { PATH, HOME, LANG, TMPDIR } = process.env
  return { PATH, HOME, LANG, TMPDIR }
}

function collectOutput(child: ChildProcess): () => string {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8')
    stream?.on('data', (text: string) => (output = (output + text).slice(-outputCharactersMax)))
  }
  return () => output
}

/** Waits for `close`, not `exit`: only then has all output been read. A failed spawn counts as an end, too. */
function untilExited(child: ChildProcess): Promise<number | null> {
  return new Promise(resolve => {
    child.once('close', code => resolve(code))
    child.once('error', () => resolve(null))
  })
}

async function untilReady(service: Service, readyMs: number): Promise<void> {
  let isExited = false
  void service.exited.then(() => (isExited = true))

  const deadline = performance.now() + readyMs
  while (!(await answersReady(service.url))) {
    if (isExited) {
      throw new Error(`The service ended (${await service.exited}) before it was ready:\n${service.output()}`)
    }
    if (performance.now() > deadline) {
      throw new Error(`The service was not ready within ${readyMs} ms:\n${service.output()}`)
    }
    await delay(25)
  }
}

async function answersReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) })
    await response.arrayBuffer()
    return response.status === 200
  } catch {
    // Nobody listens yet, or the answer does not come: not ready is all there is to say.
    return false
  }
}
