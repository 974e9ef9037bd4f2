/**
 * A receiver of deliveries on loopback. Every path is an inbox with a script of its own: what it answers to its first
 * request, its second, and so on; the last step is for all that follow. It keeps each request as it came, and lets
 * a test wait for a number of them.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/**
 * A status, with an empty body; an answer in full; `hang`, which is no answer until `letGo`; or `reset`, which breaks
 * the connection off.
 */
export type Step = number | Answer | 'hang' | 'reset'

export type Answer = {
  status: number
  headers?: Record<string, string>
  body?: string | Buffer
  /** How long it takes to answer, in milliseconds. Default is 0. */
  afterMs?: number
}

export type Received = {
  method: string
  /** Path and query as they came. */
  url: string
  headers: IncomingHttpHeaders
  body: Buffer
  /** When the whole request was there, by `Date.now()`. */
  atMs: number
}

export type Inbox = {
  url: string
  /** In the order in which they came; never cleared. */
  requests: readonly Received[]
  /** The first `count` requests as soon as they are there. Fails when they are not within the deadline. */
  received(count: number, deadlineMs?: number): Promise<Received[]>
  /** What is answered from the next request on. */
  answer(...steps: [Step, ...Step[]]): void
  /** Answers every request that hangs, and from then on those whose turn it is to hang. Default is 200. */
  letGo(status?: number): void
  /** How many requests hang just now. */
  readonly hangingCount: number
}

export type Receiver = AsyncDisposable & {
  /** `http://127.0.0.1:port` */
  url: string
  /** The inbox of a new path. Without steps it answers 200. */
  inbox(...steps: Step[]): Inbox
  /** Requests to paths that are no inbox: none is ever sent there. */
  strays: readonly Received[]
  /** All that came, over all inboxes, in the order in which it came. */
  requests: readonly Received[]
}

const receivedDeadlineMs = 10_000

/** A header that the request must have. */
export function headerOf({ headers, url }: Received, name: string): string {
  const value = headers[name]
  assert(typeof value === 'string', `${name} is missing in a request to ${url}`)
  return value
}

export async function startReceiver(): Promise<Receiver> {
  const inboxes = new Map<string, (request: Received, response: ServerResponse) => void>()
  const requests: Received[] = []
  const strays: Received[] = []

  const server = createServer((incoming, response) => {
    // The sender may break off while it is read from.
    response.on('error', () => {})
    readRequest(incoming).then(
      request => {
        requests.push(request)
        const handle = inboxes.get(new URL(request.url, 'http://receiver').pathname)
        if (handle !== undefined) return handle(request, response)
        strays.push(request)
        response.writeHead(404).end()
      },
      () => response.destroy(),
    )
  })
  // Longer than any test: a kept connection is closed by the sender, never by us, so that no test meets that race.
  server.keepAliveTimeout = 120_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  return {
    url,
    requests,
    strays,
    inbox(...steps) {
      const path = `/inbox-${inboxes.size + 1}`
      const { inbox, handle } = createInbox(url + path, steps)
      inboxes.set(path, handle)
      return inbox
    },
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

async function readRequest(incoming: IncomingMessage): Promise<Received> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  const { method = '', url = '', headers } = incoming
  return { method, url, headers, body: Buffer.concat(chunks), atMs: Date.now() }
}

function createInbox(url: string, steps: readonly Step[]) {
  const requests: Received[] = []
  const hanging = new Set<ServerResponse>()
  const waiting = new Set<() => void>()
  let script = steps
  let position = 0
  let insteadOfHanging: Step = 'hang'

  function nextStep(): Step {
    const step = script[Math.min(position, script.length - 1)] ?? 200
    position++
    return step === 'hang' ? insteadOfHanging : step
  }

  async function carryOut(step: Step, response: ServerResponse): Promise<void> {
    if (step === 'reset') return void response.socket?.resetAndDestroy()
    if (step === 'hang') {
      hanging.add(response)
      response.once('close', () => hanging.delete(response))
      return
    }
    const {
      status,
      headers = {},
      body = '',
      afterMs = 0,
    } = typeof step === 'number' ? { status: step } : step
    if (afterMs > 0) await delay(afterMs)
    response.writeHead(status, headers).end(body)
  }

  const inbox: Inbox = {
    url,
    requests,
    answer(...next) {
      script = next
      position = 0
    },
    letGo(status = 200) {
      insteadOfHanging = status
      for (const response of hanging) response.writeHead(status).end()
    },
    get hangingCount() {
      return hanging.size
    },
    received(count, deadlineMs = receivedDeadlineMs) {
      return new Promise((resolve, reject) => {
        const look = (): void => {
          if (requests.length < count) return
          clearTimeout(timer)
          waiting.delete(look)
          resolve(requests.slice(0, count))
        }
        const timer = setTimeout(() => {
          waiting.delete(look)
          reject(new Error(`${url} received ${requests.length} of ${count} requests within ${deadlineMs} ms`))
        }, deadlineMs)
        waiting.add(look)
        look()
      })
    },
  }

  return {
    inbox,
    handle(request: Received, response: ServerResponse): void {
      requests.push(request)
      void carryOut(nextStep(), response)
      for (const look of waiting) look()
    },
  }
}
