/**
 * How fast stored events become deliveries, next to undici alone sending the same requests. The events are
 * stored while no worker runs; then one is started, and the receiver's clock counts from the first arrival to
 * the last. The worker starts cold, the floor is warm: the figure errs on the service's disadvantage.
 */

import assert from 'node:assert/strict'
import { assertArrivals, verifySample } from './arrivals.ts'
import { startChild, type Child } from './child.ts'
import { deploy, publishAll, subscribe } from './deployment.ts'
import { createEvent, drain10Plan, drain1Plan, pathsOf, type Plan } from './events.ts'
import { measureInTurn, progress, type Measurement, type Rig } from './rig.ts'
import type { Sender } from './sender.ts'

/** Deliveries per second. */
export type DrainName = 'sendPerSecond' | 'drain1' | 'drain10'

/** Takes the measurements that are wanted, if any. */
export async function measureDrains(
  rig: Rig,
  wanted: ReadonlySet<DrainName>,
): Promise<Map<DrainName, number>> {
  if (wanted.size === 0) return new Map()
  await using sender = startChild<Sender>('./sender.ts', rig.signal)
  const measurements = new Map<DrainName, Measurement>([
    ['sendPerSecond', () => measureFloor(rig, sender)],
    ['drain1', () => measureDrain(rig, drain1Plan)],
    ['drain10', () => measureDrain(rig, drain10Plan)],
  ])
  for (const name of measurements.keys()) {
    if (!wanted.has(name)) measurements.delete(name)
  }
  // Awaited here: the processes that are used end with this function.
  return await measureInTurn(measurements, budgetMs)
}

async function measureFloor(
  { receiver, receiverUrl, signingKey }: Rig,
  sender: Child<Sender>,
): Promise<number> {
  const window = {
    urls: drain1Plan.subscriptions.map(({ path }) => receiverUrl + path),
    signingKey,
    body: JSON.stringify(createEvent(0, 'channel-0', 'delivered')),
    connections: 32,
  }
  await sender.call('send', { ...window, durationMs: 1_000 })
  await receiver.call('reset')
  const { sentCount, perSecond } = await sender.call('send', { ...window, durationMs: 3_000 })

  const { ids, samples } = await receiver.call('arrivals')
  assert.equal(ids.length, sentCount, 'the receiver must have counted what the sender sent')
  for (const sample of samples) verifySample(sample, signingKey)
  return perSecond
}

async function measureDrain({ receiver, receiverUrl, signingKey, signal }: Rig, plan: Plan): Promise<number> {
  await using deployment = await deploy('api', signal)
  await subscribe(deployment, plan, { url: receiverUrl, signingKey })
  const published = await publishAll(deployment, plan)
  progress(`stored ${plan.eventsCount} events, starting the worker`)

  const count = plan.eventsCount * pathsOf(plan, plan.eventAt(0)).length
  await receiver.call('reset')
  await deployment.start('worker')
  await receiver.call('untilQuiet', { count, quietMs: 1_000, timeoutMs: 90_000 })

  const arrivals = await receiver.call('arrivals')
  assertArrivals(published, arrivals, signingKey)
  const [firstMs = 0, lastMs = 0] = [arrivals.atMs.at(0), arrivals.atMs.at(-1)]
  return (count / (lastMs - firstMs)) * 1_000
}

const budgetMs = 120_000
