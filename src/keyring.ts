/**
 * Secrets at rest: signing keys and passwords are stored encrypted, bound to the row they belong to. Who reads the
 * database learns none of them, and who can write to it cannot give one row the secret of another.
 */
import assert from 'node:assert/strict'
import { createSecretKey, type KeyObject } from 'node:crypto'
import { errors, FlattenedEncrypt, flattenedDecrypt, type FlattenedJWE, type JWEHeaderParameters } from 'jose'

export type EncryptionKey = {
  /** Names the key in what it encrypted. Never reuse one for another key. */
  kid: string
  /** 32 bytes. */
  key: Buffer
}

export type Keyring = {
  /**
   * Encrypts with the first key. `context` names the place of the secret (workspace, endpoint, key id); the same must be
   * given to decrypt. The result is one string, different at each call.
   */
  encrypt(plaintext: string, context: readonly string[]): Promise<string>
  /** Decrypts with the key that encrypted. Throws `SecretUnavailable`. */
  decrypt(stored: string, context: readonly string[]): Promise<string>
}

/**
 * A stored secret that cannot be read: a delivery that needs it ends as `secret_unavailable`, and no signature is made
 * with another key. `unknown_key`: encrypted with a key that is not in `ENCRYPTION_KEYS`, so add that key again.
 * `damaged`: the text or its place is not the one that was encrypted.
 */
export class SecretUnavailable extends Error {
  readonly reason: 'unknown_key' | 'damaged'

  constructor(reason: 'unknown_key' | 'damaged', message: string, options?: { cause: unknown }) {
    super(message, options)
    this.name = 'SecretUnavailable'
    this.reason = reason
  }
}

/**
 * Reads the setting `ENCRYPTION_KEYS`: `kid:base64,kid2:base64`, each of 32 bytes. The first one encrypts, all decrypt.
 * Spaces around an entry are ignored. The fault is a sentence for the operator and holds nothing of a key.
 */
export function parseEncryptionKeys(text: string): { keys: EncryptionKey[] } | { fault: string } {
  const keys: EncryptionKey[] = []
  for (const [index, entry] of text.split(',').entries()) {
    const parsed = parseEncryptionKey(entry.trim())
    if (parsed === undefined) return { fault: `entry ${index + 1} is not ${entryForm}` }
    if (keys.some(({ kid }) => kid === parsed.kid)) {
      return { fault: `entry ${index + 1} has the kid of an entry before it; give each key a kid of its own` }
    }
    keys.push(parsed)
  }
  return { keys }
}

/** A keyring over keys as `parseEncryptionKeys` gives them; the first one encrypts. */
export function createKeyring(keys: readonly EncryptionKey[]): Keyring {
  const [first] = keys
  assert(first !== undefined, 'a keyring has at least one key')
  const keysByKid = new Map(keys.map(({ kid, key }) => [kid, createSecretKey(key)]))
  assert(keysByKid.size === keys.length, 'each key has a kid of its own')

  return {
    encrypt: (plaintext, context) => encrypt(first.kid, keysByKid.get(first.kid)!, plaintext, context),
    decrypt: (stored, context) => decrypt(keysByKid, stored, context),
  }
}

/**
 * A flattened JWE (RFC 7516 section 7.2.2) with direct encryption (RFC 7518 section 4.5) and A256GCM (section 5.3).
 * The initialization vector is 96 random bits: a key is good for 2^32 secrets, far more than will be stored.
 */
async function encrypt(
  kid: string,
  key: KeyObject,
  plaintext: string,
  context: readonly string[],
): Promise<string> {
  const jwe = await new FlattenedEncrypt(Buffer.from(plaintext))
    .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid })
    .setAdditionalAuthenticatedData(boundTo(context))
    .encrypt(key)
  return JSON.stringify(jwe)
}

async function decrypt(
  keysByKid: ReadonlyMap<string, KeyObject>,
  stored: string,
  context: readonly string[],
): Promise<string> {
  // The context that counts is the caller's: the one in the text would come along when rows are swapped.
  const jwe = { ...parseJwe(stored), aad: boundTo(context).toString('base64url') }
  try {
    const findKey = (header: JWEHeaderParameters | undefined) => keyFor(keysByKid, header?.kid)
    const { plaintext } = await flattenedDecrypt(jwe, findKey, algorithms)
    return Buffer.from(plaintext).toString()
  } catch (error) {
    if (error instanceof errors.JOSEError) {
      const message = 'The stored secret is not what was encrypted for this place.'
      throw new SecretUnavailable('damaged', message, { cause: error })
    }
    throw error
  }
}

/** What is accepted, whatever the text's own header says. */
const algorithms = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] }

/** Parts are joined by a bar: two contexts must not read alike, so no part may have one. */
function boundTo(context: readonly string[]): Buffer {
  assert(context.length > 0, 'a secret is bound to a place')
  assert(
    !context.some(part => part === '' || part.includes('|')),
    'a part of a context is not empty and has no bar',
  )
  return Buffer.from(context.join('|'))
}

function parseJwe(stored: string): FlattenedJWE {
  try {
    return JSON.parse(stored) as FlattenedJWE
  } catch {
    // Not kept as the cause: its message quotes the text.
    throw new SecretUnavailable('damaged', 'The stored secret is not JSON.')
  }
}

function keyFor(keysByKid: ReadonlyMap<string, KeyObject>, kid: string | undefined): KeyObject {
  const key = kid === undefined ? undefined : keysByKid.get(kid)
  if (key === undefined) {
    throw new SecretUnavailable(
      'unknown_key',
      `No key in ENCRYPTION_KEYS has the kid ${JSON.stringify(kid)}.`,
    )
  }
  return key
}

const entryForm =
  'kid:base64, with a kid of 1 to 64 letters, digits, "-", "_" or "." and the base64 of 32 random bytes (openssl rand -base64 32)'

function parseEncryptionKey(entry: string): EncryptionKey | undefined {
  const match = /^([A-Za-z0-9._-]{1,64}):([A-Za-z0-9+/]{43}=)$/.exec(entry)
  if (match === null) return undefined
  const [, kid, base64] = match
  return { kid: kid!, key: Buffer.from(base64!, 'base64') }
}
