/**
 * The headers that let a receiver check who sent a delivery, when, and that nothing was changed. Made anew for every
 * attempt, since the time of the attempt is signed.
 */
import assert from 'node:assert/strict'
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'
import { standardKeyBytes, verbatimKeyBytes } from './signing-key.ts'

export const signatureSchemes = ['standard', 'bird'] as const

export type SignatureScheme = (typeof signatureSchemes)[number]

/** Keys ready for use. Make it once per endpoint and keep it: nothing of a key is decoded per delivery. */
export type SigningMaterial = { readonly newestFirst: readonly PreparedKey[] }

/** What is signed. */
export type SignedContent = {
  /** The event's id: the same at every attempt, so that a receiver can tell a repeat. Without a full stop. */
  id: string
  /** Of this attempt, in whole seconds since 1970. */
  timestampSeconds: number
  /** The full URL that is dialled, query included. Signed by `bird` only. */
  url: string
  /** The very bytes that are sent. */
  body: Buffer
}

/**
 * Prepares the signing keys that count now, newest first: the current one, then those in their overlap.
 * The result does not know when an overlap ends; prepare again when the set of keys changes.
 */
export function prepareKeys(keys: readonly string[]): SigningMaterial {
  assert(keys.length > 0, 'an endpoint has at least one signing key')
  return { newestFirst: keys.map(prepareKey) }
}

/**
 * The headers of one attempt: `webhook-id` and `webhook-timestamp` always, and those of each scheme.
 *
 * While keys overlap, a scheme that can carry several signatures has one of every key; a scheme that can carry one is
 * signed with the oldest, which is the key that every receiver already has.
 */
export function signatureHeaders(
  schemes: readonly SignatureScheme[],
  material: SigningMaterial,
  content: SignedContent,
): Record<string, string> {
  assert(Number.isSafeInteger(content.timestampSeconds), 'a timestamp is in whole seconds')
  // The id stands between full stops in what is signed: one of its own would let two contents read alike.
  assert(!content.id.includes('.'), 'an id has no full stop')

  const headers: Record<string, string> = {
    'webhook-id': content.id,
    'webhook-timestamp': String(content.timestampSeconds),
  }
  for (const scheme of schemes) addHeaders[scheme](headers, material.newestFirst, content)
  return headers
}

type PreparedKey = {
  /** As Standard Webhooks reads the key. */
  readonly standard: KeyObject
  /** As the string's own bytes. */
  readonly verbatim: KeyObject
}

type AddHeaders = (
  headers: Record<string, string>,
  newestFirst: readonly PreparedKey[],
  content: SignedContent,
) => void

const addHeaders: Record<SignatureScheme, AddHeaders> = {
  standard: addStandardHeaders,
  bird: addBirdHeaders,
}

function prepareKey(key: string): PreparedKey {
  return {
    standard: createSecretKey(standardKeyBytes(key)),
    verbatim: createSecretKey(verbatimKeyBytes(key)),
  }
}

/** Standard Webhooks 1.0.0, symmetric: `v1,` and the base64 of an HMAC-SHA256 over `{id}.{timestamp}.{body}`. */
function addStandardHeaders(
  headers: Record<string, string>,
  newestFirst: readonly PreparedKey[],
  content: SignedContent,
): void {
  const prefix = `${content.id}.${content.timestampSeconds}.`
  let signatures = ''
  for (const key of newestFirst) {
    // Two updates: putting prefix and body into one buffer first costs more than the second call does.
    const signature = createHmac('sha256', key.standard).update(prefix).update(content.body).digest('base64')
    signatures += signatures === '' ? `v1,${signature}` : ` v1,${signature}`
  }
  headers['webhook-signature'] = signatures
}

/**
 * Bird's Notifications API: the base64 of an HMAC-SHA256 over `{timestamp}\n{url}\n` and the 32 raw bytes of the
 * body's SHA-256. The request id is not signed.
 */
function addBirdHeaders(
  headers: Record<string, string>,
  newestFirst: readonly PreparedKey[],
  content: SignedContent,
): void {
  const oldest = newestFirst.at(-1)
  assert(oldest !== undefined)
  // The digest goes through as a string of one character a byte ('binary' is Node's older name of 'latin1'):
  // allocating a Buffer for it costs a quarter more.
  const bodyDigest = hash('sha256', content.body, 'binary')
  headers['MessageBird-Signature'] = createHmac('sha256', oldest.verbatim)
    .update(`${content.timestampSeconds}\n${content.url}\n`)
    .update(bodyDigest, 'latin1')
    .digest('base64')
  headers['MessageBird-Request-Timestamp'] = String(content.timestampSeconds)
  headers['MessageBird-Request-Id'] = content.id
}
