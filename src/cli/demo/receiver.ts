/**
 * A receiver of webhooks on this machine: checks both signatures over the raw bytes, and answers.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { verifyMessageBird, verifyStandard } from './verify.ts'

/** A request as the receiver saw it. */
export type Reception = {
  /** Path and query of the request. */
  path: string
  /** `webhook-id`: the event's id, the same at every attempt. */
  eventId: string
  /** Counted from 1. */
  attempt: number
  isStandardValid: boolean
  isMessageBirdValid: boolean
  body: Buffer
  /** The status it was answered with: 401 where a signature is not valid. */
  answered: number
}

export type Receiver = {
  /** Without a trailing slash. */
  url: string
  /** Ends also the connections that are open. */
  close(): Promise<void>
}

/**
 * Listens on 127.0.0.1 and tells of every request after it has been checked. `answer` gives the status for a genuine
 * one; default: 200. `port` 0, the default, takes any free one.
 */
export async function startReceiver(options: {
  port?: number
  signingKeyOf: (path: string) => string
  answer?: (request: { path: string; attempt: number }) => number
  onReceived: (reception: Reception) => void
}): Promise<Receiver> {
  const { port = 0, signingKeyOf, answer = () => 200, onReceived } = options
  const server = createServer((request, response) => {
    receive(request).then(
      status => response.writeHead(status).end(),
      // The sender broke off: nobody waits for an answer.
      () => response.destroy(),
    )
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  async function receive(request: IncomingMessage): Promise<number> {
    const { headers, url: path = '/' } = request
    const body = Buffer.concat(await request.toArray())
    const signingKey = signingKeyOf(path)
    const isStandardValid = verifyStandard(signingKey, headers, body)
    const isMessageBirdValid = verifyMessageBird(signingKey, headers, url + path, body)
    const eventId = String(headers['webhook-id'])
    const attempt = Number(headers['hookseal-attempt'])
    const answered = isStandardValid && isMessageBirdValid ? answer({ path, attempt }) : 401
    onReceived({ path, eventId, attempt, isStandardValid, isMessageBirdValid, body, answered })
    return answered
  }

  return {
    url,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}
