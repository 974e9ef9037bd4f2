/**
 * Names to addresses, for the connector alone. c-ares is asked directly: it needs no thread of the pool, so a slow
 * name server of one tenant's domain does not hold up the rest, and it ignores /etc/hosts, so a name cannot mean
 * a host of ours that is written there.
 */

import dns from 'node:dns'

export type ResolvedAddress = { address: string; family: 4 | 6 }

export type Resolution =
  | { kind: 'addresses'; addresses: readonly [ResolvedAddress, ...ResolvedAddress[]] }
  /** The name has no addresses, or the name servers do not answer; `code` is c-ares' own, such as ENOTFOUND. */
  | { kind: 'fault'; code: string }

export type Resolve = (hostname: string) => Promise<Resolution>

/**
 * Makes a resolver that never rejects. It asks for A and AAAA records, IPv4 first in its answer, and keeps what it
 * heard for 5 seconds, a failure too: a burst to a dead name must not become a burst of questions.
 *
 * `servers` are addresses with an optional port, as in `127.0.0.1:5353`; default: those of the system. `nowMs` is a
 * clock that does not jump; default: `performance.now`.
 */
export function createResolver({
  servers = [],
  nowMs = () => performance.now(),
}: { servers?: readonly string[] | undefined; nowMs?: () => number } = {}): Resolve {
  const resolver = new dns.promises.Resolver({ timeout: 1_500, tries: 2, maxTimeout: 3_000 })
  if (servers.length > 0) resolver.setServers(servers)
  const cache = new Map<string, { resolution: Promise<Resolution>; expiresAtMs: number }>()

  return hostname => {
    const askedAtMs = nowMs()
    const known = cache.get(hostname)
    if (known !== undefined && known.expiresAtMs > askedAtMs) return known.resolution

    const resolution = ask(resolver, hostname)
    // Deleted first, so that the map stays in order of age and its first name is the one to drop.
    cache.delete(hostname)
    cache.set(hostname, { resolution, expiresAtMs: askedAtMs + cachedMs })
    for (const [oldest, entry] of cache) {
      if (entry.expiresAtMs > askedAtMs && cache.size <= namesMax) break
      cache.delete(oldest)
    }
    return resolution
  }
}

const cachedMs = 5_000
const namesMax = 10_000

async function ask(resolver: dns.promises.Resolver, hostname: string): Promise<Resolution> {
  const [ipv4, ipv6] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)])
  const [first, ...rest] = [...addressesOf(ipv4, 4), ...addressesOf(ipv6, 6)]
  if (first !== undefined) return { kind: 'addresses', addresses: [first, ...rest] }
  return { kind: 'fault', code: codeOf(ipv4) ?? codeOf(ipv6) ?? 'ENODATA' }
}

function addressesOf(answer: PromiseSettledResult<string[]>, family: 4 | 6): ResolvedAddress[] {
  return answer.status === 'fulfilled' ? answer.value.map(address => ({ address, family })) : []
}

function codeOf(answer: PromiseSettledResult<string[]>): string | undefined {
  const reason: unknown = answer.status === 'rejected' ? answer.reason : undefined
  return reason instanceof Error && 'code' in reason ? String(reason.code) : undefined
}
