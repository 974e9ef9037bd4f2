/**
 * Reads a JSON document (a key set, an authorization server's metadata) from a URL that a tenant has given: by the
 * same guard and with the same bounds as a delivery.
 */

import type { FaultCode } from '../domain/outcome.ts'
import type { Sender } from './send.ts'

export type FetchedDocument =
  | { kind: 'document'; document: unknown }
  | { kind: 'fault'; fault: FaultCode | 'http_error' | 'too_large' | 'invalid_json'; detail: string }

/**
 * The document at a URL. Only a 200 counts; redirects are not followed. What the document says is not checked.
 *
 * `deadlineMs` is for the whole exchange, default 5,000; `bytesMax` is the largest document, default 65,536.
 */
export async function fetchDocument(
  sender: Sender,
  url: URL | string,
  { deadlineMs = 5_000, bytesMax = 65_536 }: { deadlineMs?: number; bytesMax?: number } = {},
): Promise<FetchedDocument> {
  const result = await sender.send({
    method: 'GET',
    url,
    headers: { accept: 'application/json', 'accept-encoding': 'identity' },
    body: undefined,
    deadlineMs,
    responseBytesMax: bytesMax,
  })
  if (result.kind === 'fault') return { kind: 'fault', fault: result.fault, detail: result.detail }
  if (result.status !== 200) {
    return {
      kind: 'fault',
      fault: 'http_error',
      detail: `The server answered ${result.status} instead of 200.`,
    }
  }
  if (result.isTruncated) {
    return {
      kind: 'fault',
      fault: 'too_large',
      detail: `The document is not whole, or has over ${bytesMax} bytes.`,
    }
  }
  try {
    return { kind: 'document', document: JSON.parse(utf8.decode(result.body)) }
  } catch {
    // Both throw for what the server sent, so it is the server's fault and not ours.
    return { kind: 'fault', fault: 'invalid_json', detail: 'The document is not JSON in UTF-8.' }
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })
