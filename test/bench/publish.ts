/**
 * How fast events are accepted, one by one and in batches, next to the same framework doing nothing with them.
 * The service has the role `api`: what is measured is accepting, not the match and delivery that follow.
 */

import { startChild } from './child.ts'
import { deploy } from './deployment.ts'
import { createEvent } from './events.ts'
import type { KoaFloor } from './koa-floor.ts'
import type { Load, LoadWindow } from './load.ts'
import { measureInTurn, progress, type Measurement } from './rig.ts'

/** Events per second. */
export type PublishName = 'publishPerSecond' | 'publishSingle' | 'publishBatch'

/** Takes the measurements that are wanted, if any, each after a warm-up of its own. */
export async function measurePublish(
  wanted: ReadonlySet<PublishName>,
  signal: AbortSignal,
): Promise<Map<PublishName, number>> {
  if (wanted.size === 0) return new Map()
  await using load = startChild<Load>('./load.ts', signal)
  await using floor = startChild<KoaFloor>('./koa-floor.ts', signal)
  const floorUrl = `http://127.0.0.1:${await floor.call('listen')}`
  await using deployment = needsService(wanted) ? await deploy('api', signal) : undefined

  const { url = '', workspace = '', accessKey = '' } = deployment ?? {}
  const headers = { 'content-type': 'application/json', authorization: `AccessKey ${accessKey}` }
  const single = { headers, body: JSON.stringify(event), connections: 64 }
  const batch = { headers, body: JSON.stringify({ events: Array(batchCount).fill(event) }), connections: 4 }

  const windows = new Map<PublishName, Omit<LoadWindow, 'durationSeconds'>>([
    ['publishPerSecond', { ...single, url: `${floorUrl}/events` }],
    ['publishSingle', { ...single, url: `${url}${workspace}/events` }],
    ['publishBatch', { ...batch, url: `${url}${workspace}/events/batch` }],
  ])
  const measurements = new Map<PublishName, Measurement>()
  for (const [name, window] of windows) {
    if (!wanted.has(name)) continue
    progress(`${name}: warming up`)
    await load.call('post', { ...window, durationSeconds: 2 })
    const eventsPerRequest = name === 'publishBatch' ? batchCount : 1
    measurements.set(
      name,
      async () => (await load.call('post', { ...window, durationSeconds: 3 })) * eventsPerRequest,
    )
  }
  // Awaited here: the processes that are used end with this function.
  return await measureInTurn(measurements, budgetMs)
}

function needsService(wanted: ReadonlySet<PublishName>): boolean {
  return wanted.has('publishSingle') || wanted.has('publishBatch')
}

const event = createEvent(0, 'channel-0', 'delivered')
const batchCount = 100
const budgetMs = 60_000
