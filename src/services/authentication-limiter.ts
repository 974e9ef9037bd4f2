/**
 * Slows down who tries keys. Only failures are counted, and only requests that fail are refused: a valid key always
 * passes, also behind an address that many share, so nobody can lock out a neighbour. The price is that a failing
 * request still costs its look-up; what it saves is that guessing is answered, and that it shows.
 */
import ipaddr from 'ipaddr.js'
import { AppError } from '../errors.ts'

export type AuthenticationLimiter = {
  /** Call after a failed authentication. */
  recordFailure(address: string): void
  /** Call next, before answering 401. Throws rate_limited once this address has failed too often within its minute. */
  check(address: string): void
}

/**
 * Counts in this process's memory, for at most `addressesMax` (default 10,000) addresses; past that the oldest count
 * is dropped. An IPv6 address counts with its /64, which is what one subscriber has. `clock` gives milliseconds and
 * never goes back; default: that of the process.
 */
export function createAuthenticationLimiter(options: {
  perMinute: number
  addressesMax?: number
  clock?: () => number
}): AuthenticationLimiter {
  const { perMinute, addressesMax = 10_000, clock = () => performance.now() } = options
  // In the order in which they began, so the first one is the one that ends first.
  const windows = new Map<string, Window>()

  function windowOf(name: string): Window | undefined {
    const window = windows.get(name)
    if (window === undefined || clock() < window.endsMs) return window
    windows.delete(name)
    return undefined
  }

  return {
    recordFailure(address) {
      const name = networkOf(address)
      const window = windowOf(name)
      if (window !== undefined) {
        window.failuresCount += 1
        return
      }
      if (windows.size >= addressesMax) windows.delete(windows.keys().next().value!)
      windows.set(name, { failuresCount: 1, endsMs: clock() + windowMs })
    },

    check(address) {
      const window = windowOf(networkOf(address))
      if (window === undefined || window.failuresCount <= perMinute) return
      throw new AppError(
        'rate_limited',
        'Too many requests from your address gave no valid key. Wait, then give one.',
        {
          retryAfterSeconds: Math.ceil((window.endsMs - clock()) / 1_000),
        },
      )
    },
  }
}

type Window = { failuresCount: number; endsMs: number }

const windowMs = 60_000

function networkOf(address: string): string {
  // What is not an address (a socket that is gone has none) is counted under its own name.
  if (!ipaddr.isValid(address)) return address
  const parsed = ipaddr.process(address)
  return parsed.kind() === 'ipv4'
    ? parsed.toString()
    : parsed
        .toByteArray()
        .slice(0, 8)
        .map(byte => byte.toString(16).padStart(2, '0'))
        .join('')
}
