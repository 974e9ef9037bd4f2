/**
 * The HTTP side: request ids, one log line per request, errors as problem documents, the routes.
 */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Router, type RouterMiddleware } from '@koa/router'
import Koa, { type Context, type Next } from 'koa'
import type { Deps } from '../deps.ts'
import { AppError } from '../errors.ts'
import { createAuthenticationLimiter } from '../services/authentication-limiter.ts'
import { discardBody } from './body.ts'
import { asAppError, toProblem } from './problem.ts'
import { answerParserFaults, isConnectionFault, requireOneHost } from './refusal.ts'
import { handlerOf, type Route } from './route.ts'
import { pathsOf, routes as allRoutes } from './routes.ts'

/** Failed authentications of one client address in a minute; those that succeed are never limited. */
const failedAuthenticationsPerMinute = 300

/** Slow clients are cut off by these (RFC 9112 leaves it to the server). */
const headersTimeoutMs = 10_000
const requestTimeoutMs = 30_000
const headersCountMax = 100

export type AppOptions = {
  /** Default: all of them. A process that only works answers `operatingRoutes`. */
  routes?: readonly Route[]
  /** Compare every reply with its schema. Default: false. */
  checkReplies?: boolean
}

export function createHttpServer(deps: Deps, options: AppOptions = {}): Server {
  const handle = createApp(deps, options).callback()
  const listener = (request: IncomingMessage, response: ServerResponse) => void handle(request, response)
  const server = createServer(
    {
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: 65_000,
      // Checked by requireOneHost, which gives a reason.
      requireHostHeader: false,
    },
    listener,
  )
  server.maxHeadersCount = headersCountMax
  // RFC 9110 §10.1.1 lets a server pass over expectations that it does not know.
  server.on('checkExpectation', listener)
  answerParserFaults(server, deps.log)
  return server
}

function createApp(deps: Deps, { routes = allRoutes, checkReplies = false }: AppOptions = {}): Koa {
  const limiter = createAuthenticationLimiter({ perMinute: failedAuthenticationsPerMinute })
  // Exactly the paths that are declared: RFC 3986 §6.2.2.1 makes paths differ by case.
  const router = new Router({ sensitive: true, strict: true })
  for (const route of routes) {
    const handler = handlerOf(route, deps, { limiter, checkReplies })
    for (const path of pathsOf(route)) router[route.method](path, handler as RouterMiddleware)
  }

  const app = new Koa()
  app.on('error', (error: unknown) => {
    if (isConnectionFault(error)) deps.log.debug({ err: error }, 'http.connection_lost')
    else deps.log.error({ err: error }, 'http.failed')
  })
  app.use((ctx, next) => answer(deps, ctx, next))
  app.use(router.routes())
  app.use(unmatched(router))
  return app
}

/** Gives the request an id, answers errors as problems, and writes the request's one log line. */
async function answer(deps: Deps, ctx: Context, next: Next): Promise<void> {
  const startedAtMs = performance.now()
  const requestId = randomUUID()
  ctx.set('X-Request-Id', requestId)
  ctx.set('X-Content-Type-Options', 'nosniff')
  try {
    requireOneHost(ctx.req)
    await next()
  } catch (error) {
    const appError = asAppError(error)
    writeProblem(ctx, appError, requestId)
    if (ctx.status >= 500) deps.log.error({ requestId, err: appError.cause ?? appError }, 'request.failed')
  }
  deps.log.info(
    {
      requestId,
      method: ctx.method,
      path: ctx.path,
      status: ctx.status,
      durationMs: Math.round(performance.now() - startedAtMs),
    },
    'request',
  )
}

function writeProblem(ctx: Context, error: AppError, requestId: string): void {
  // A body that nobody read would stand in the way of the next request on the connection.
  discardBody(ctx.req)
  const problem = toProblem(error, requestId)
  ctx.status = problem.status
  ctx.type = 'application/problem+json'
  ctx.body = JSON.stringify(problem)
  if (error.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(error.retryAfterSeconds))
  // RFC 9110 §11.6.1: a 401 names the schemes that would do.
  if (problem.status === 401) ctx.set('WWW-Authenticate', 'AccessKey, Bearer')
}

/** What no route took: a known path has its methods named, anything else is missing. */
function unmatched(router: Router) {
  return (ctx: Context): void => {
    const allowed = new Set(
      router.stack.filter(layer => layer.match(ctx.path)).flatMap(layer => layer.methods),
    )
    if (allowed.size === 0) throw new AppError('not_found', `There is nothing at ${ctx.path}.`)
    const methods = [...allowed].join(', ')
    ctx.set('Allow', methods)
    throw new AppError('method_not_allowed', `${ctx.path} takes ${methods}.`)
  }
}
