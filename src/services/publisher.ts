/**
 * Writes published events. Requests in flight are written together, by at most two transactions at a time and
 * without waiting for more: under load a group forms by itself while the writers are busy, and an idle service
 * answers as fast as one commit allows. Event, idempotency key and match job commit together or not at all.
 */
import { strict as assert } from 'node:assert'
import { AppError, notFound } from '../errors.ts'
import type { NewEvent } from '../domain/event.ts'
import type { Log } from '../log.ts'
import type { MatchJob, Queue } from '../queue/queue.ts'
import type { Wake } from '../queue/wake.ts'
import { isTransient, isUnavailable, limitLockWait, pgCode, pgCodes, type Db } from '../store/db.ts'
import * as events from '../store/events.ts'
import * as idempotencyKeys from '../store/idempotency-keys.ts'

/** A key under which events are made at most once, and what they are made of. */
export type RequestKey = { key: string; bodySha256: Buffer; eventIndexes: number[] }

export type PublishRequest = { workspaceId: string; events: NewEvent[]; keys: RequestKey[] }

export type Publisher = {
  /** The ids of the events once they are committed: new ones, or those that the same keys made before. */
  publish(request: PublishRequest): Promise<string[]>
}

/**
 * Requests with keys may have to wait for another process's transaction, so they have writers of their own. A further
 * writer helps when so many requests wait: small groups cost more than they save.
 */
const lanes = {
  plain: { writersMax: 2, helpFrom: 16 },
  keyed: { writersMax: 4, helpFrom: 1 },
} as const

/** Bounds of one transaction; a single request may be larger than either. */
const groupEventsMax = 1_000
const groupBytesMax = 8_388_608

/** Events of one match job: enough to share its cost, few enough to be run again after a crash. */
const matchJobEventsMax = 100

/** How long a request waits for another that is just using the same key. */
const keyWaitMs = 5_000

const transientRetriesMax = 3

type Pending = {
  request: PublishRequest
  resolve: (ids: string[]) => void
  reject: (error: unknown) => void
}

export function createPublisher(deps: { db: Db; queue: Queue; wake: Wake; log: Log }): Publisher {
  const plain: Lane = { ...lanes.plain, waiting: [], writers: 0 }
  const keyed: Lane = { ...lanes.keyed, waiting: [], writers: 0 }
  /** Requests with keys that are being written, by workspace and key: the next one with that key waits for it. */
  const inFlight = new Map<string, InFlight>()

  function enqueue(request: PublishRequest): Promise<string[]> {
    const lane = request.keys.length === 0 ? plain : keyed
    return new Promise((resolve, reject) => {
      lane.waiting.push({ request, resolve, reject })
      startWriters(lane)
    })
  }

  function startWriters(lane: Lane): void {
    const { waiting, writersMax, helpFrom } = lane
    while (
      waiting.length > 0 &&
      lane.writers < writersMax &&
      (lane.writers === 0 || waiting.length >= helpFrom)
    ) {
      lane.writers++
      void writeGroup(takeGroup(waiting)).finally(() => {
        lane.writers--
        startWriters(lane)
      })
    }
  }

  async function writeGroup(group: Pending[]): Promise<void> {
    try {
      const written = await writeWithRetries(group)
      group.forEach((pending, i) => settle(pending, written[i]!))
    } catch (error) {
      const isHopeless = isUnavailable(error) && pgCode(error) !== pgCodes.lockNotAvailable
      if (group.length === 1 || isHopeless) {
        for (const { reject } of group) reject(asCallersError(error))
        return
      }
      // One bad member must fail alone: write them one by one.
      deps.log.warn({ err: error, requests: group.length }, 'publish.group_failed')
      for (const pending of group) await writeGroup([pending])
    }
  }

  async function writeWithRetries(group: Pending[]): Promise<Written[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        const written = await commit(group.map(pending => pending.request))
        deps.wake.notify()
        return written
      } catch (error) {
        if (attempt > transientRetriesMax || !isTransient(error)) throw error
      }
    }
  }

  /** Without keys one statement does it all, and a statement is a transaction: that halves what a group costs. */
  async function commit(requests: PublishRequest[]): Promise<Written[]> {
    if (requests.every(({ keys }) => keys.length === 0)) {
      const written = requests.map(asNew)
      await insertFresh(deps.db, requests, written)
      return written
    }
    return deps.db.transaction(async trx => {
      const written = await claimKeys(trx, requests)
      await insertFresh(trx, requests, written)
      return written
    })
  }

  async function insertFresh(db: Db, requests: PublishRequest[], written: Written[]): Promise<void> {
    const fresh = requests.flatMap((request, i) => newEventsOf(request, written[i]!))
    if (fresh.length === 0) return
    await deps.queue.enqueueMatches(db, matchJobsFor(fresh), events.insertManyStatement(fresh))
  }

  return {
    async publish(request) {
      const names = request.keys.map(({ key }) => `${request.workspaceId}\n${key}`)
      for (;;) {
        const other = names.map(name => inFlight.get(name)).find(found => found !== undefined)
        if (other === undefined) break
        if (isSameRequest(other.request, request)) return other.ids
        await other.ids.catch(() => undefined) // Its caller hears of it; here only its end matters.
      }
      const ids = enqueue(request)
      for (const name of names) inFlight.set(name, { request, ids })
      try {
        return await ids
      } finally {
        names.forEach(name => inFlight.delete(name))
      }
    },
  }
}

