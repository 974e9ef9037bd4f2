/** What became of attempts, written together: with the jobs that are ours, and without those that are not any more. */
import { expect } from 'chai'
import { after, afterEach, before, beforeEach, describe, it } from 'mocha'
import { stateAfterAttempt, untouched, type PendingDelivery } from '#src/domain/delivery.ts'
import type { Outcome } from '#src/domain/outcome.ts'
import { deliveryIdOf } from '#src/ids.ts'
import { createClaims, type Claim, type Claims } from '#src/jobs/claims.ts'
import { createSettler, type Ended, type Settler } from '#src/jobs/settle.ts'
import type { NewAttempt } from '#src/store/attempts.ts'
import * as attempts from '#src/store/attempts.ts'
import { rows } from '#src/store/db.ts'
import * as deliveries from '#src/store/deliveries.ts'
import * as flights from '#src/store/flights.ts'
import { createJobsContext, type JobsContext } from '#test/jobs/context.ts'

describe('the settler', () => {
  let context: JobsContext
  let workspaceId: string
  let subscriptionId: string
  let claims: Claims
  let settler: Settler
  let told: Ended[]

  before(async () => {
    context = await createJobsContext()
    workspaceId = await context.newWorkspace()
    subscriptionId = await context.subscribe(workspaceId)
  })

  after(async () => {
    await context?.close()
  })

  beforeEach(() => {
    claims = createClaims(context.deps)
    told = []
    settler = createSettler({ ...context.deps, claims, onSettled: settled => told.push(...settled) })
    context.logged.length = 0
  })

  afterEach(() => {
    claims.stop()
  })

  /** A claimed match job; `open` counts its own handling, and then its deliveries. */
  async function claim(open: number): Promise<Claim<'match-events'>> {
    const { deps } = context
    await deps.queue.enqueueMatches(deps.db, [{ workspaceId, eventIds: [deps.ids.next()] }])
    const [job] = await deps.queue.claim('match-events', 1)
    return Object.assign(claims.add('match-events', job!), { open })
  }

  function newDelivery(): PendingDelivery {
    const eventId = context.deps.ids.next()
    return {
      id: deliveryIdOf(eventId, subscriptionId),
      workspaceId,
      eventId,
      subscriptionId,
      endpointId: context.deps.ids.next(),
      service: 'channels',
      event: 'sms.outbound',
      format: 'bird',
      attemptsCount: 0,
      interruptionsCount: 0,
      scheduleNumber: 0,
    }
  }

  function ended(
    of: Claim,
    delivery: PendingDelivery,
    outcome: Outcome,
    changes: Partial<NewAttempt> = {},
  ): Ended {
    const judgement = { outcome, status: 200, retryAfterMs: undefined, isLocal: false }
    return {
      claim: of,
      isNew: true,
      state: stateAfterAttempt(delivery, judgement, { delays: [0, 3_600] }, () => 0.5),
      attempt: {
        workspaceId,
        deliveryId: delivery.id,
        number: 1,
        outcome,
        startedAt: new Date(),
        durationMs: 1,
        requestsCount: 1,
        remoteAddress: '127.0.0.1',
        error: null,
        method: 'POST',
        url: 'http://127.0.0.1/',
        requestHeaders: '',
        response: { status: 200, headers: [['x', 'y']], body: Buffer.from('ok'), isTruncated: false },
        ...changes,
      },
    }
  }

  async function settle(...results: Ended[]): Promise<void> {
    for (const result of results) settler.add(result)
    await settler.flush()
  }

  async function jobState(of: Claim): Promise<string> {
    const [job] = await rows<{ state: string }>(
      context.deps.db,
      'select state::text from hookseal_queue.job where id = :id',
      { id: of.job.id },
    )
    return job!.state
  }

  async function outcomesOf({ id }: PendingDelivery): Promise<string[]> {
    return (await attempts.listByDeliveries(context.deps.db, workspaceId, [id])).map(({ outcome }) => outcome)
  }

  const find = ({ id }: PendingDelivery) => deliveries.find(context.deps.db, workspaceId, id)

  it('completes a job with the last that was open of it, and not before', async () => {
    const held = await claim(3)
    const [one, two] = [newDelivery(), newDelivery()]

    await settle({ claim: held }, ended(held, one, 'delivered'))
    expect(await jobState(held)).to.equal('active')
    expect(claims.size).to.equal(1)

    await settle(ended(held, two, 'delivered'))
    expect(await jobState(held)).to.equal('completed')
    expect(claims.size).to.equal(0)
    expect([(await find(one))!.status, (await find(two))!.status]).to.deep.equal(['delivered', 'delivered'])
    expect(told).to.have.lengthOf(3)
  })

  it('writes delivery, attempt and the next job together', async () => {
    const held = await claim(1)
    const delivery = newDelivery()

    await settle(ended(held, delivery, 'http_error'))

    expect(await find(delivery)).to.include({
      status: 'pending',
      attemptsCount: 1,
      lastOutcome: 'http_error',
    })
    expect(await outcomesOf(delivery)).to.deep.equal(['http_error'])
    const next = { workspaceId, deliveryId: delivery.id, scheduleNumber: 1 }
    expect(await context.deps.queue.findLiveAttempts(context.deps.db, [next])).to.deep.equal(
      new Set([delivery.id]),
    )
  })

  it('leaves what was on the wire for a lost job to whoever takes over, and changes nothing else', async () => {
    const [lost, kept] = [await claim(1), await claim(1)]
    const [theirs, ours] = [newDelivery(), newDelivery()]
    const flight = { id: context.deps.ids.next(), open: 1, isLost: false }
    await flights.insert(context.deps.db, {
      id: flight.id,
      workspaceId,
      startedAt: new Date(),
      entries: [
        { deliveryId: theirs.id, eventId: theirs.eventId, subscriptionId, format: 'bird', number: 1 },
      ],
    })
    await context.deps.queue.fail('match-events', [lost.job])

    await settle({ ...ended(lost, theirs, 'delivered'), flight }, ended(kept, ours, 'delivered'))

    expect(await outcomesOf(theirs)).to.deep.equal([])
    const live = await flights.listLiveByDeliveries(context.deps.db, workspaceId, [theirs.id])
    expect(
      live.map(({ number }) => number),
      'its request is still on record',
    ).to.deep.equal([1])
    expect((await find(theirs))!.attemptsCount).to.equal(0)
    expect(await jobState(lost)).to.equal('retry')
    expect(await outcomesOf(ours)).to.deep.equal(['delivered'])
    expect((await find(ours))!.status).to.equal('delivered')
    expect(told.map(({ attempt }) => attempt?.outcome)).to.have.members(['delivered', 'superseded'])
  })

  it('puts what a worker learned that was given up in the place of its interrupted attempt', async () => {
    const lost = await claim(1)
    const delivery = newDelivery()
    const interrupted = ended(lost, delivery, 'interrupted', { response: null, error: 'gone' }).attempt!
    await attempts.insertMany(context.deps.db, [interrupted])
    await context.deps.queue.fail('match-events', [lost.job])

    await settle(ended(lost, delivery, 'delivered'))

    const [attempt] = await attempts.listByDeliveries(context.deps.db, workspaceId, [delivery.id])
    expect(attempt).to.include({ outcome: 'superseded', error: null })
    expect(attempt!.response).to.deep.include({ status: 200, body: Buffer.from('ok') })
  })

  it('leaves a delivery that has ended meanwhile as it is', async () => {
    const held = await claim(1)
    const delivery = newDelivery()
    await deliveries.insertMany(context.deps.db, [
      { ...untouched(delivery), status: 'cancelled', statusReason: 'deleted' },
    ])

    await settle({ ...ended(held, delivery, 'http_error'), isNew: false })

    expect(await find(delivery)).to.include({ status: 'cancelled', statusReason: 'deleted' })
    expect(await outcomesOf(delivery)).to.deep.equal(['http_error'])
  })

  it('writes a result again that the database has already, without a second of anything', async () => {
    const [first, again] = [await claim(1), await claim(1)]
    const delivery = newDelivery()
    await settle(ended(first, delivery, 'http_error'))

    await settle(ended(again, delivery, 'http_error'))

    expect(await outcomesOf(delivery)).to.deep.equal(['http_error'])
    expect(await find(delivery)).to.include({ attemptsCount: 1 })
  })

  it('removes a flight with the last of it, and not before', async () => {
    const held = await claim(2)
    const [one, two] = [newDelivery(), newDelivery()]
    const flight = { id: context.deps.ids.next(), open: 2, isLost: false }
    await flights.insert(context.deps.db, {
      id: flight.id,
      workspaceId,
      startedAt: new Date(),
      entries: [one, two].map(({ id: deliveryId, eventId }) => ({
        deliveryId,
        eventId,
        subscriptionId,
        format: 'bird' as const,
        number: 1,
      })),
    })
    const isThere = async () =>
      (await rows(context.deps.db, 'select from flights where id = :id', { id: flight.id })).length === 1

    await settle({ ...ended(held, one, 'delivered'), flight })
    expect(await isThere()).to.equal(true)
    expect((await find(two))!.status).to.equal('pending')

    await settle({ ...ended(held, two, 'delivered'), flight })
    expect(await isThere()).to.equal(false)
  })

  it('writes the others when one result of a group cannot be written, and lets go of its job', async () => {
    const [bad, good] = [await claim(1), await claim(1)]
    const [broken, fine] = [newDelivery(), newDelivery()]
    const unwritable = ended(bad, broken, 'delivered', { method: null as never })

    await settle(unwritable, ended(good, fine, 'delivered'))

    expect((await find(fine))!.status).to.equal('delivered')
    expect(await jobState(good)).to.equal('completed')
    expect(await find(broken)).to.equal(undefined)
    expect(await jobState(bad)).to.equal('active')
    expect(claims.size).to.equal(0)
    expect(context.logged).to.include.members(['error settle.group_failed', 'error settle.failed'])
  })

  it('waits for a database that is away, and then writes everything once', async () => {
    const held = await claim(1)
    const delivery = newDelivery()
    let refusals = 2
    const { deps } = context
    const away = new Proxy(deps.db, {
      get(db, name) {
        if (name !== 'transaction' || refusals-- <= 0) return Reflect.get(db, name) as unknown
        return () =>
          Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
      },
    })
    const patient = createSettler({ ...deps, db: away, claims, onSettled: settled => told.push(...settled) })

    patient.add(ended(held, delivery, 'delivered'))
    await patient.flush()

    expect((await find(delivery))!.status).to.equal('delivered')
    expect(told).to.have.lengthOf(1)
    expect(context.logged.filter(line => line === 'warn settle.waiting_for_database')).to.have.lengthOf(2)
  })

  it('writes text and bytes of a receiver that try to be something else', async () => {
    const held = await claim(1)
    const delivery = newDelivery()
    const body = Buffer.from([0, 255, 34, 92, 123, 125])
    const value = 'a "quoted" \\ {braced}, null \u2028 \u{1f600}'

    await settle(
      ended(held, delivery, 'delivered', {
        error: value,
        response: {
          status: 200,
          headers: [
            ['x-odd', value],
            ['x-odd', ''],
          ],
          body,
          isTruncated: true,
        },
      }),
    )

    const [attempt] = await attempts.listByDeliveries(context.deps.db, workspaceId, [delivery.id])
    expect(attempt!.error).to.equal(value)
    expect(attempt!.response).to.deep.equal({
      status: 200,
      headers: [
        ['x-odd', value],
        ['x-odd', ''],
      ],
      body,
      isTruncated: true,
    })
  })
})
