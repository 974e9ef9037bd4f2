/**
 * The floor under every delivery: undici alone, sending the body of a delivery with one Standard Webhooks
 * signature each, over as many connections as the service opens to one address. No queue, no database, no log.
 */

import assert from 'node:assert/strict'
import { createHmac, randomUUID } from 'node:crypto'
import { Agent, request } from 'undici'
import { offer } from './child.ts'
import { monotonicMs } from './measure.ts'

export type SendWindow = {
  urls: string[]
  /** `whsec_` and base64. */
  signingKey: string
  body: string
  connections: number
  durationMs: number
}

const commands = {
  /** Sends for `durationMs`, one request at a time on each connection; gives what was sent and how fast. */
  async send(window: SendWindow): Promise<{ sentCount: number; perSecond: number }> {
    await using agent = disposable(new Agent({ connections: window.connections, pipelining: 1 }))
    const key = Buffer.from(window.signingKey.replace(/^whsec_/, ''), 'base64')
    const body = Buffer.from(window.body)
    const urls = window.urls.map(url => new URL(url))
    const startedMs = monotonicMs()
    let sentCount = 0

    const sendInTurn = async (): Promise<void> => {
      while (monotonicMs() - startedMs < window.durationMs) {
        const url = urls[sentCount++ % urls.length]
        assert(url !== undefined)
        const response = await request(url, {
          dispatcher: agent,
          method: 'POST',
          headers: signedHeaders(key, body),
          body,
        })
        await response.body.dump()
        assert.equal(response.statusCode, 204)
      }
    }
    await Promise.all(Array.from({ length: window.connections }, sendInTurn))
    return { sentCount, perSecond: (sentCount / (monotonicMs() - startedMs)) * 1_000 }
  },
}

export type Sender = typeof commands

/** Standard Webhooks, "Signature scheme": HMAC-SHA256 over `id.timestamp.body`. */
function signedHeaders(key: Buffer, body: Buffer): Record<string, string> {
  const id = randomUUID()
  const timestamp = String(Math.floor(Date.now() / 1_000))
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${signature}`,
  }
}

function disposable(agent: Agent): Agent & AsyncDisposable {
  return Object.assign(agent, { [Symbol.asyncDispose]: () => agent.close() })
}

offer(commands)
