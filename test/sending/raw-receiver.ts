/**
 * A receiver on 127.0.0.9 that reads requests and leaves the answer, byte by byte, to a script: what a web server
 * would never send is what the sender has to survive.
 */

import { once } from 'node:events'
import net from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import tls from 'node:tls'

export type RawRequest = {
  /** Counted from 1 over all connections. */
  number: number
  /** Request line and headers as they came. */
  head: string
  body: Buffer
  /** The connection it came on, counted from 1. */
  connectionNumber: number
}

export type RawReceiver = AsyncDisposable & {
  port: number
  /** `http://127.0.0.9:port`, or `https:` with TLS. */
  origin: string
  requests: RawRequest[]
  connectionsCount: number
  /** Resolves when the receiver has seen this many connections end. */
  closedConnections(count: number): Promise<void>
}

/** Calls `answer` for each whole request. With `tlsOptions` it speaks TLS. */
export async function startRawReceiver(
  answer: (socket: Socket, request: RawRequest) => void,
  tlsOptions?: tls.TlsOptions,
): Promise<RawReceiver> {
  const sockets = new Set<Socket>()
  let closedCount = 0
  let onClosed = () => {}

  const accept = (socket: Socket) => {
    const connectionNumber = ++receiver.connectionsCount
    sockets.add(socket)
    // The sender breaks connections off on purpose.
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      closedCount++
      onClosed()
    })
    readRequests(socket, (head, body) => {
      const request = { number: receiver.requests.length + 1, head, body, connectionNumber }
      receiver.requests.push(request)
      answer(socket, request)
    })
  }

  const server = tlsOptions === undefined ? net.createServer(accept) : tls.createServer(tlsOptions, accept)
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.9')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  const receiver: RawReceiver = {
    port,
    origin: `${tlsOptions === undefined ? 'http' : 'https'}://127.0.0.9:${port}`,
    requests: [],
    connectionsCount: 0,
    closedConnections: count =>
      new Promise(resolve => {
        onClosed = () => {
          if (closedCount >= count) resolve()
        }
        onClosed()
      }),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
  return receiver
}

/** A response as a web server writes it. */
export function httpResponse(status: number, body = '', headers: Record<string, string> = {}): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} Status\r\n${lines.join('')}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

function readRequests(socket: Socket, onRequest: (head: string, body: Buffer) => void): void {
  let pending = Buffer.alloc(0)
  socket.on('data', chunk => {
    pending = Buffer.concat([pending, chunk])
    for (;;) {
      const headEnd = pending.indexOf('\r\n\r\n')
      if (headEnd === -1) return
      const head = pending.toString('latin1', 0, headEnd)
      const bodyEnd = headEnd + 4 + Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0)
      if (pending.length < bodyEnd) return
      const body = pending.subarray(headEnd + 4, bodyEnd)
      pending = pending.subarray(bodyEnd)
      onRequest(head, body)
    }
  })
}
