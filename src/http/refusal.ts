/**
 * What is refused before it is a request of any route: by Node's HTTP parser, or for its `Host`. Callers get a problem
 * document here too, where Node alone would send an empty 400, 417 or 431 that says nothing.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import { AppError } from '../errors.ts'
import type { Log } from '../log.ts'
import { toProblem } from './problem.ts'

/** Answers what the parser refuses, and closes the connection: what follows on it cannot be told apart any more. */
export function answerParserFaults(server: Server, log: Log): void {
  server.on('clientError', (error: ParserFault, socket: Socket) => {
    // The client went away, or has had its reply.
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()

    const requestId = randomUUID()
    const problem = toProblem(asAppError(error), requestId)
    log.info({ requestId, status: problem.status, reason: error.code }, 'request.refused')
    const body = JSON.stringify(problem)
    socket.write(
      [
        `HTTP/1.1 ${problem.status} ${problem.title}`,
        `X-Request-Id: ${requestId}`,
        'X-Content-Type-Options: nosniff',
        'Content-Type: application/problem+json',
        `Content-Length: ${Buffer.byteLength(body)}`,
        'Connection: close',
        '',
        body,
      ].join('\r\n'),
    )
    socket.destroySoon()
  })
}

/**
 * RFC 9112 §3.2: a request of HTTP/1.1 without a Host, or with two, is refused, since proxies before us may have gone
 * by another one than we would.
 */
export function requireOneHost({ httpVersion, rawHeaders }: IncomingMessage): void {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!
    if (name.length === 4 && name.toLowerCase() === 'host') count++
  }
  if (count === 1 || (count === 0 && httpVersion === '1.0')) return
  throw new AppError('invalid_request', 'A request needs exactly one Host header.')
}

/** Whether an error is about the connection to a client: nobody's fault here, and nothing that can be answered. */
export function isConnectionFault(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return typeof code === 'string' && /^(HPE_|ECONNRESET$|EPIPE$)/.test(code)
}

type ParserFault = Error & { code?: string; reason?: string }

function asAppError({ code, reason, message }: ParserFault): AppError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new AppError(
      'invalid_request',
      'The URL and headers of a request may have 16 KiB in all, and 100 headers.',
    )
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new AppError('invalid_request', 'The request did not arrive completely in time.')
  }
  return new AppError(
    'invalid_request',
    `This is not a request of HTTP/1.1 (RFC 9112): ${reason ?? message}.`,
  )
}
