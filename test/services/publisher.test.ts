/**
 * Group commit under concurrency, and keys that make a publish safe to repeat. Two publishers on one database stand for
 * two processes.
 */
import { hash, randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { AppError } from '#src/errors.ts'
import {
  createPublisher,
  type Publisher,
  type PublishRequest,
  type RequestKey,
} from '#src/services/publisher.ts'
import { removeWorkspace } from '#src/services/workspaces.ts'
import { rows } from '#src/store/db.ts'
import * as idempotencyKeys from '#src/store/idempotency-keys.ts'
import { createJobsContext, type JobsContext } from '#test/jobs/context.ts'
import { rejection } from '#test/support/rejection.ts'

describe('the publisher', () => {
  let context: JobsContext
  let workspaceId: string
  let publisher: Publisher
  let otherPublisher: Publisher

  before(async () => {
    context = await createJobsContext()
    workspaceId = await context.newWorkspace()
    publisher = createPublisher(context.deps)
    otherPublisher = createPublisher(context.deps)
  })

  after(async () => {
    await context?.close()
  })

  /** A request of one event for each text; the keys cover the events one by one, or all by one key. */
  function request(texts: readonly string[], keys: RequestKey[] = []): PublishRequest {
    return {
      workspaceId,
      keys,
      events: texts.map(text => ({
        id: context.deps.ids.next(),
        service: 'channels',
        event: 'sms.outbound',
        payload: Buffer.from(JSON.stringify(text)),
      })),
    }
  }

  function keyed(key: string, text: string): PublishRequest {
    return request([text], [{ key, bodySha256: digest(text), eventIndexes: [0] }])
  }

  function keyedEach(keys: readonly string[]): PublishRequest {
    return request(
      keys,
      keys.map((key, i) => ({ key, bodySha256: digest(key), eventIndexes: [i] })),
    )
  }

  async function codeOf(publishing: Promise<unknown>): Promise<string> {
    const error = await rejection(publishing)
    expect(error).to.be.instanceOf(AppError)
    return (error as AppError).code
  }

  async function storedIds(ids: readonly string[]): Promise<string[]> {
    const found = await rows<{ id: string }>(
      context.deps.db,
      'select id from events where id = any(:ids::uuid[])',
      {
        ids: `{${ids.join()}}`,
      },
    )
    return found.map(({ id }) => id).toSorted()
  }

  async function countTransactions(work: () => Promise<unknown>): Promise<number> {
    let count = 0
    const listener = ({ sql }: { sql: string }) => {
      if (/^BEGIN|insert into events/i.test(sql.trim()) || sql.includes('insert into events')) count++
    }
    context.deps.db.on('query', listener)
    try {
      await work()
    } finally {
      context.deps.db.removeListener('query', listener)
    }
    return count
  }

  it('writes what comes at once in a few groups, and answers each with the ids of its own events', async () => {
    const requests = Array.from({ length: 500 }, (_, i) =>
      request(i % 10 === 0 ? [`a ${i}`, `b ${i}`] : [`a ${i}`]),
    )
    const expected = requests.map(({ events }) => events.map(({ id }) => id))

    let answers: string[][] = []
    const statements = await countTransactions(async () => {
      answers = await Promise.all(requests.map(each => publisher.publish(each)))
    })

    expect(answers).to.deep.equal(expected)
    expect(await storedIds(expected.flat())).to.deep.equal(expected.flat())
    expect(statements).to.be.within(1, 10)
  })

  it('has its match jobs bring every event once, in the order of publishing', async () => {
    const fresh = await context.newWorkspace()
    const requests = Array.from({ length: 250 }, (_, i) => ({ ...request([`${i}`]), workspaceId: fresh }))
    const ids = (await Promise.all(requests.map(each => publisher.publish(each)))).flat()

    const jobs = await rows<{ data: { eventIds: string[] } }>(
      context.deps.db,
      `select data from hookseal_queue.job where name = 'match-events' and data ->> 'workspaceId' = :fresh`,
      { fresh },
    )

    const eventIds = jobs.map(({ data }) => data.eventIds).toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1))
    expect(eventIds.flat()).to.deep.equal(ids)
    expect(Math.max(...eventIds.map(group => group.length))).to.be.at.most(100)
  })

  it('lets one bad member of a group fail alone', async () => {
    const removed = await context.newWorkspace()
    const { organizationId } = (
      await rows<{ organizationId: string }>(
        context.deps.db,
        'select organization_id as "organizationId" from workspaces where id = :removed',
        { removed },
      )
    )[0]!
    await removeWorkspace(context.deps, organizationId, removed)
    const good = Array.from({ length: 40 }, (_, i) => request([`${i}`]))
    const bad = { ...request(['bad']), workspaceId: removed }

    const before = good.slice(0, 20).map(each => publisher.publish(each))
    const refused = codeOf(publisher.publish(bad))
    const behind = good.slice(20).map(each => publisher.publish(each))

    expect(await Promise.all([...before, ...behind])).to.deep.equal(good.map(({ events }) => [events[0]!.id]))
    expect(await refused).to.equal('not_found')
    expect(await storedIds([bad.events[0]!.id])).to.deep.equal([])
    expect(context.logged).to.include('warn publish.group_failed')
  })

  it('makes one event of the same key and body, at once and later, in one process and two', async () => {
    const key = randomUUID()
    const first = keyed(key, 'same')

    const answers = await Promise.all([
      publisher.publish(first),
      ...Array.from({ length: 24 }, () => publisher.publish(keyed(key, 'same'))),
      ...Array.from({ length: 25 }, () => otherPublisher.publish(keyed(key, 'same'))),
    ])
    const later = await otherPublisher.publish(keyed(key, 'same'))

    const made = new Set([...answers, later].flat())
    expect(made).to.have.lengthOf(1)
    expect(await storedIds([...made])).to.have.lengthOf(1)
  })

  it('refuses a key that came with another body before, or comes with it just now', async () => {
    const key = randomUUID()
    await publisher.publish(keyed(key, 'one'))
    expect(await codeOf(publisher.publish(keyed(key, 'another')))).to.equal('idempotency_key_reused')

    const raced = randomUUID()
    const results = await Promise.allSettled([
      publisher.publish(keyed(raced, 'one')),
      publisher.publish(keyed(raced, 'another')),
      otherPublisher.publish(keyed(raced, 'a third')),
    ])

    expect(results.map(({ status }) => status).toSorted()).to.deep.equal([
      'fulfilled',
      'rejected',
      'rejected',
    ])
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).to.include({ code: 'idempotency_key_reused' })
    }
  })

  it('holds a key for its workspace alone', async () => {
    const key = randomUUID()
    const foreign = { ...keyed(key, 'theirs'), workspaceId: await context.newWorkspace() }

    const [own, theirs] = await Promise.all([
      publisher.publish(keyed(key, 'ours')),
      publisher.publish(foreign),
    ])

    expect(own).not.to.deep.equal(theirs)
  })

  it('takes overlapping keys in opposite orders from two publishers without a deadlock', async () => {
    for (let round = 0; round < 30; round++) {
      const keys = Array.from({ length: 20 }, () => randomUUID())
      const opposite = keys.toReversed()

      const [ids, oppositeIds] = await Promise.all([
        publisher.publish(keyedEach(keys)),
        otherPublisher.publish(keyedEach(opposite)),
      ])

      expect(oppositeIds).to.deep.equal(ids.toReversed())
    }
    expect(context.logged.filter(line => line.startsWith('error'))).to.deep.equal([])
  })

  it('makes only what is new of a batch that was sent in part before', async () => {
    const [known, fresh] = [randomUUID(), randomUUID()]
    const before = await publisher.publish(keyedEach([known]))

    const both = await publisher.publish(keyedEach([known, fresh]))

    expect(both[0]).to.equal(before[0])
    expect(await storedIds(both)).to.deep.equal(both.toSorted())
  })

  it('writes all of a batch or nothing: a key that was refused leaves the others of its batch free', async () => {
    const [used, free] = [randomUUID(), randomUUID()]
    await publisher.publish(keyed(used, 'one'))
    const batch = request(
      ['another', 'free'],
      [
        { key: used, bodySha256: digest('another'), eventIndexes: [0] },
        { key: free, bodySha256: digest('free'), eventIndexes: [1] },
      ],
    )

    expect(await codeOf(publisher.publish(batch))).to.equal('idempotency_key_reused')

    expect(await storedIds(batch.events.map(({ id }) => id))).to.deep.equal([])
    const retried = keyed(free, 'something else')
    expect(await publisher.publish(retried)).to.deep.equal([retried.events[0]!.id])
  })

  it('waits for a transaction that takes the same key, and answers with what that has made', async () => {
    const key = randomUUID()
    const made = context.deps.ids.next()
    const publishing = await context.deps.db.transaction(async trx => {
      await idempotencyKeys.claim(trx, workspaceId, [{ key, bodySha256: digest('same'), eventIds: [made] }])
      const waiting = publisher.publish(keyed(key, 'same'))
      await untilSomeoneWaits()
      return { waiting }
    })

    expect(await publishing.waiting).to.deep.equal([made])
  })

  it('takes the key itself when the other transaction comes to nothing', async () => {
    const key = randomUUID()
    const own = keyed(key, 'same')
    let waiting: Promise<string[]> | undefined
    const rolledBack = context.deps.db.transaction(async trx => {
      const foreign = { key, bodySha256: digest('same'), eventIds: [context.deps.ids.next()] }
      await idempotencyKeys.claim(trx, workspaceId, [foreign])
      waiting = publisher.publish(own)
      await untilSomeoneWaits()
      throw new Error('rolled back on purpose')
    })

    expect(String(await rejection(rolledBack))).to.include('on purpose')
    expect(await waiting).to.deep.equal([own.events[0]!.id])
  })

  it('does not wait for ever: after 5 s it says that the key is in use, and others are not kept from theirs', async () => {
    const key = randomUUID()
    await context.deps.db.transaction(async trx => {
      const foreign = { key, bodySha256: digest('same'), eventIds: [context.deps.ids.next()] }
      await idempotencyKeys.claim(trx, workspaceId, [foreign])
      const refused = codeOf(publisher.publish(keyed(key, 'same')))
      const others = Array.from({ length: 20 }, (_, i) => publisher.publish(request([`${i}`])))

      expect(await refused).to.equal('idempotency_key_in_use')
      expect(await Promise.all(others)).to.have.lengthOf(20)
    })
  })

  it('tries again what lost a race in the database', async () => {
    const own = request(['retried'])
    let failures = 0
    const racing = createPublisher({
      ...context.deps,
      queue: {
        ...context.deps.queue,
        enqueueMatches: async (db, jobs, beside) => {
          if (failures++ < 2) await rows(db, /* sql */ `do $$ begin raise sqlstate '40P01'; end $$`)
          await context.deps.queue.enqueueMatches(db, jobs, beside)
        },
      },
    })

    expect(await racing.publish(own)).to.deep.equal([own.events[0]!.id])
    expect(failures).to.equal(3)
  })

  /** Until a statement of this database waits for a lock. */
  async function untilSomeoneWaits(): Promise<void> {
    const sql = /* sql */ `
      select count(*) as count
        from pg_stat_activity
       where datname = current_database() and wait_event_type = 'Lock'`
    const deadlineMs = performance.now() + 5_000
    while ((await rows<{ count: number }>(context.deps.db, sql))[0]!.count === 0) {
      expect(performance.now(), 'nobody waits').to.be.below(deadlineMs)
    }
  }
})

function digest(text: string): Buffer {
  return hash('sha256', text, 'buffer')
}
