/**
 * Errors of undici, TLS, sockets and DNS as fault codes. By code and class, never by text: texts change with each
 * version, and some of them name addresses that the endpoint's owner is not to learn.
 */

import { errors } from 'undici'
import type { FaultCode } from '../domain/outcome.ts'
import { RefusedConnection } from './connector.ts'

export type Fault = { fault: FaultCode; detail: string; isLocal: boolean }

/** What an error means for the request it ended. What is not known is a `network_error`. */
export function faultOf(error: Error): Fault {
  const code = codeOf(error)
  if (error instanceof RefusedConnection) return remoteFault(error.fault, code)
  if (localCodes.has(code)) {
    return {
      fault: 'network_error',
      detail: `The request could not be sent from here (${code}).`,
      isLocal: true,
    }
  }
  if (error instanceof errors.HTTPParserError) return protocolFault()
  return remoteFault(faultOfCode(code), code)
}

export function timeoutFault(): Fault {
  return remoteFault('timeout', '')
}

export function abortedFault(): Fault {
  return remoteFault('aborted', '')
}

export function protocolFault(): Fault {
  return remoteFault('protocol_error', '')
}

export function blockedFault(): Fault {
  return remoteFault('blocked_destination', '')
}

/** Whether the connection ended under the request, without a word about why. */
export function isLostConnection(error: Error): boolean {
  return faultsByCode.get(codeOf(error)) === 'connection_reset'
}

const localCodes = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'])

const faultsByCode: ReadonlyMap<string, FaultCode> = new Map([
  ['ECONNREFUSED', 'connection_refused'],
  ['ECONNRESET', 'connection_reset'],
  ['ECONNABORTED', 'connection_reset'],
  ['EPIPE', 'connection_reset'],
  ['UND_ERR_SOCKET', 'connection_reset'],
  ['ETIMEDOUT', 'timeout'],
  ['UND_ERR_CONNECT_TIMEOUT', 'timeout'],
  ['UND_ERR_HEADERS_TIMEOUT', 'timeout'],
  ['UND_ERR_BODY_TIMEOUT', 'timeout'],
  ['UND_ERR_HEADERS_OVERFLOW', 'protocol_error'],
  ['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'protocol_error'],
  // A status such as 000 trips an assertion of undici's.
  ['ERR_ASSERTION', 'protocol_error'],
  // The request cannot be put on the wire: a header with a line break, a path with a space.
  ['UND_ERR_INVALID_ARG', 'protocol_error'],
  ['UND_ERR_NOT_SUPPORTED', 'protocol_error'],
  ['UND_ERR_REQ_CONTENT_LENGTH_MISMATCH', 'protocol_error'],
  ['UND_ERR_DESTROYED', 'aborted'],
  ['UND_ERR_CLOSED', 'aborted'],
  ['UND_ERR_ABORTED', 'aborted'],
  ['EPROTO', 'tls_error'],
])

/** OpenSSL's reasons (X509_V_ERR_…, without their prefix) and Node's own about TLS. */
const tlsCodePattern =
  /^(?:ERR_TLS_|ERR_SSL_|ERR_OSSL_|CERT_|CRL_|UNABLE_TO_|ERROR_IN_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_(?:CA|PURPOSE)|PATH_LENGTH_|HOSTNAME_MISMATCH)/

const details: Record<FaultCode, string> = {
  timeout: 'The receiver did not answer in time',
  connection_refused: 'The receiver refused the connection',
  connection_reset: 'The connection was closed before an answer came',
  dns_error: 'The host name could not be resolved',
  tls_error: 'No secure connection could be made',
  protocol_error: 'The exchange does not follow HTTP/1.1',
  blocked_destination: 'The URL leads to an address that may not be sent to',
  network_error: 'The receiver could not be reached',
  aborted: 'The request was ended from here before an answer came',
}

function faultOfCode(code: string): FaultCode {
  const known = faultsByCode.get(code)
  if (known !== undefined) return known
  return tlsCodePattern.test(code) ? 'tls_error' : 'network_error'
}

function remoteFault(fault: FaultCode, code: string): Fault {
  const showsCode = code !== '' && fault !== 'blocked_destination'
  return { fault, detail: showsCode ? `${details[fault]} (${code}).` : `${details[fault]}.`, isLocal: false }
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}
