/**
 * Who may send next. Attempts wait in line per endpoint; an endpoint, an origin and the process each have a number
 * of slots. Endpoints of an origin take turns, so that one with much to send does not keep the others waiting.
 */

type Waiting = {
  /** First attempts and retries have room of their own in the line, so that neither keeps the other out. */
  isRetry: boolean
  endpointId: string
  origin: string
  /** Called when a slot is free; the slot is held until the promise ends. */
  start: () => Promise<void>
  /** Called instead of start when it waited too long, or the process is leaving. */
  giveBack: () => void
}

export type Slots = {
  add(item: Waiting): void
  /** How many attempts of this endpoint wait in line. */
  waitingFor(endpointId: string): number
  /** First attempts in line. */
  readonly firstWaiting: number
  /** Retries in line. */
  readonly retriesWaiting: number
  readonly inFlight: number
  /** Gives everything in line back; from then on nothing starts. */
  close(): void
  /** Resolves when nothing is on the wire, or after the timeout. */
  drained(timeoutMs: number): Promise<boolean>
}

export const slotLimits = {
  inFlightMax: 1_000,
  perEndpointMax: 8,
  /** As many as the connections that are kept to one origin. */
  perOriginMax: 32,
  /** Longest wait in line, in milliseconds: what cannot start by then goes back to the queue. */
  waitMaxMs: 1_000,
} as const

type EndpointLine = {
  id: string
  inFlight: number
  line: { item: Waiting; sinceMs: number }[]
  isReady: boolean
}
type OriginLine = { name: string; inFlight: number; ready: EndpointLine[]; isReady: boolean }

export function createSlots(options: { now: () => number; onFree: () => void }): Slots {
  const endpoints = new Map<string, EndpointLine>()
  const origins = new Map<string, OriginLine>()
  const readyOrigins: OriginLine[] = []
  let firstWaiting = 0
  let retriesWaiting = 0
  let inFlight = 0
  let isClosed = false
  let whenDrained: (() => void) | undefined

  function countWaiting({ isRetry }: Waiting, by: 1 | -1): void {
    if (isRetry) retriesWaiting += by
    else firstWaiting += by
  }

  function markReady(endpoint: EndpointLine, origin: OriginLine): void {
    const canStart = endpoint.line.length > 0 && endpoint.inFlight < slotLimits.perEndpointMax
    if (canStart && !endpoint.isReady) {
      endpoint.isReady = true
      origin.ready.push(endpoint)
    }
    if (origin.ready.length > 0 && origin.inFlight < slotLimits.perOriginMax && !origin.isReady) {
      origin.isReady = true
      readyOrigins.push(origin)
    }
  }

  function startReady(): void {
    while (inFlight < slotLimits.inFlightMax) {
      const origin = readyOrigins.shift()
      if (origin === undefined) return
      origin.isReady = false
      const endpoint = origin.ready.shift()!
      endpoint.isReady = false
      const next = endpoint.line.shift()
      if (next === undefined) forgetIdle(endpoint, origin)
      else start(next.item, endpoint, origin)
      markReady(endpoint, origin)
    }
  }

  function start(item: Waiting, endpoint: EndpointLine, origin: OriginLine): void {
    countWaiting(item, -1)
    inFlight++
    endpoint.inFlight++
    origin.inFlight++
    void item.start().finally(() => {
      inFlight--
      endpoint.inFlight--
      origin.inFlight--
      forgetIdle(endpoint, origin)
      markReady(endpoint, origin)
      startReady()
      if (inFlight === 0) whenDrained?.()
      options.onFree()
    })
  }

  function forgetIdle(endpoint: EndpointLine, origin: OriginLine): void {
    if (endpoint.inFlight === 0 && endpoint.line.length === 0 && !endpoint.isReady)
      endpoints.delete(endpoint.id)
    if (origin.inFlight === 0 && origin.ready.length === 0 && !origin.isReady) origins.delete(origin.name)
  }

  function giveBackOlderThan(momentMs: number): void {
    for (const endpoint of endpoints.values()) {
      while (endpoint.line.length > 0 && endpoint.line[0]!.sinceMs <= momentMs) {
        const { item } = endpoint.line.shift()!
        countWaiting(item, -1)
        item.giveBack()
      }
    }
  }

  const timer = setInterval(() => giveBackOlderThan(options.now() - slotLimits.waitMaxMs), 250)

  return {
    add(item) {
      if (isClosed) return item.giveBack()
      let endpoint = endpoints.get(item.endpointId)
      if (endpoint === undefined) {
        endpoint = { id: item.endpointId, inFlight: 0, line: [], isReady: false }
        endpoints.set(item.endpointId, endpoint)
      }
      let origin = origins.get(item.origin)
      if (origin === undefined)
        origins.set(item.origin, (origin = { name: item.origin, inFlight: 0, ready: [], isReady: false }))
      endpoint.line.push({ item, sinceMs: options.now() })
      countWaiting(item, 1)
      markReady(endpoint, origin)
      startReady()
    },
    waitingFor: endpointId => endpoints.get(endpointId)?.line.length ?? 0,
    get firstWaiting() {
      return firstWaiting
    },
    get retriesWaiting() {
      return retriesWaiting
    },
    get inFlight() {
      return inFlight
    },
    close() {
      isClosed = true
      clearInterval(timer)
      giveBackOlderThan(Infinity)
    },
    async drained(timeoutMs) {
      if (inFlight === 0) return true
      const { promise, resolve } = Promise.withResolvers<boolean>()
      const timeout = setTimeout(() => resolve(false), timeoutMs)
      whenDrained = () => resolve(true)
      try {
        return await promise
      } finally {
        clearTimeout(timeout)
      }
    },
  }
}
