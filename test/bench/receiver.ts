/**
 * The one process that receives everything the benchmark sends: the floor's POSTs as well as the deliveries.
 * It answers at once and does no more than note who called and when, so that it is not what is measured; all
 * judging is done afterwards, by the parent.
 */

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { offer } from './child.ts'
import { monotonicMs } from './measure.ts'

/** A request that was kept whole. */
export type Sample = { path: string; headers: Record<string, string>; body: string }

/** What came since the last `reset`; the index is the order of arrival. */
export type Arrivals = { ids: string[]; paths: string[]; atMs: Float64Array; samples: Sample[] }

/** One request in this many is kept whole; a prime, so that samples do not fall in step with a rotation. */
export const sampleEvery = 199

// Five times the largest count that is expected: a flood is refused instead of filling the memory.
const arrivalsMax = 500_000

let ids: string[] = []
let paths: string[] = []
let times: number[] = []
let samples: Sample[] = []

const commands = {
  /** Starts to listen and gives the port. */
  async listen(): Promise<number> {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  },

  reset(): void {
    ids = []
    paths = []
    times = []
    samples = []
  },

  /**
   * Waits until `count` requests have come and then none for `quietMs`, which is when repeats would show, or
   * until `timeoutMs` have passed; what came is in the arrivals either way.
   */
  untilQuiet(options: { count: number; quietMs: number; timeoutMs: number }): Promise<void> {
    const deadline = monotonicMs() + options.timeoutMs
    return new Promise(resolve => {
      const timer = setInterval(() => {
        const now = monotonicMs()
        const isComplete = times.length >= options.count && now - (times.at(-1) ?? 0) >= options.quietMs
        if (!isComplete && now < deadline) return
        clearInterval(timer)
        resolve()
      }, 50)
    })
  },

  arrivals(): Arrivals {
    return { ids, paths, atMs: Float64Array.from(times), samples }
  },
}

export type Receiver = typeof commands

const server = createServer(receive)
// Idle sockets stay: a sender that reuses one which is just being closed would have to send again.
server.keepAliveTimeout = 300_000
server.requestTimeout = 0

function receive(request: IncomingMessage, response: ServerResponse): void {
  if (ids.length >= arrivalsMax) {
    response.writeHead(507).end()
    return
  }
  ids.push(String(request.headers['webhook-id']))
  paths.push(request.url ?? '')
  times.push(monotonicMs())

  if (ids.length % sampleEvery === 0) void keepWhole(request)
  else request.resume()
  response.writeHead(204).end()
}

async function keepWhole(request: IncomingMessage): Promise<void> {
  const chunks: Buffer[] = await request.toArray()
  samples.push({
    path: request.url ?? '',
    headers: request.headers as Record<string, string>,
    body: Buffer.concat(chunks).toString('utf8'),
  })
}

offer(commands)
