/**
 * How long an event takes from its publisher to its receiver on a service that has nothing else to do. Events
 * are published at fixed times, whether or not earlier ones have been answered, so that a stall shows in all
 * the events it delayed.
 */

import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { assertArrivals } from './arrivals.ts'
import { deploy, subscribe, type Deployment } from './deployment.ts'
import { latencyPlan as plan } from './events.ts'
import { monotonicMs, quantile } from './measure.ts'
import { progress, type Rig } from './rig.ts'

/** Milliseconds from just before a publish request is written to the arrival of its delivery. */
export async function measureLatency(rig: Rig): Promise<{ p50: number; p99: number }> {
  const { receiver, receiverUrl, signingKey, signal } = rig
  await using deployment = await deploy('all', signal)
  await subscribe(deployment, plan, { url: receiverUrl, signingKey })
  await receiver.call('reset')
  progress(`latencyMs: ${plan.eventsCount} events at ${perSecond} per second`)

  const sent = await publishAtRate(deployment, signal)
  await receiver.call('untilQuiet', { count: plan.eventsCount, quietMs: 500, timeoutMs: 30_000 })
  const arrivals = await receiver.call('arrivals')
  assertArrivals({ plan, ids: sent.map(({ id }) => id) }, arrivals, signingKey)

  const arrivedMs = new Map(arrivals.ids.map((id, index) => [id, arrivals.atMs[index] ?? NaN]))
  const latenciesMs = sent.slice(warmUpCount).map(({ id, atMs }) => (arrivedMs.get(id) ?? NaN) - atMs)
  return { p50: quantile(latenciesMs, 0.5), p99: quantile(latenciesMs, 0.99) }
}

type Sent = { id: string; atMs: number }

async function publishAtRate(deployment: Deployment, signal: AbortSignal): Promise<Sent[]> {
  const ended = new AbortController()
  const anyEnd = AbortSignal.any([signal, ended.signal])
  const publishing = Array.from({ length: plan.eventsCount }, async (_, sequence) => {
    await delay((sequence / perSecond) * 1_000, undefined, { signal: anyEnd })
    return publish(deployment, sequence)
  })
  try {
    return await Promise.all(publishing)
  } finally {
    // After a failure nobody waits for the rest.
    ended.abort()
  }
}

async function publish({ client, workspace }: Deployment, sequence: number): Promise<Sent> {
  const event = plan.eventAt(sequence)
  const atMs = monotonicMs()
  const reply = await client.post<{ id: string }>(`${workspace}/events`, event)
  assert.equal(reply.status, 202, JSON.stringify(reply.body))
  return { id: reply.body.id, atMs }
}

const perSecond = 50
const warmUpCount = 100
