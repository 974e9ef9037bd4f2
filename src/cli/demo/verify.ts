/**
 * How a receiver finds out that a delivery is genuine. Written as a receiver's developer would write it: by the rules
 * of the two schemes, with node:crypto and nothing of this service. README.md shows this file from the imports on.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** Standard Webhooks. `body` must be the bytes that came, before any parsing. */
export function verifyStandard(signingKey: string, headers: IncomingHttpHeaders, body: Buffer): boolean {
  const timestamp = textOf(headers['webhook-timestamp'])
  const key = Buffer.from(signingKey.replace(/^whsec_/, ''), 'base64')
  const hmac = createHmac('sha256', key)
    .update(`${textOf(headers['webhook-id'])}.${timestamp}.`)
    .update(body)
  const expected = `v1,${hmac.digest('base64')}`
  // While a key is being replaced, there is a signature of the old one too.
  const given = textOf(headers['webhook-signature']).split(' ')
  return isRecent(timestamp) && given.some(signature => isEqual(signature, expected))
}

/** MessageBird-Signature. `url` is the one that was subscribed, in full. The key is used as it is, not decoded. */
export function verifyMessageBird(
  signingKey: string,
  headers: IncomingHttpHeaders,
  url: string,
  body: Buffer,
): boolean {
  const timestamp = textOf(headers['messagebird-request-timestamp'])
  const bodyHash = createHash('sha256').update(body).digest()
  const hmac = createHmac('sha256', signingKey).update(`${timestamp}\n${url}\n`).update(bodyHash)
  return isRecent(timestamp) && isEqual(textOf(headers['messagebird-signature']), hmac.digest('base64'))
}

/** Every attempt is signed anew, so five minutes are enough for clocks that differ; what is older is a replay. */
function isRecent(timestamp: string): boolean {
  return Math.abs(Date.now() / 1_000 - Number(timestamp)) <= 300
}

/** Takes the same time wherever the difference is. */
function isEqual(given: string, expected: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(expected)]
  return one.length === other.length && timingSafeEqual(one, other)
}

function textOf(header: string | string[] | undefined): string {
  return header?.toString() ?? ''
}
