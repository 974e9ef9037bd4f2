/**
 * The guard on the way out: every connection of this service to an endpoint is opened here, and only to an address
 * that the rule allows. What was checked is what is dialled: the name is resolved once and its addresses are handed
 * down, so a second answer of a name server (DNS rebinding) is never asked for.
 */

import net from 'node:net'
import type { Socket } from 'node:net'
import { buildConnector } from 'undici'
import type { AddressRule } from '../domain/address.ts'
import type { ResolvedAddress, Resolve } from './resolver.ts'

export type DialTarget = {
  protocol: string
  /** As in the URL: what a certificate must be for. */
  hostname: string
  port: string
  /** The checked addresses, to be tried in order; nothing else may be dialled. */
  addresses: readonly ResolvedAddress[]
}

/** Opens a connection, for https with its handshake done. */
export type Dial = (target: DialTarget, callback: buildConnector.Callback) => void

/** Certificates that are trusted instead of the system's authorities; for tests. */
export type TlsOptions = { ca?: string | readonly string[] | undefined }

/** A connection that was not tried, or was closed before a byte went out. `code` is for the record of a `dns_error`. */
export class RefusedConnection extends Error {
  readonly fault: 'blocked_destination' | 'dns_error'
  readonly code: string

  constructor(fault: 'blocked_destination' | 'dns_error', code: string) {
    super(fault)
    this.name = 'RefusedConnection'
    this.fault = fault
    this.code = code
  }
}

const connectTimeoutMs = 5_000

/** A host with a hundred addresses must not be a way to make us knock on a hundred doors. */
const addressesMax = 4

/**
 * The connector for undici. One bad address refuses the whole name, because an answer that mixes a public and a
 * private address is made by hand. Literals are checked here, since a lookup is never made for them, and the
 * connected socket's peer is checked once more. `localhost`, where the rule opens 127.0.0.1, means that address
 * without DNS.
 */
export function createConnector(parts: {
  rule: AddressRule
  resolve: Resolve
  dial: Dial
}): buildConnector.connector {
  const { rule, resolve, dial } = parts

  return ({ hostname, protocol, port }, callback) => {
    const connect = (addresses: readonly ResolvedAddress[]) => {
      if (!addresses.every(({ address }) => rule.allows(address))) return callback(blocked(), null)
      dial({ protocol, hostname, port, addresses: addresses.slice(0, addressesMax) }, (error, socket) => {
        if (error !== null) return callback(error, null)
        const fault = findPeerFault(socket, rule)
        if (fault === undefined) return callback(null, socket)
        socket.destroy()
        return callback(fault, null)
      })
    }

    const literal = literalAddress(hostname)
    if (literal !== undefined) return connect([literal])
    void resolve(hostname).then(resolution =>
      resolution.kind === 'addresses'
        ? connect(resolution.addresses)
        : callback(new RefusedConnection('dns_error', resolution.code), null),
    )
  }
}

/**
 * Dials for real. Certificates are checked against the host name whatever NODE_TLS_REJECT_UNAUTHORIZED says, and
 * TLS sessions are not kept: they would outlive the check of the address.
 */
export function makeDial({ ca }: TlsOptions = {}): Dial {
  return ({ protocol, hostname, port, addresses }, callback) => {
    const connect = buildConnector({
      ...(ca === undefined ? {} : { ca: typeof ca === 'string' ? ca : [...ca] }),
      rejectUnauthorized: true,
      lookup: (_hostname, options, answer) => {
        const [first] = addresses
        if (options.all) answer(null, [...addresses])
        else answer(null, first?.address ?? '', first?.family)
      },
      timeout: connectTimeoutMs,
      // Node's 250 ms give up on a far continent, and then on the next address, and so on.
      autoSelectFamilyAttemptTimeout: connectTimeoutMs / addressesMax,
      allowH2: false,
      maxCachedSessions: 0,
    })
    connect({ protocol, hostname, port, host: hostname }, callback)
  }
}

function literalAddress(hostname: string): ResolvedAddress | undefined {
  if (hostname === 'localhost') return { address: '127.0.0.1', family: 4 }
  const family = net.isIP(hostname)
  return family === 4 || family === 6 ? { address: hostname, family } : undefined
}

function blocked(): RefusedConnection {
  return new RefusedConnection('blocked_destination', 'EBLOCKED')
}

function findPeerFault(socket: Socket, rule: AddressRule): Error | undefined {
  // Without a peer the connection was reset before we looked at it.
  if (socket.remoteAddress === undefined) return Object.assign(new Error('reset'), { code: 'ECONNRESET' })
  return rule.allows(socket.remoteAddress) ? undefined : blocked()
}
