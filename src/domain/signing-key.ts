/**
 * What a signing key is: the string a subscriber and we share, and the bytes that each scheme makes of it. Schemes
 * differ here, and a receiver that takes the other reading refuses every delivery, so both readings live in this file.
 */
import type { Fault } from '../errors.ts'

/** Bounds of a key that a caller brings. 24 is what Standard Webhooks asks for; 128 is room for any base64 of 64 bytes. */
export const signingKeyBytesMin = 24
export const signingKeyBytesMax = 128

/**
 * What is wrong with a signing key that a caller gave, at `pointer`; empty when nothing is.
 *
 * Only ASCII is taken, of which each character is one byte: receivers turn the string into bytes by UTF-8 or by
 * Latin-1, which agree on nothing else. A space at an end is a slip of copying that no one would find again.
 */
export function signingKeyFaults(value: unknown, pointer: string): Fault[] {
  if (typeof value !== 'string') {
    return [{ pointer, detail: 'Give the signing key as a string, or leave it out to have one made.' }]
  }
  if (!printableAscii.test(value)) {
    const detail =
      'Use printable ASCII characters only (letters, digits, punctuation), without a space at either end.'
    return [{ pointer, detail }]
  }
  if (value.length < signingKeyBytesMin || value.length > signingKeyBytesMax) {
    const detail = `Use ${signingKeyBytesMin} to ${signingKeyBytesMax} characters, or leave it out to have a key made.`
    return [{ pointer, detail }]
  }
  return []
}

/**
 * A new key: `whsec_` and the base64 of 32 random bytes, as Standard Webhooks 1.0.0 ("Signature scheme") writes it.
 * `randomBytes` must be a cryptographic source.
 */
export function newSigningKey(randomBytes: (count: number) => Buffer): string {
  return libraryPrefix + randomBytes(32).toString('base64')
}

/**
 * The key bytes for `standard`: the base64 after an optional `whsec_`. A key that is not padded base64 of 24..64 bytes
 * is used as its own UTF-8 bytes, prefix included, so that the key of an earlier system can stay.
 */
export function standardKeyBytes(key: string): Buffer {
  const text = key.startsWith(libraryPrefix) ? key.slice(libraryPrefix.length) : key
  const bytes = paddedBase64.test(text) ? Buffer.from(text, 'base64') : undefined
  return bytes !== undefined && bytes.length >= 24 && bytes.length <= 64 ? bytes : verbatimKeyBytes(key)
}

/** The key bytes for `bird`: the string as it was typed, never decoded, even where it looks like base64. */
export function verbatimKeyBytes(key: string): Buffer {
  return Buffer.from(key, 'utf8')
}

/**
 * What a receiver gives to a Standard Webhooks library for this key. It is the key itself where that is `whsec_` and
 * base64 already; a library would refuse any other key or decode it to other bytes, so that must be given in this form.
 */
export function standardLibrarySecret(key: string): string {
  return libraryPrefix + standardKeyBytes(key).toString('base64')
}

const libraryPrefix = 'whsec_'

const printableAscii = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/

/** Padding is required, because the libraries require it; left-over bits are ignored, because they ignore them. */
const paddedBase64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
