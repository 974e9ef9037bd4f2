/** One round of maintenance after another, by the test's own hand, on a service that delivers. */
import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { idempotencyKeySeconds, maintain } from '#src/jobs/maintain.ts'
import { rows } from '#src/store/db.ts'
import { daysAhead } from '#src/store/partitions.ts'
import { startApp, type App } from '#test/support/app.ts'
import { startReceiver, type Receiver } from '#test/support/receiver.ts'
import { createTenant, isDelivered, type Tenant } from '#test/scenarios/tenant.ts'

describe('maintenance', () => {
  let app: App
  let receiver: Receiver
  let tenant: Tenant

  before(async () => {
    ;[app, receiver] = await Promise.all([startApp({ worker: true }), startReceiver()])
    tenant = await createTenant(app.operator)
  })

  after(async () => {
    await app?.close()
    await receiver?.[Symbol.asyncDispose]()
  })

  async function query<Row>(sql: string, bindings: Record<string, unknown> = {}): Promise<Row[]> {
    return await rows<Row>(app.deps.db, sql, bindings)
  }

  it('schedules a delivery anew whose job was lost, and it is delivered once', async () => {
    const inbox = receiver.inbox(500, 200)
    await tenant.subscribe(inbox.url, { event: 'sms.inbound', retryPolicy: { delays: [0, 3_600] } })
    const event = await tenant.publish({}, { event: 'sms.inbound' })
    const { id } = await tenant.delivery(event, ({ nextAttemptAt }) => nextAttemptAt !== undefined)
    const lost = await query(
      `delete from hookseal_queue.job where name = 'attempt-deliveries' and data ->> 'deliveryId' = :id returning id`,
      { id },
    )
    expect(lost).to.have.lengthOf(1)

    await makeDue(id, 60)
    await maintain(app.deps)
    await maintain(app.deps)
    const delivery = await tenant.delivery(event, isDelivered)

    expect(delivery.attemptsCount).to.equal(2)
    expect(inbox.requests).to.have.lengthOf(2)
  })

  it('leaves a delivery alone that has its job, or is not long overdue, or is held', async () => {
    const make = async (event: string) => {
      const inbox = receiver.inbox(500)
      const subscription = await tenant.subscribe(inbox.url, { event, retryPolicy: { delays: [0, 3_600] } })
      const published = await tenant.publish({}, { event })
      const { id } = await tenant.delivery(published, ({ nextAttemptAt }) => nextAttemptAt !== undefined)
      return { id, subscription, published }
    }
    const [withJob, soon, held] = [
      await make('line.inbound'),
      await make('line.outbound'),
      await make('line.interaction'),
    ]
    const removeJob = (id: string) =>
      query(
        `delete from hookseal_queue.job where name = 'attempt-deliveries' and data ->> 'deliveryId' = :id`,
        { id },
      )
    await makeDue(withJob.id, 60)
    await makeDue(soon.id, 5)
    await removeJob(soon.id)
    await makeDue(held.id, 60)
    await removeJob(held.id)
    await query(`update deliveries set held_by = 'paused' where id = :id`, { id: held.id })
    const scheduleNumbers = () =>
      query(
        `select id, schedule_number, next_attempt_at from deliveries where id = any(:ids::uuid[]) order by id`,
        {
          ids: `{${[withJob.id, soon.id, held.id].join()}}`,
        },
      )
    const before = await scheduleNumbers()

    await maintain(app.deps)

    expect(await scheduleNumbers()).to.deep.equal(before)
  })

  it('makes the partitions of every day to come, and those that somebody dropped', async () => {
    const dayMs = 86_400_000
    const nameOn = (table: string, day: number) =>
      `${table}_${new Date(Date.now() + day * dayMs).toISOString().slice(0, 10).replaceAll('-', '')}`
    const expected = ['events', 'deliveries', 'attempts'].flatMap(table =>
      Array.from({ length: daysAhead + 1 }, (_, day) => nameOn(table, day)),
    )
    for (const table of ['events', 'deliveries', 'attempts']) {
      await app.deps.db.raw(`drop table ${nameOn(table, daysAhead)}`)
    }

    await maintain(app.deps)
    await maintain(app.deps)

    const found = await query<{ name: string }>('select relid::text as name from pg_partition_tree(:root)', {
      root: 'events',
    })
    const others = await query<{ name: string }>(
      `select relid::text as name from pg_partition_tree('deliveries') union all
       select relid::text from pg_partition_tree('attempts')`,
    )
    expect([...found, ...others].map(({ name }) => name)).to.include.members(expected)
  })

  it('forgets idempotency keys after their day, and no sooner', async () => {
    const publish = (key: string) => tenant.publish({ key }, { id: key })
    const [old, young] = [await publish('old'), await publish('young')]
    const age = (key: string, seconds: number) =>
      query(
        `update idempotency_keys set created_at = now() - :seconds * interval '1 second'
          where workspace_id = :workspaceId and key = :key`,
        { key, seconds, workspaceId: tenant.workspaceId },
      )
    await age('old', idempotencyKeySeconds + 10)
    await age('young', idempotencyKeySeconds - 60)

    await maintain(app.deps)

    expect((await publish('young')).id).to.equal(young.id)
    expect((await publish('old')).id).not.to.equal(old.id)
  })

  it('forgets flights in which nothing is open any more, and only once they are old', async () => {
    const unwritten = app.deps.ids.next()
    const insert = (id: string, seconds: number, deliveryIds: string[]) =>
      query(
        `insert into flights (id, workspace_id, started_at, delivery_ids, event_ids, subscription_ids, formats, numbers)
         values (:id, :workspaceId, now() - :seconds * interval '1 second', :ids::uuid[], :ids::uuid[], :ids::uuid[],
                 :formats::text[], :numbers::integer[])`,
        {
          id,
          seconds,
          workspaceId: tenant.workspaceId,
          ids: `{${deliveryIds.join()}}`,
          formats: `{${deliveryIds.map(() => 'bird').join()}}`,
          numbers: `{${deliveryIds.map(() => 1).join()}}`,
        },
      )
    const [landed, open, young] = [app.deps.ids.next(), app.deps.ids.next(), app.deps.ids.next()]
    await insert(landed, 400, [])
    // Its delivery is not written: after a long outage, the job that resumes it may still be waiting.
    await insert(open, 100 * 86_400, [unwritten])
    await insert(young, 200, [])

    await maintain(app.deps)

    const found = await query<{ id: string }>(
      'select id from flights where id = any(:ids::uuid[]) order by id',
      {
        ids: `{${landed},${open},${young}}`,
      },
    )
    expect(found.map(({ id }) => id)).to.deep.equal([open, young])
  })

  it('is done by one process at a time; the others pass', async () => {
    const inserted = await query<{ id: string }>(
      `insert into flights (id, workspace_id, started_at, delivery_ids, event_ids, subscription_ids, formats, numbers)
       values (:id, :workspaceId, now() - interval '100 days', '{}', '{}', '{}', '{}', '{}') returning id`,
      { id: app.deps.ids.next(), workspaceId: tenant.workspaceId },
    )
    const isThere = async () =>
      (await query('select from flights where id = :id', { id: inserted[0]!.id })).length === 1

    await app.deps.db.transaction(async trx => {
      const [lock] = await rows<{ key: number }>(trx, 'select pg_advisory_xact_lock(8236115), 8236115 as key')
      expect(lock!.key).to.equal(8_236_115)
      await maintain(app.deps)
      expect(await isThere()).to.equal(true)
    })
    await maintain(app.deps)

    expect(await isThere()).to.equal(false)
  })

  /** Makes it look as if the time of its next attempt had come so many seconds ago. */
  async function makeDue(id: string, seconds: number): Promise<void> {
    await query(
      `update deliveries set next_attempt_at = now() - :seconds * interval '1 second' where id = :id`,
      {
        id,
        seconds,
      },
    )
  }
})