type Lane = { writersMax: number; helpFrom: number; waiting: Pending[]; writers: number }

type InFlight = { request: PublishRequest; ids: Promise<string[]> }

/** Whether one key stands for all events of both, and for the same ones. */
function isSameRequest(a: PublishRequest, b: PublishRequest): boolean {
  const [keyOfA, keyOfB] = [wholeKey(a), wholeKey(b)]
  return keyOfA !== undefined && keyOfB !== undefined && keyOfA.bodySha256.equals(keyOfB.bodySha256)
}

function wholeKey({ keys, events: { length } }: PublishRequest): RequestKey | undefined {
  return keys.length === 1 && keys[0]!.eventIndexes.length === length ? keys[0] : undefined
}

/** What became of a request in its transaction: the id of each event, and which were made before; or why not. */
type Written = { ids: string[]; isReplayed: boolean[] } | { error: AppError }

function asNew(request: PublishRequest): Written {
  return { ids: request.events.map(event => event.id), isReplayed: request.events.map(() => false) }
}

function settle(pending: Pending, written: Written): void {
  if ('error' in written) pending.reject(written.error)
  else pending.resolve(written.ids)
}

function takeGroup(waiting: Pending[]): Pending[] {
  let count = 0
  let eventsCount = 0
  let bytes = 0
  for (const { request } of waiting) {
    eventsCount += request.events.length
    for (const event of request.events) bytes += event.payload.length
    if (count > 0 && (eventsCount > groupEventsMax || bytes > groupBytesMax)) break
    count++
  }
  return waiting.splice(0, count)
}

async function claimKeys(trx: Db, requests: readonly PublishRequest[]): Promise<Written[]> {
  const written = requests.map(asNew)
  const byWorkspace = Map.groupBy(
    requests.flatMap((request, i) => request.keys.map(key => ({ ...key, request, requestIndex: i }))),
    ({ request }) => request.workspaceId,
  )

  await limitLockWait(trx, keyWaitMs)
  for (const [workspaceId, entries] of [...byWorkspace].sort(([a], [b]) => (a < b ? -1 : 1))) {
    entries.sort((a, b) => (a.key < b.key ? -1 : 1))
    const claimed = await idempotencyKeys.claim(
      trx,
      workspaceId,
      entries.map(({ key, bodySha256, eventIndexes, request }) => ({
        key,
        bodySha256,
        eventIds: eventIndexes.map(i => request.events[i]!.id),
      })),
    )
    const taken = entries.filter(entry => !claimed.has(entry.key))
    if (taken.length === 0) continue

    const existing = await idempotencyKeys.listByKeys(
      trx,
      workspaceId,
      taken.map(({ key }) => key),
    )
    const byKey = new Map(existing.map(found => [found.key, found]))
    for (const { key, bodySha256, eventIndexes, requestIndex } of taken) {
      const result = written[requestIndex]!
      const before = byKey.get(key)
      if ('error' in result) continue
      if (before === undefined) {
        // It expired between the two statements.
        written[requestIndex] = { error: keyInUse(key) }
      } else if (!before.bodySha256.equals(bodySha256)) {
        written[requestIndex] = { error: keyReused(key) }
      } else {
        eventIndexes.forEach((eventIndex, i) => {
          result.ids[eventIndex] = before.eventIds[i]!
          result.isReplayed[eventIndex] = true
        })
      }
    }
    const abandoned = entries.filter(
      entry => claimed.has(entry.key) && 'error' in written[entry.requestIndex]!,
    )
    if (abandoned.length > 0)
      await idempotencyKeys.release(
        trx,
        workspaceId,
        abandoned.map(({ key }) => key),
      )
  }
  return written
}

function newEventsOf(request: PublishRequest, written: Written): events.WorkspaceEvent[] {
  if ('error' in written) return []
  const fresh = request.events.filter((_, i) => !written.isReplayed[i])
  return fresh.map(event => ({ ...event, workspaceId: request.workspaceId }))
}

function matchJobsFor(fresh: readonly events.WorkspaceEvent[]): MatchJob[] {
  const jobs: MatchJob[] = []
  for (const [workspaceId, ofWorkspace] of Map.groupBy(fresh, event => event.workspaceId)) {
    for (let i = 0; i < ofWorkspace.length; i += matchJobEventsMax) {
      jobs.push({ workspaceId, eventIds: ofWorkspace.slice(i, i + matchJobEventsMax).map(event => event.id) })
    }
  }
  assert(jobs.length > 0)
  return jobs
}

function asCallersError(error: unknown): unknown {
  if (pgCode(error) === pgCodes.lockNotAvailable) return keyInUse(undefined)
  // The workspace was removed between the check of the caller and this commit.
  if (pgCode(error) === pgCodes.notNullViolation) return notFound('workspace')
  return error
}

function keyInUse(key: string | undefined): AppError {
  const name = key === undefined ? 'The idempotency key' : `The idempotency key "${key}"`
  return new AppError(
    'idempotency_key_in_use',
    `${name} is in use by another request; send this one again.`,
    {
      retryAfterSeconds: 1,
    },
  )
}

function keyReused(key: string): AppError {
  return new AppError(
    'idempotency_key_reused',
    `The idempotency key "${key}" was used for another body; give each event a key of its own.`,
  )
}
