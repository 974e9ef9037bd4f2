/**
 * What services, jobs and the HTTP layer are given to work with. Built once, in context.ts.
 */
import type { Config } from './config.ts'
import type { Catalogue } from './domain/catalogue.ts'
import type { TargetRules } from './domain/target.ts'
import type { IdSource } from './ids.ts'
import type { Keyring } from './keyring.ts'
import type { Log } from './log.ts'
import type { Queue } from './queue/queue.ts'
import type { Wake } from './queue/wake.ts'
import type { Sender } from './sending/send.ts'
import type { Publisher } from './services/publisher.ts'
import type { Db } from './store/db.ts'

export type Deps = {
  config: Config
  db: Db
  queue: Queue
  /** Tells workers, here and in other processes, that there is something to do. */
  wake: Wake
  publisher: Publisher
  ids: IdSource
  catalogue: Catalogue
  keyring: Keyring
  targetRules: TargetRules
  sender: Sender
  log: Log
  random: () => number
}
