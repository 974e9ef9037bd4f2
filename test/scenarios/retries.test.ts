/**
 * What becomes of a delivery whose receiver does not take it at once: when it is tried again, with what, and how
 * it ends.
 */
import { createHmac } from 'node:crypto'
import { expect } from 'chai'
import { after, before, beforeEach, describe, it } from 'mocha'
import type { Client } from '#test/support/api-client.ts'
import { testDatabase } from '#test/support/database.ts'
import { createServiceEnv, freePort, startService, type Service } from '#test/support/process.ts'
import { startReceiver, type Receiver, type Step } from '#test/support/receiver.ts'
import {
  createOperator,
  createTenant,
  isDelivered,
  type Delivery,
  type Tenant,
} from '#test/scenarios/tenant.ts'

const isFailed = ({ status }: Delivery): boolean => status === 'failed'
const isScheduled = ({ nextAttemptAt }: Delivery): boolean => nextAttemptAt !== undefined

describe('a delivery that is not taken at once', () => {
  let service: Service
  let receiver: Receiver
  let operator: Client
  let tenant: Tenant

  before(async () => {
    const env = { ...createServiceEnv(), DATABASE_URL: (await testDatabase()).url }
    ;[service, receiver] = await Promise.all([startService(env), startReceiver()])
    operator = createOperator(service.url, env)
  })

  beforeEach(async () => {
    tenant = await createTenant(operator)
  })

  after(async () => {
    await operator?.close()
    await service?.stop()
    await receiver?.[Symbol.asyncDispose]()
  })

  it('is tried again on its schedule, with the same id and bytes, signed anew', async () => {
    const inbox = receiver.inbox(503, { status: 500, body: 'no' }, 200)
    const { signingKey } = await tenant.subscribe(inbox.url, { retryPolicy: { delays: [0, 1, 1] } })

    const event = await tenant.publish({ n: 1 })
    const requests = await inbox.received(3)
    const delivery = await tenant.delivery(event, isDelivered)

    expect(requests.map(({ headers }) => headers['hookseal-attempt'])).to.deep.equal(['1', '2', '3'])
    expect(new Set(requests.map(({ headers }) => headers['hookseal-delivery']))).to.deep.equal(
      new Set([delivery.id]),
    )
    expect(new Set(requests.map(({ headers }) => headers['webhook-id']))).to.deep.equal(new Set([event.id]))
    expect(new Set(requests.map(({ body }) => body.toString('hex')))).to.have.lengthOf(1)

    const timestamps = requests.map(({ headers }) => Number(headers['webhook-timestamp']))
    expect(timestamps[1]).to.be.greaterThan(timestamps[0]!)
    expect(timestamps[2]).to.be.greaterThan(timestamps[1]!)
    requests.forEach(({ headers, body, atMs }, i) => {
      expect(timestamps[i]! * 1_000).to.be.within(atMs - 2_000, atMs + 1_000)
      const signed = Buffer.concat([Buffer.from(`${event.id}.${timestamps[i]}.`), body])
      const key = Buffer.from(signingKey.replace('whsec_', ''), 'base64')
      expect(headers['webhook-signature']).to.equal(
        `v1,${createHmac('sha256', key).update(signed).digest('base64')}`,
      )
    })

    const attempts = await tenant.attempts(delivery)
    expect(
      attempts.map(({ number, outcome, response }) => [number, outcome, response?.status]),
    ).to.deep.equal([
      [1, 'http_error', 503],
      [2, 'http_error', 500],
      [3, 'delivered', 200],
    ])
    expect(attempts[1]!.response!.body).to.equal('no')
    expect(delivery).to.include({ attemptsCount: 3, lastOutcome: 'delivered', lastResponseStatus: 200 })
  })

  it('has failed when its attempts are used up, and says so', async () => {
    const inbox = receiver.inbox(500)
    await tenant.subscribe(inbox.url, { retryPolicy: { delays: [0, 1] } })

    const delivery = await tenant.delivery(await tenant.publish({}), isFailed)

    expect(delivery).to.include({
      attemptsCount: 2,
      statusReason: 'all 2 attempts failed',
      lastOutcome: 'http_error',
      lastResponseStatus: 500,
    })
    expect(delivery).not.to.have.any.keys('nextAttemptAt', 'heldBy')
    expect(inbox.requests).to.have.lengthOf(2)
  })

  const singleOutcomes: { name: string; steps: Step[]; fields?: object; outcome: string; status?: number }[] =
    [
      {
        name: 'a redirect, which is not followed',
        steps: [{ status: 302, headers: { location: '/stray' } }],
        outcome: 'redirect_refused',
        status: 302,
      },
      { name: 'a status that is no success', steps: [404], outcome: 'http_error', status: 404 },
      {
        name: 'a 2xx that is not on the list of success',
        steps: [204],
        fields: { successStatus: [202] },
        outcome: 'http_error',
        status: 204,
      },
      { name: 'a 503 without a Retry-After', steps: [503], outcome: 'http_error', status: 503 },
      { name: 'no answer in time', steps: ['hang'], fields: { timeoutMs: 1_000 }, outcome: 'timeout' },
    ]
  for (const { name, steps, fields, outcome, status } of singleOutcomes) {
    it(`tells ${name} as ${outcome}`, async () => {
      const inbox = receiver.inbox(...steps)
      await tenant.subscribe(inbox.url, { retryPolicy: 'none', ...fields })

      const delivery = await tenant.delivery(await tenant.publish({}), isFailed)
      const attempts = await tenant.attempts(delivery)

      expect(delivery).to.include({ lastOutcome: outcome, statusReason: 'its only attempt failed' })
      expect(delivery.lastResponseStatus).to.equal(status)
      expect(attempts).to.have.lengthOf(1)
      expect(attempts[0]).to.include({ number: 1, outcome, requestsCount: 1 })
      expect(attempts[0]!.response?.status).to.equal(status)
      expect(inbox.requests).to.have.lengthOf(1)
      expect(receiver.strays).to.deep.equal([])
    })
  }

  it('tells a new connection that is broken off as connection_reset, after one request', async () => {
    await using fresh = await startReceiver()
    const inbox = fresh.inbox('reset')
    await tenant.subscribe(inbox.url, { retryPolicy: 'none' })

    const delivery = await tenant.delivery(await tenant.publish({}), isFailed)

    expect((await tenant.attempts(delivery))[0]).to.include({ outcome: 'connection_reset', requestsCount: 1 })
    expect(inbox.requests).to.have.lengthOf(1)
  })

  it('counts both requests of an attempt that was sent again, since a kept connection had been broken off', async () => {
    await using fresh = await startReceiver()
    const inbox = fresh.inbox(200, 'reset', 200)
    await tenant.subscribe(inbox.url, { retryPolicy: 'none' })
    await tenant.delivery(await tenant.publish({}), isDelivered)

    const delivery = await tenant.delivery(await tenant.publish({}), isDelivered)

    expect((await tenant.attempts(delivery))[0]).to.include({ outcome: 'delivered', requestsCount: 2 })
    expect(inbox.requests.map(({ headers }) => headers['hookseal-attempt'])).to.deep.equal(['1', '1', '1'])
    expect(inbox.requests[2]!.headers['webhook-id']).to.equal(inbox.requests[1]!.headers['webhook-id'])
  })

  it('tells a port that nobody listens on as connection_refused, with no request made', async () => {
    await tenant.subscribe(`http://127.0.0.1:${await freePort()}/`, { retryPolicy: 'none' })

    const delivery = await tenant.delivery(await tenant.publish({}), isFailed)
    const [attempt] = await tenant.attempts(delivery)

    expect(delivery.lastOutcome).to.equal('connection_refused')
    expect(attempt).to.include({ outcome: 'connection_refused', requestsCount: 0 })
    expect(attempt!.response).to.equal(null)
    expect(attempt!.error).to.be.a('string').that.does.not.include('127.0.0.1')
  })

  it('is delivered by any status on the list of success', async () => {
    const inbox = receiver.inbox(404)
    await tenant.subscribe(inbox.url, { successStatus: [404, 200] })

    const delivery = await tenant.delivery(await tenant.publish({}), isDelivered)

    expect(delivery).to.include({ attemptsCount: 1, lastResponseStatus: 404 })
  })

  const waits: {
    name: string
    step: Step
    fields?: object
    secondsMin: number
    secondsMax: number
    outcome: string
  }[] = [
    {
      name: 'what Retry-After of a 429 asks for',
      step: { status: 429, headers: { 'retry-after': '120' } },
      secondsMin: 120,
      secondsMax: 144,
      outcome: 'throttled',
    },
    {
      name: 'a minute after a 429 that asks for less',
      step: { status: 429, headers: { 'retry-after': '1' } },
      secondsMin: 60,
      secondsMax: 72,
      outcome: 'throttled',
    },
    {
      name: 'what Retry-After of a 503 asks for',
      step: { status: 503, headers: { 'retry-after': '10' } },
      secondsMin: 10,
      secondsMax: 12,
      outcome: 'throttled',
    },
    {
      name: 'a minute after no answer',
      step: 'hang',
      fields: { timeoutMs: 1_000 },
      secondsMin: 60,
      secondsMax: 72,
      outcome: 'timeout',
    },
    {
      name: 'what its policy says after any other failure',
      step: 500,
      fields: { retryPolicy: { delays: [0, 100] } },
      secondsMin: 80,
      secondsMax: 120,
      outcome: 'http_error',
    },
  ]
  for (const { name, step, fields, secondsMin, secondsMax, outcome } of waits) {
    it(`waits ${name}`, async () => {
      const inbox = receiver.inbox(step)
      await tenant.subscribe(inbox.url, { retryPolicy: { delays: [0, 1] }, ...fields })

      const event = await tenant.publish({})
      const delivery = await tenant.delivery(event, isScheduled)

      const settledAtMs = Date.parse(delivery.updatedAt)
      const waitSeconds = (Date.parse(delivery.nextAttemptAt!) - settledAtMs) / 1_000
      // The two moments are those of one transaction, kept to the millisecond.
      expect(waitSeconds).to.be.within(secondsMin - 0.001, secondsMax + 0.001)
      expect(delivery).to.include({ status: 'pending', attemptsCount: 1, lastOutcome: outcome })
    })
  }

  it('has its next attempt with what the endpoint is by then', async () => {
    const [before, now] = [receiver.inbox(500), receiver.inbox()]
    const subscription = await tenant.subscribe(before.url, {
      retryPolicy: { delays: [0, 2] },
      format: 'bird',
    })
    const event = await tenant.publish({ n: 1 })
    const [first] = await before.received(1)

    await tenant.change(subscription, { url: now.url, headers: { 'x-new': 'yes' }, format: 'raw' })
    const [second] = await now.received(1)

    expect(second!.headers).to.include({ 'x-new': 'yes', 'hookseal-attempt': '2', 'webhook-id': event.id })
    // The format is a matter of the delivery, so that its bytes stay the same.
    expect(second!.body).to.deep.equal(first!.body)
    expect((await tenant.delivery(event, isDelivered)).attemptsCount).to.equal(2)
    expect(before.requests).to.have.lengthOf(1)
  })
})
