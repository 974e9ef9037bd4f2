/**
 * Sends requests to endpoints. A receiver's fault comes back as a value; nothing that a receiver does makes `send`
 * reject. No redirect is followed, nothing is decompressed, and every connection goes through the guard in
 * connector.ts.
 */

import { Agent, Pool } from 'undici'
import type { Dispatcher } from 'undici'
import type { AddressRule } from '../domain/address.ts'
import type { SendResult } from '../domain/outcome.ts'
import { Connection } from './connection.ts'
import type { Dial, TlsOptions } from './connector.ts'
import { createConnector, makeDial } from './connector.ts'
import { Exchange } from './exchange.ts'
import type { Fault } from './faults.ts'
import { abortedFault, blockedFault } from './faults.ts'
import { createResolver } from './resolver.ts'
import { createWatch } from './watch.ts'

export type OutboundRequest = {
  method: Dispatcher.HttpMethod
  url: URL | string
  /** All headers but `host`, `connection` and `content-length`, which are made here. */
  headers: Record<string, string>
  body: Buffer | undefined
  /** For the whole exchange: waiting for a connection, connecting, sending, and reading the answer. */
  deadlineMs: number
  /** How much of the answer's body is kept. Default: 16,384. */
  responseBytesMax?: number
}

export type Sender = {
  /**
   * Sends one request and waits for its answer, at most until its deadline (which is looked at every 50 ms) or until
   * the signal aborts. The status line decides; of the body, what comes within 2 seconds of it is kept.
   *
   * A request that was lost on a kept connection before any byte of an answer is sent once more on a fresh one.
   * More requests to an origin than it has connections wait in line, and their deadlines run meanwhile.
   */
  send(request: OutboundRequest, options?: { signal?: AbortSignal | undefined }): Promise<SendResult>
  /** Ends what is on the wire as `aborted` and closes all connections. */
  close(): Promise<void>
}

export type SenderOptions = {
  addresses: AddressRule
  /** As for `createResolver`. */
  dnsServers?: readonly string[] | undefined
  /** Default: 32. */
  connectionsPerOrigin?: number
  tls?: TlsOptions
  /** Opens connections; a test puts a recorder here. Default: `makeDial(tls)`. */
  dial?: Dial
}

const responseBytesMaxDefault = 16_384

export function createSender(options: SenderOptions): Sender {
  const connect = createConnector({
    rule: options.addresses,
    resolve: createResolver({ servers: options.dnsServers }),
    dial: options.dial ?? makeDial(options.tls),
  })
  const openConnection = (origin: string | URL) => new Connection(origin, { ...connectionOptions, connect })
  const poolOptions = {
    ...connectionOptions,
    connections: options.connectionsPerOrigin ?? 32,
    factory: openConnection,
  }
  const agent = new Agent({ factory: origin => new Pool(origin, poolOptions) })
  const watch = createWatch()
  const targetOf = createTargetMemo()

  return {
    send(
      { method, url, headers, body, deadlineMs, responseBytesMax = responseBytesMaxDefault },
      { signal } = {},
    ) {
      const target = targetOf(url)
      if (target === undefined) return Promise.resolve(unsent(blockedFault()))
      if (signal?.aborted) return Promise.resolve(unsent(abortedFault()))

      const { origin, path } = target
      const request = { origin, path, method, headers, body: body ?? null }
      return new Promise(resolve => {
        const exchange = new Exchange({
          startedAtMs: performance.now(),
          deadlineMs,
          responseBytesMax,
          resend: () => dispatchOnce(openConnection(origin), request, exchange),
          settle: result => {
            watch.remove(exchange)
            signal?.removeEventListener('abort', exchange)
            resolve(result)
          },
        })
        watch.add(exchange)
        signal?.addEventListener('abort', exchange)
        agent.dispatch(request, exchange)
      })
    },

    async close() {
      watch.abortAll()
      await agent.destroy()
    },
  }
}

const connectionOptions = {
  allowH2: false,
  pipelining: 1,
  // Idle sockets of many origins are memory, and a kept socket is a DNS answer that is not asked for again.
  keepAliveTimeout: 4_000,
  // Without it, a receiver's Keep-Alive header could hold its socket for ten minutes.
  keepAliveMaxTimeout: 4_000,
  maxHeaderSize: 16_384,
  // Of undici's timeouts none bounds the whole exchange: each starts again with every byte. The watch does.
  headersTimeout: 0,
  bodyTimeout: 0,
} as const

type Target = { origin: string; path: string }

const targetsMax = 10_000

/** Splits URLs, remembering the last thousands: an endpoint's URL is the same for each of its deliveries. */
function createTargetMemo(): (url: URL | string) => Target | undefined {
  const targets = new Map<string, Target>()
  return url => {
    const href = typeof url === 'string' ? url : url.href
    const known = targets.get(href)
    if (known !== undefined) return known

    const target = splitUrl(href)
    if (target === undefined) return undefined
    if (targets.size >= targetsMax) targets.clear()
    targets.set(href, target)
    return target
  }
}

/** `undefined` for what should not have been stored: the rules of domain/target.ts have refused it. */
function splitUrl(href: string): Target | undefined {
  const url = URL.parse(href)
  const isHttp = url?.protocol === 'https:' || url?.protocol === 'http:'
  if (url === null || !isHttp || url.username !== '' || url.password !== '') return undefined
  return { origin: url.origin, path: url.pathname + url.search }
}

/** Sends on this connection and closes it behind the answer. */
function dispatchOnce(connection: Connection, request: Dispatcher.DispatchOptions, exchange: Exchange): void {
  connection.dispatch({ ...request, reset: true }, exchange)
  void connection.close()
}

function unsent(fault: Fault): SendResult {
  return { kind: 'fault', ...fault, remoteAddress: undefined, requestsCount: 0, durationMs: 0 }
}
