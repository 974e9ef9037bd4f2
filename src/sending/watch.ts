/**
 * Deadlines of everything in flight by one timer. Two timers per request (deadline and body) would cost more than
 * signing it; looking at a thousand requests twenty times a second costs nothing that can be measured.
 */

import type { Exchange } from './exchange.ts'

export type Watch = {
  add(exchange: Exchange): void
  remove(exchange: Exchange): void
  abortAll(): void
}

/** How late an exchange may be ended; never early. */
const watchIntervalMs = 50

/** Calls `expire` on what has been added and whose time is up. The timer runs only while something is watched. */
export function createWatch(): Watch {
  const watched = new Set<Exchange>()
  let timer: NodeJS.Timeout | undefined

  const look = () => {
    const nowMs = performance.now()
    for (const exchange of watched) if (exchange.expiresAtMs <= nowMs) exchange.expire()
    if (watched.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  return {
    add(exchange) {
      watched.add(exchange)
      // After a stall of the event loop, answers that have come meanwhile are read first, and then time is looked at.
      timer ??= setInterval(() => setImmediate(look), watchIntervalMs)
    },
    remove(exchange) {
      watched.delete(exchange)
    },
    abortAll() {
      for (const exchange of watched) exchange.abort()
    },
  }
}
