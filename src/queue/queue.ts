/**
 * The queue: pg-boss, hidden. The tables are the truth and the queue only says what to look at next, so a job
 * carries ids and nothing else, and every job may run twice.
 */
import { strict as assert } from 'node:assert'
import type { Knex } from 'knex'
import { PgBoss, fromKnex } from 'pg-boss'
import { hashedId } from '../ids.ts'
import { preparedName, toPositional, type Db, type Statement } from '../store/db.ts'

export const queueNames = ['match-events', 'attempt-deliveries', 'release-deliveries'] as const
export type QueueName = (typeof queueNames)[number]

/** Match these events, which were committed together; or, after a split or a test, only as narrowed. */
export type MatchJob = {
  workspaceId: string
  eventIds: string[]
  /** Deliver to this subscription only, whatever its filters say (a test delivery). */
  subscriptionId?: string
  /** Deliver to the subscriptions of this range only: a large fan-out is done in bounded steps. */
  range?: SubscriptionRange
  /** A worker held these events before and did not finish: some may have been delivered. */
  isResumed?: boolean
}

/** Subscriptions by their ids, after one and up to another; null is open. */
export type SubscriptionRange = { after: string | null; upTo: string | null }

export function isInRange(range: SubscriptionRange | undefined, subscriptionId: string): boolean {
  if (range === undefined) return true
  return (
    (range.after === null || subscriptionId > range.after) &&
    (range.upTo === null || subscriptionId <= range.upTo)
  )
}

/** Make the attempt that this schedule number of the delivery stands for. */
type AttemptJob = { workspaceId: string; deliveryId: string; scheduleNumber: number }

/** Release or cancel what a subscription holds back, as its state says by then. */
type ReleaseJob = { workspaceId: string; subscriptionId: string }

type JobData = {
  'match-events': MatchJob
  'attempt-deliveries': AttemptJob
  'release-deliveries': ReleaseJob
}

/**
 * A job in this process's hands. Always passed as the object it came as: `retryCount` names the claim, so that a
 * worker whose claim lapsed cannot complete the job under its next owner.
 */
export type Claimed<Name extends QueueName = QueueName> = {
  id: string
  retryCount: number
  data: JobData[Name]
}

export type Queue = {
  /** With `beside`, that statement and the jobs are one statement: both happen or neither, in one round trip. */
  enqueueMatches(db: Db, jobs: readonly MatchJob[], beside?: Statement): Promise<void>
  enqueueAttempts(trx: Db, jobs: readonly (AttemptJob & { delaySeconds: number })[]): Promise<void>
  enqueueRelease(trx: Db, job: ReleaseJob): Promise<void>
  claim<Name extends QueueName>(name: Name, max: number): Promise<Claimed<Name>[]>
  /** Extends the claims; answers with the ids of those that are still ours. */
  touch(name: QueueName, jobs: readonly Claimed[], trx?: Db): Promise<Set<string>>
  /** Completes the jobs; answers with the ids of those that were still ours. */
  complete(name: QueueName, jobs: readonly Claimed[], trx?: Db): Promise<Set<string>>
  /** Gives the jobs back after a fault of ours, to be run again after a pause. */
  fail(name: QueueName, jobs: readonly Claimed[]): Promise<void>
  /** Which of these attempts have a job that waits or runs. */
  findLiveAttempts(db: Db, jobs: readonly AttemptJob[]): Promise<Set<string>>
  isReady(): Promise<boolean>
  stop(): Promise<void>
}

export type QueueOptions = {
  url: string
  /** Runs what belongs to our own transactions, and the hot path. */
  db: Db
  /** Whether this process looks after the jobs of dead workers; processes that only serve the API do not. */
  supervise: boolean
  onError: (error: Error) => void
}

const schema = 'hookseal_queue'

/**
 * A worker that dies is noticed after the heartbeat and one monitor round, 11 to 15 s. pg-boss' own defaults
 * would make that a minute.
 */
const heartbeatSeconds = 10
const monitorIntervalSeconds = 5
const superviseIntervalSeconds = 2

/** Longer than the longest deadline of an attempt and its settling, so that only a dead claim expires. */
const expireInSeconds = 300

/** pg-boss deletes waiting jobs past their retention without a word, so it is longer than any schedule. */
const retentionSeconds = 30 * 86_400

/** Finished jobs are only ballast; their ids stay refused for this long. */
const deleteAfterSeconds = 600

/** The job's own retries serve crashes only; a failed attempt is not a failed job. */
const crashRetriesMax = 1_000

/**
 * A release runs twice: what a worker decided to hold just before the change may be written just after the first.
 */
const releaseDelaysSeconds = [0, 10]

