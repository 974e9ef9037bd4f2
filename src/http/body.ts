/**
 * Reads request bodies as bytes. What a caller sent is hashed, scanned and stored as it came, so nothing here decodes
 * text; the limits hold on what is kept in memory, whatever the headers claim.
 */
import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { promisify } from 'node:util'
import { brotliDecompress, gunzip } from 'node:zlib'
import { AppError } from '../errors.ts'

/** What we decode, as the value of the `Accept-Encoding` that a 415 should carry (RFC 9110 section 12.5.3). */
const acceptEncoding = 'gzip, br'

/** Bytes of a refused body that are read and thrown away, so that the sender gets to read why (`discardBody`). */
export const discardedBytesMax = 8 * 1024 * 1024

/**
 * The whole body with its content coding removed (RFC 9110 section 8.4): none, `identity`, `gzip`, `x-gzip` or `br`,
 * one only. `bytesMax` bounds the decoded bytes; a body of exactly that size is read. After an error the rest of the
 * body is discarded, so the connection can serve the next request. It has no timeout of its own: the server's
 * `requestTimeout` ends a body that trickles.
 *
 * The bytes of a body that came in one piece are not copied.
 *
 * @throws AppError `unsupported_media_type` for another coding; `payload_too_large`; `invalid_encoding` if the coding
 *   is broken or cut short; `invalid_request` if the client went away, which nobody will read but which must not be
 *   counted as a fault of ours
 */
export async function readBody(request: IncomingMessage, options: { bytesMax: number }): Promise<Buffer> {
  const { bytesMax } = options
  try {
    const decode = decoderFor(request.headers['content-encoding'])
    if (decode === undefined) return await collect(request, bytesMax, bytesMax)
    return await decode(await collect(request, codedBytesMax(bytesMax), bytesMax), bytesMax)
  } catch (error) {
    discardBody(request)
    throw error
  }
}

/**
 * Reads and throws away what is left of a body that nobody wants, at most `bytesMax`; then the connection is cut.
 * Call it before answering a request whose body was not read, for instance a 401.
 *
 * Cutting at once would be cheaper, but a client that is still sending then sees a reset instead of the answer: the
 * kernel drops what was not read yet, and with it the reply. Leaving it to Node would read all of it, gigabytes too.
 * For the same reason such an answer needs no `Connection: close`.
 */
export function discardBody(request: IncomingMessage, bytesMax: number = discardedBytesMax): void {
  if (request.complete || request.destroyed) {
    request.resume()
    return
  }
  let bytesLeft = bytesMax
  request.on('data', (chunk: Buffer) => {
    bytesLeft -= chunk.length
    if (bytesLeft < 0) request.destroy()
  })
  request.on('error', () => {
    // The client went away while we were not interested anyway.
  })
  request.resume()
}

const jsonTypes: readonly string[] = ['application/json']

/**
 * The media type of a request in lower case, if it is one of `accepted` (`application/json` by default) and its
 * `charset`, if any, is utf-8. Other parameters mean nothing to us and are ignored.
 *
 * @throws AppError `unsupported_media_type`
 */
export function requireJson(
  contentType: string | undefined,
  accepted: readonly string[] = jsonTypes,
): string {
  if (contentType !== undefined && accepted.includes(contentType)) return contentType

  const parsed = parseMediaType(contentType ?? '')
  if (parsed === undefined || !accepted.includes(parsed.type)) {
    throw new AppError('unsupported_media_type', `Content-Type must be ${accepted.join(' or ')}.`)
  }
  if (parsed.charsets.some(charset => charset !== 'utf-8')) {
    throw new AppError('unsupported_media_type', 'The charset of Content-Type must be utf-8, or left out.')
  }
  return parsed.type
}

type Decode = (coded: Buffer, bytesMax: number) => Promise<Buffer>

function decoderFor(contentEncoding: string | undefined): Decode | undefined {
  switch (contentEncoding?.trim().toLowerCase()) {
    case undefined:
    case '':
    case 'identity':
      return undefined
    case 'gzip':
    case 'x-gzip':
      return decodeGzip
    case 'br':
      return decodeBrotli
    default:
      throw new AppError(
        'unsupported_media_type',
        `Content-Encoding must be one of ${acceptEncoding}, or left out.`,
      )
  }
}

