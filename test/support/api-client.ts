/**
 * A small client of the HTTP API for tests: sends JSON, and gives back the reply whatever its status is, since
 * a refusal is as often what a test is about as a success.
 */

import type { IncomingHttpHeaders } from 'node:http'
import { Agent, request, type Dispatcher } from 'undici'

export type Reply<Body = unknown> = {
  status: number
  headers: IncomingHttpHeaders
  /** Parsed when the reply is JSON, text when it is anything else, undefined when it is empty. */
  body: Body
}

/** `Body` is what the caller expects to come back; nothing checks it. */
export type Client = {
  get<Body = unknown>(path: string, options?: RequestOptions): Promise<Reply<Body>>
  post<Body = unknown>(path: string, body?: unknown, options?: RequestOptions): Promise<Reply<Body>>
  put<Body = unknown>(path: string, body?: unknown, options?: RequestOptions): Promise<Reply<Body>>
  patch<Body = unknown>(path: string, body?: unknown, options?: RequestOptions): Promise<Reply<Body>>
  delete<Body = unknown>(path: string, body?: unknown, options?: RequestOptions): Promise<Reply<Body>>
  /** Waits for the requests in flight, then closes the connections. */
  close(): Promise<void>
}

/** `headers` come last: they replace the client's own, and an `undefined` one removes it. */
export type RequestOptions = { headers?: Record<string, string | undefined> }

/**
 * A client of the service at `baseUrl`. `key` goes out as `Authorization: AccessKey …`; without one the client
 * is nobody. A `Uint8Array` body is sent as it is, any other body as its JSON text. No answer within 30 s is
 * an error, as is a broken connection.
 */
export function createClient(baseUrl: string, key?: string): Client {
  const dispatcher = new Agent({
    connections: 64,
    pipelining: 1,
    headersTimeout: 30_000,
    bodyTimeout: 30_000,
  })
  const authorization = key === undefined ? undefined : `AccessKey ${key}`

  const send =
    (method: Dispatcher.HttpMethod) =>
    async <Body>(path: string, body?: unknown, options: RequestOptions = {}): Promise<Reply<Body>> => {
      const response = await request(baseUrl + path, {
        dispatcher,
        method,
        headers: withoutUndefined({
          authorization,
          'content-type': body === undefined ? undefined : 'application/json',
          ...options.headers,
        }),
        body: body === undefined || body instanceof Uint8Array ? (body ?? null) : JSON.stringify(body),
      })
      const text = await response.body.text()
      return {
        status: response.statusCode,
        headers: response.headers,
        body: parseBody(text, response.headers['content-type']) as Body,
      }
    }

  return {
    get: (path, options) => send('GET')(path, undefined, options),
    post: send('POST'),
    put: send('PUT'),
    patch: send('PATCH'),
    delete: send('DELETE'),
    close: () => dispatcher.close(),
  }
}

function withoutUndefined(headers: Record<string, string | undefined>): Record<string, string> {
  const entries = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return Object.fromEntries(entries)
}

function parseBody(text: string, contentType: string | string[] | undefined): unknown {
  if (text === '') return undefined
  // Also `application/problem+json`.
  return /^application\/([\w.-]+\+)?json\b/.test(String(contentType)) ? JSON.parse(text) : text
}
