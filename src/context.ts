/**
 * Builds everything that services, jobs and the HTTP side work with, from the settings; and takes it down again.
 */
import { readFile, readdir } from 'node:fs/promises'
import type { Config } from './config.ts'
import type { Deps } from './deps.ts'
import { makeAddressRule } from './domain/address.ts'
import { buildCatalogue, type CatalogueFile } from './domain/catalogue.ts'
import { makeOwnHosts } from './domain/target.ts'
import { createIdSource } from './ids.ts'
import { createKeyring } from './keyring.ts'
import { createLog, type Log } from './log.ts'
import { startPostgres, type EmbeddedPostgres } from './postgres/start.ts'
import { startQueue } from './queue/queue.ts'
import { createWake } from './queue/wake.ts'
import { createSender } from './sending/send.ts'
import { createPublisher } from './services/publisher.ts'
import { clockOffsetMs, createDb, migrate } from './store/db.ts'
import { ensurePartitions } from './store/partitions.ts'
import { readKeys } from './kept-keys.ts'

export type AppContext = {
  deps: Deps
  /** The embedded server, when there is one. */
  postgres: EmbeddedPostgres | undefined
  /** Closes connections, the database last. What works with them must have stopped before. */
  close(): Promise<void>
}

/** What tests put in the place of the real thing. */
export type ContextOverrides = { log?: Log; random?: () => number }

export async function createContext(config: Config, overrides: ContextOverrides = {}): Promise<AppContext> {
  const log = overrides.log ?? createLog({ level: config.logLevel, role: config.role })
  const closing: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const step of closing.toReversed()) {
      // The next steps are due all the same, the database's above all.
      await step().catch((error: unknown) => log.error({ err: error }, 'closing.failed'))
    }
  }
  try {
    const postgres = config.databaseUrl === undefined ? await startEmbedded(config, log) : undefined
    if (postgres !== undefined) closing.push(() => postgres.stop())
    const url = config.databaseUrl ?? postgres!.url
    const runsWorker = config.role !== 'api'

    const db = createDb({
      url,
      connectionsMax: config.databaseConnectionsMax,
      applicationName: `hookseal ${config.role}`,
      onError: error => log.warn({ err: error }, 'database.connection_lost'),
      onMessage: message => log.warn({ database: message }, 'database.message'),
    })
    closing.push(() => db.destroy())
    const ids = createIdSource()
    await migrate(db, async () => {
      ids.setClockOffset(await clockOffsetMs(db))
      await ensurePartitions(db, ids.now())
    })

    const queue = await startQueue({
      url,
      db,
      supervise: runsWorker,
      onError: error => log.warn({ err: error }, 'queue.error'),
    })
    closing.push(() => queue.stop())
    const wake = createWake({
      db,
      url,
      listen: runsWorker,
      onError: error => log.warn({ err: error }, 'wake.connection_lost'),
    })
    closing.push(() => wake.stop())

    const addresses = makeAddressRule({
      allowCidrs: config.egressAllowCidrs,
      denyCidrs: config.egressDenyCidrs,
    })
    const sender = createSender({
      addresses,
      dnsServers: config.dnsServers.length > 0 ? config.dnsServers : undefined,
    })
    closing.push(() => sender.close())

    const keys = await readKeys(config)
    const deps: Deps = {
      config: { ...config, operatorKey: keys.operatorKey, encryptionKeys: keys.encryptionKeys },
      db,
      queue,
      wake,
      publisher: createPublisher({ db, queue, wake, log }),
      ids,
      catalogue: buildCatalogue(await readCatalogueFiles()),
      keyring: createKeyring(keys.encryptionKeys),
      targetRules: {
        allowHttp: config.allowHttpEndpoints,
        ownHosts: makeOwnHosts(config),
        addresses,
      },
      sender,
      log,
      random: overrides.random ?? Math.random,
    }
    return { deps, postgres, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function startEmbedded(config: Config, log: Log): Promise<EmbeddedPostgres> {
  return startPostgres({ dataDir: config.dataDir, log: line => log.info({}, line) })
}

const catalogueDirectory = new URL('../schemas/catalogue/', import.meta.url)

async function readCatalogueFiles(): Promise<CatalogueFile[]> {
  const names = (await readdir(catalogueDirectory)).filter(name => name.endsWith('.json')).sort()
  return Promise.all(
    names.map(
      async name => JSON.parse(await readFile(new URL(name, catalogueDirectory), 'utf8')) as CatalogueFile,
    ),
  )
}