/** Resolves with the bytes on the wire, up to `wireBytesMax`; `bytesMax` is what the message names as the limit. */
function collect(request: IncomingMessage, wireBytesMax: number, bytesMax: number): Promise<Buffer> {
  assert(!request.readableEnded, 'a body is read once')
  // Node refuses a request whose Content-Length is not a plain number, or stands beside chunked coding.
  if (Number(request.headers['content-length'] ?? 0) > wireBytesMax) throw tooLarge(bytesMax)
  // The events of an abort that came before we listened will not come again.
  if (request.destroyed) throw wentAway()

  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0

    const onData = (chunk: Buffer): void => {
      length += chunk.length
      if (length <= wireBytesMax) {
        chunks.push(chunk)
        return
      }
      stop()
      reject(tooLarge(bytesMax))
    }
    const onEnd = (): void => {
      stop()
      const [first] = chunks
      resolve(first !== undefined && chunks.length === 1 ? first : Buffer.concat(chunks, length))
    }
    const onGone = (cause?: Error): void => {
      stop()
      reject(wentAway(cause))
    }
    const stop = (): void => {
      request.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone)
    }
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone)
  })
}

/**
 * Coded bytes that can stand for `bytesMax` decoded ones: what cannot be compressed grows by less than 1 in 1,000.
 * Without it, a stream of empty blocks would be collected for ever without ever inflating past the limit.
 */
function codedBytesMax(bytesMax: number): number {
  return bytesMax + Math.ceil(bytesMax / 256) + 1024
}

const gunzipAsync: (coded: Buffer, options: { maxOutputLength: number }) => Promise<Buffer> =
  promisify(gunzip)
const brotliAsync: (
  coded: Buffer,
  options: { maxOutputLength: number; rejectGarbageAfterEnd: boolean },
) => Promise<Buffer> = promisify(brotliDecompress)

function decodeGzip(coded: Buffer, bytesMax: number): Promise<Buffer> {
  return inflated(gunzipAsync(coded, { maxOutputLength: bytesMax }), bytesMax)
}

function decodeBrotli(coded: Buffer, bytesMax: number): Promise<Buffer> {
  return inflated(brotliAsync(coded, { maxOutputLength: bytesMax, rejectGarbageAfterEnd: true }), bytesMax)
}

/** zlib stops at its `maxOutputLength`, so a bomb costs what the limit costs. */
async function inflated(decoding: Promise<Buffer>, bytesMax: number): Promise<Buffer> {
  try {
    return await decoding
  } catch (cause) {
    if (cause instanceof RangeError && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE')
      throw tooLarge(bytesMax)
    throw new AppError(
      'invalid_encoding',
      'The body is not what its Content-Encoding says, or is cut short.',
      { cause },
    )
  }
}

function tooLarge(bytesMax: number): AppError {
  return new AppError('payload_too_large', `The body must not be larger than ${bytesMax} bytes.`)
}

function wentAway(cause?: Error): AppError {
  return new AppError('invalid_request', 'The client closed the connection before the body was complete.', {
    cause,
  })
}

// RFC 9110 sections 5.6.2, 5.6.4, 8.3.1. Each alternative starts with another character, so matching is linear.
const typePattern = /^([\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+)[ \t]*/
const parameterPattern = /;[ \t]*(?:([\w!#$%&'*+.^`|~-]+)=([\w!#$%&'*+.^`|~-]+|"(?:[^"\\]|\\.)*"))?[ \t]*/y

/** Type and charsets in lower case, or `undefined` if the header is malformed. */
function parseMediaType(header: string): { type: string; charsets: string[] } | undefined {
  const type = typePattern.exec(header)
  if (type?.[1] === undefined) return undefined

  const charsets: string[] = []
  let at = type[0].length
  while (at < header.length) {
    parameterPattern.lastIndex = at
    const parameter = parameterPattern.exec(header)
    if (parameter === null) return undefined
    const [, name, value] = parameter
    if (name?.toLowerCase() === 'charset' && value !== undefined) charsets.push(unquoted(value).toLowerCase())
    at = parameterPattern.lastIndex
  }
  return { type: type[1].toLowerCase(), charsets }
}

function unquoted(value: string): string {
  return value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value
}
