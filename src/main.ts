/**
 * The server process. Reads the settings, starts what its role says, and leaves in order on SIGTERM or SIGINT: no new
 * work, what is on the wire finishes or is aborted, everything is written, the database last.
 */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { ConfigError, readConfig, summarize, type Config } from './config.ts'
import { createContext, type AppContext } from './context.ts'
import { createHttpServer } from './http/app.ts'
import { operatingRoutes } from './http/routes.ts'
import { startWorker } from './jobs/worker.ts'
import { operatorKeyPath } from './kept-keys.ts'

/** EX_CONFIG of sysexits.h: the settings are wrong, so starting again will not help. */
const exitConfig = 78

/** Whatever hangs while leaving, the process ends this long after the drain should have. */
const leaveGraceMs = 15_000

const config = readConfigOrExit()
const stopRequested = nextStopSignal()
const context = await createContext(config).catch(exitWithReason)
const { deps } = context
deps.log.info({ settings: summarize(process.env), node: process.version }, 'starting')

const server = createHttpServer(deps, config.role === 'worker' ? { routes: operatingRoutes } : {})
server.listen(config.port, config.host)
await once(server, 'listening').catch((error: unknown) => context.close().then(() => exitWithReason(error)))
const worker = config.role === 'api' ? undefined : startWorker(deps)
deps.log.info({ port: (server.address() as AddressInfo).port }, 'ready')
if (process.stdout.isTTY || config.databaseUrl === undefined) greet(config)

const databaseGone = context.postgres?.exited.then(() => 'database' as const)
const reason = await Promise.race([stopRequested, ...(databaseGone === undefined ? [] : [databaseGone])])
deps.log.info({ reason }, 'leaving')
setTimeout(() => {
  deps.log.error({}, 'leaving took too long')
  process.exit(1)
}, config.drainTimeoutMs + leaveGraceMs).unref()
await leave(context)
process.exit(reason === 'database' ? 1 : 0)

async function leave({ close }: AppContext): Promise<void> {
  // Requests under way are answered; kept-alive connections that wait for one are not waited for.
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  // Whoever still waits for an answer by then, such as that of a test delivery, is cut off.
  setTimeout(() => server.closeAllConnections(), config.drainTimeoutMs).unref()
  await Promise.all([closed, worker?.stop(config.drainTimeoutMs)])
  await close()
  deps.log.info({}, 'stopped')
}

/** Resolves at the first SIGTERM or SIGINT; the next one of those ends the process at once. */
function nextStopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, resolve)
  return promise
}

function readConfigOrExit(): Config {
  try {
    return readConfig(process.env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`hookseal: ${error.message}\nSee .env.example for every setting.\n`)
    process.exit(exitConfig)
  }
}

function exitWithReason(error: unknown): never {
  process.stderr.write(`hookseal: cannot start: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}

/** What a newcomer needs next. */
function greet({ publicUrl, dataDir, databaseUrl, role }: Config): void {
  if (role === 'worker') return
  const key = databaseUrl === undefined ? `$(cat ${operatorKeyPath(dataDir)})` : '$OPERATOR_KEY'
  process.stdout.write(
    [
      '',
      `Hookseal serves on ${publicUrl}`,
      databaseUrl === undefined ? `The operator key is in ${operatorKeyPath(dataDir)}` : '',
      'Try:',
      `  curl -s ${publicUrl}/organizations -H "Authorization: AccessKey ${key}" \\`,
      `    -H 'Content-Type: application/json' -d '{"name":"Acme"}'`,
      '',
    ].join('\n') + '\n',
  )
}