export async function startQueue(options: QueueOptions): Promise<Queue> {
  // A pool of its own: after an error inside one, pg-boss over knex would leave a connection in an aborted transaction.
  const boss = new PgBoss({
    connectionString: options.url,
    schema,
    application_name: 'hookseal queue',
    max: 4,
    supervise: options.supervise,
    schedule: false,
    superviseIntervalSeconds,
    monitorIntervalSeconds,
    maintenanceIntervalSeconds: 300,
  })
  // Without a listener the first error of a pooled connection ends the process.
  boss.on('error', options.onError)
  await boss.start()
  for (const name of queueNames) {
    await boss.createQueue(name, {
      // A table of its own for each: their rates differ by orders of magnitude.
      partition: true,
      heartbeatSeconds,
      expireInSeconds,
      retentionSeconds,
      deleteAfterSeconds,
      retryLimit: crashRetriesMax,
      retryDelay: 1,
      retryBackoff: true,
      retryDelayMax: 60,
    })
  }

  return {
    async enqueueMatches(db, jobs, beside) {
      assert(jobs.length > 0 || beside === undefined, 'what stands beside jobs needs jobs')
      if (jobs.length === 0) return
      await boss.insert(
        'match-events',
        jobs.map(data => ({ data })),
        { db: through(db, beside) },
      )
    },
    async enqueueAttempts(trx, jobs) {
      if (jobs.length === 0) return
      const inserts = jobs.map(({ delaySeconds, ...data }) => ({
        id: attemptJobId(data),
        data,
        // Seconds and never a date: a date would carry this machine's clock into the database's schedule.
        startAfter: Math.max(0, Math.ceil(delaySeconds)),
      }))
      await boss.insert('attempt-deliveries', inserts, { db: through(trx) })
    },
    async enqueueRelease(trx, data) {
      const inserts = releaseDelaysSeconds.map(startAfter => ({ data, startAfter }))
      await boss.insert('release-deliveries', inserts, { db: through(trx) })
    },
    async claim<Name extends QueueName>(name: Name, max: number) {
      assert(max > 0, 'a claim asks for at least one job')
      // The limit is part of the statement's text: by powers of two there are only a few statements to prepare.
      const batchSize = 2 ** Math.floor(Math.log2(max))
      return boss.fetch<JobData[Name]>(name, { batchSize, db: through(options.db) }) as Promise<
        Claimed<Name>[]
      >
    },
    async touch(name, jobs, trx = options.db) {
      return settledIds(await boss.touch(name, jobAttempts(jobs), { db: through(trx) }))
    },
    async complete(name, jobs, trx = options.db) {
      return settledIds(await boss.complete(name, jobAttempts(jobs), null, { db: through(trx) }))
    },
    async fail(name, jobs) {
      await boss.fail(name, jobAttempts(jobs))
    },
    async findLiveAttempts(db, jobs) {
      const ids = jobs.map(job => attemptJobId(job))
      const live = await db
        .withSchema(schema)
        .from('job')
        .where('name', 'attempt-deliveries')
        .whereIn('id', ids)
        .whereIn('state', ['created', 'retry', 'active'])
        .pluck<string[]>('id')
      const liveIds = new Set(live)
      return new Set(jobs.filter((_, i) => liveIds.has(ids[i]!)).map(job => job.deliveryId))
    },
    isReady: () => boss.isInstalled(),
    stop: () => boss.stop({ graceful: false }),
  }
}

/**
 * One job for each schedule number. The number rises with every job written for a delivery, because the queue
 * refuses the id of a finished job until that job is deleted.
 */
function attemptJobId({ deliveryId, scheduleNumber }: AttemptJob): string {
  return hashedId(`attempt/${deliveryId}/${scheduleNumber}`)
}

/**
 * Lets pg-boss run one call over our own connection, prepared: its statements are long, and planning one took several
 * times what running it does. With `beside`, that statement comes along as the first common table expression.
 */
function through(db: Db, beside?: Statement) {
  const first = beside && toPositional(beside)
  return fromKnex({
    async raw<Row>(text: string, bindings: readonly unknown[] = []): Promise<{ rows: Row[] }> {
      const sql = first === undefined ? text : `with beside as (${first.sql}) ${text}`
      const values = [...(first?.values ?? []), ...bindings] as Knex.Value[]
      return db.raw(sql, values).options({ name: preparedName(sql) })
    },
  })
}

function jobAttempts(jobs: readonly Claimed[]) {
  return jobs.map(({ id, retryCount }) => ({ id, retryCount }))
}

/** pg-boss answers with the ids that were still ours, but does not declare it. */
function settledIds(reply: object): Set<string> {
  const { settled } = reply as { settled?: string[] }
  assert(Array.isArray(settled), 'pg-boss tells which jobs it settled')
  return new Set(settled)
}
