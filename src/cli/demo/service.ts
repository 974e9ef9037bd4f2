/**
 * The service in a process of its own, on settings and an embedded database that are the demo's alone.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { endLeftBehind } from '../../postgres/postmaster.ts'

export type DemoService = {
  /** Without a trailing slash. */
  url: string
  operatorKey: string
  /** Resolves when it can serve; rejects when the signal aborts. */
  ready(signal: AbortSignal): Promise<void>
  /** Ends it, what it has on the wire first and its database last. To be called however it went. */
  stop(): Promise<void>
}

/**
 * Starts it, with all that it keeps in `dataDir`, the real path of an empty folder. `onLost` is told when it ends
 * without having been asked to.
 */
export async function startService(dataDir: string, onLost: (reason: Error) => void): Promise<DemoService> {
  const port = await findFreePort()
  const operatorKey = randomBytes(32).toString('hex')
  const child = spawn(process.execPath, [fileURLToPath(new URL('../../main.ts', import.meta.url))], {
    env: {
      ...inherited(),
      PORT: String(port),
      DATA_DIR: dataDir,
      OPERATOR_KEY: operatorKey,
      ALLOW_HTTP_ENDPOINTS: 'true',
      EGRESS_ALLOW_CIDRS: '127.0.0.1/32',
      DRAIN_TIMEOUT_MS: '1000',
      LOG_LEVEL: 'warn',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: Ctrl-C reaches the demo alone, which then ends the service in order.
    detached: true,
  })
  const output = collectOutput(child)
  let isStopping = false
  const ended = untilEnded(child).then(how => {
    if (!isStopping) onLost(new Error(`the service ended by itself (${how}). It wrote:\n${output().trim()}`))
  })
  const url = `http://127.0.0.1:${port}`

  return {
    url,
    operatorKey,
    async ready(signal) {
      while (!(await answersReady(url, signal))) await pause(50, undefined, { signal })
    },
    async stop() {
      isStopping = true
      child.kill('SIGTERM')
      const timer = setTimeout(() => killGroup(child), stopTimeoutMs)
      await ended
      clearTimeout(timer)
      // Only a service that could not leave in order has left its database running.
      await endLeftBehind(join(dataDir, 'postgres'), () => {})
    },
  }
}

/** How long it may take to leave in order; it has itself given up before then, unless it hangs. */
const stopTimeoutMs = 20_000

const outputCharactersMax = 4_096

/** Nothing else of our own environment: somebody's DATABASE_URL, ROLE or NODE_OPTIONS must not reach a demo. */
function inherited(): NodeJS.ProcessEnv {
  const { PATH, HOME, LANG, TMPDIR } = process.env
  return { PATH, HOME, LANG, TMPDIR }
}

/** Free a moment ago; who takes it first makes the start fail with that reason. */
async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function collectOutput(child: ChildProcess): () => string {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8')
    stream?.on('data', (text: string) => (output = (output + text).slice(-outputCharactersMax)))
  }
  return () => output
}

/** Says by what; all that it wrote has been read then. A failed spawn counts as an end, too. */
function untilEnded(child: ChildProcess): Promise<string> {
  return new Promise(resolve => {
    child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`))
    child.once('error', error => resolve(error.message))
  })
}

/** With whatever it runs to make its database. */
function killGroup({ pid }: ChildProcess): void {
  if (pid !== undefined) process.kill(-pid, 'SIGKILL')
}

async function answersReady(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(`${url}/readyz`, { signal })
    await response.arrayBuffer()
    return response.ok
  } catch (error) {
    if (signal.aborted) throw error
    return false // Nobody listens yet.
  }
}
