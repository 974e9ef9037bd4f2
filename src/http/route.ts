/**
 * A route is declared as data: who may call it, what it takes, what it answers. This file turns the declaration into
 * what happens with a request: authenticate, authorize, check, handle, check again.
 */
import { strict as assert } from 'node:assert'
import type { IncomingMessage } from 'node:http'
import type { Context } from 'koa'
import type { Deps } from '../deps.ts'
import { hasScope, isWithin, type Caller, type Scope } from '../domain/access.ts'
import { parseDocument, type RawPaths } from '../domain/json.ts'
import { AppError, invalid, notFound } from '../errors.ts'
import { isUuid } from '../ids.ts'
import { authenticate } from '../services/authenticate.ts'
import type { AuthenticationLimiter } from '../services/authentication-limiter.ts'
import { resolveWorkspace } from '../services/workspaces.ts'
import { readBody, requireJson } from './body.ts'
import { openPageToken, sealPageToken } from './page-token.ts'
import { checkReply, validateBody, validateQuery } from './validate.ts'

export type Route = {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** Of a workspace's route, what follows `/workspaces/{workspaceId}`; it answers under both forms of that. */
  path: string
  operationId: string
  summary: string
  access: Access
  /** Names of schemas in `schemas/`. */
  query?: string
  body?: string
  /** A request without any body is taken for `{}`. Default: it is refused. */
  isBodyOptional?: true
  /** Parts of the body that are kept as bytes. */
  rawPaths?: RawPaths
  bodyBytesMax?: (config: Deps['config']) => number
  /** Every status the route answers with, and the schema of its body; null for none. Errors are not listed. */
  replies: Readonly<Record<number, string | null>>
  handle(request: RouteRequest): Promise<Reply>
}

/** Who may call. A scope belongs to callers of the organization or workspace; the operator may do everything. */
export type Access =
  | { level: 'public' }
  | { level: 'operator' }
  | { level: 'organization'; scope: Scope | undefined }
  | { level: 'workspace'; scope: Scope | undefined }

export type RouteRequest = {
  deps: Deps
  caller: Caller
  /** Of the path; empty where the route has none. */
  organizationId: string
  workspaceId: string
  /** The id in the path that is not the organization's or the workspace's. */
  id: string
  query: Record<string, unknown>
  body: unknown
  header(name: string): string | undefined
}

type Reply = {
  status: number
  /** Written as JSON. */
  body?: unknown
  /** JSON text that must go out as it is, instead of body. */
  text?: string
  headers?: Record<string, string>
}

export type RouteOptions = {
  limiter: AuthenticationLimiter
  /** Whether every reply is compared with its schema: in tests; a reply that does not fit is our fault, 500. */
  checkReplies: boolean
}

const bodyBytesMaxDefault = 65_536

export function handlerOf(route: Route, deps: Deps, options: RouteOptions) {
  return async (ctx: Context & { params: Record<string, string> }): Promise<void> => {
    const { id = '' } = ctx.params
    const { caller, organizationId, workspaceId } = await authorize(route.access, ctx, deps, options.limiter)
    const query = readQuery(route, ctx)
    const body = route.body === undefined ? undefined : await readJson(route, ctx, deps)
    const list = listOf(route, [organizationId, workspaceId, id.toLowerCase()], query)
    if (typeof query['pageToken'] === 'string') query['pageToken'] = openPageToken(query['pageToken'], list)
    const reply = await route.handle({
      deps,
      caller,
      organizationId,
      workspaceId,
      id: id.toLowerCase(),
      query,
      body,
      header: name => headerOf(ctx, name),
    })
    sealNextPage(reply, list)
    if (options.checkReplies) requireDeclared(route, reply)
    write(ctx, reply)
  }
}

type Authorized = { caller: Caller; organizationId: string; workspaceId: string }

const nobody: Caller = { kind: 'key', organizationId: '', scopes: new Set() }

/** Who calls, and into which organization and workspace; a foreign one answers exactly as a missing one. */
async function authorize(
  access: Access,
  ctx: Context & { params: Record<string, string> },
  deps: Deps,
  limiter: AuthenticationLimiter,
): Promise<Authorized> {
  const organizationId = (ctx.params['organizationId'] ?? '').toLowerCase()
  const workspaceId = (ctx.params['workspaceId'] ?? '').toLowerCase()
  const isPublic = access.level === 'public'
  const caller = isPublic
    ? nobody
    : await authenticateLimited(ctx, deps, limiter, { organizationId, workspaceId })
  // An id that is none names nothing, so it is missing and not malformed.
  for (const value of Object.values(ctx.params)) if (!isUuid(value)) throw notFound('resource')

  if (access.level === 'public') return { caller, organizationId, workspaceId }
  if (access.level === 'operator') {
    if (caller.kind !== 'operator') throw new AppError('forbidden', 'Only the operator may do this.')
    return { caller, organizationId, workspaceId }
  }
  if (access.level === 'organization') {
    if (!belongsTo(caller, organizationId)) throw notFound('organization')
    if (!isWithin(caller, organizationId)) {
      throw new AppError('forbidden', 'This caller is confined to one workspace of the organization.')
    }
    requireScope(caller, access.scope)
    return { caller, organizationId, workspaceId }
  }
  const workspace = await resolveWorkspace(
    deps,
    workspaceId,
    organizationId === '' ? undefined : organizationId,
  )
  if (!isWithin(caller, workspace.organizationId, workspace.id)) throw notFound('workspace')
  requireScope(caller, access.scope)
  return { caller, organizationId: workspace.organizationId, workspaceId: workspace.id }
}

function requireScope(caller: Caller, scope: Scope | undefined): void {
  if (scope === undefined || hasScope(caller, scope)) return
  throw new AppError('forbidden', `This needs the scope ${scope}, which the caller does not have.`)
}

function belongsTo(caller: Caller, organizationId: string): boolean {
  return caller.kind === 'operator' || caller.organizationId === organizationId
}

/** Only failures count and only failing callers are refused, so a valid caller is never limited by its neighbours. */
async function authenticateLimited(
  ctx: Context,
  deps: Deps,
  limiter: AuthenticationLimiter,
  target: { organizationId: string; workspaceId: string },
): Promise<Caller> {
  try {
    return await authenticate(deps, ctx.get('authorization') || undefined, target)
  } catch (error) {
    if (error instanceof AppError && error.code === 'unauthorized') {
      const address = ctx.req.socket.remoteAddress ?? ''
      limiter.recordFailure(address)
      limiter.check(address)
    }
    throw error
  }
}

function readQuery(route: Route, ctx: Context): Record<string, unknown> {
  const params = new URLSearchParams(ctx.querystring)
  if (route.query === undefined) {
    const [name] = params.keys()
    if (name === undefined) return {}
    throw invalid([{ pointer: `?${name}`, detail: 'is not a parameter of this request, which has none' }])
  }
  const checked = validateQuery(route.query, params)
  if (Array.isArray(checked)) throw invalid(checked)
  return checked.value
}

/** The list that a request pages through: the same one under both forms of a path, and for pages of any size. */
function listOf(route: Route, ids: readonly string[], query: Record<string, unknown>): string {
  const filters = Object.entries(query).filter(([name]) => name !== 'limit' && name !== 'pageToken')
  return JSON.stringify([route.operationId, ids, filters.toSorted(([a], [b]) => (a < b ? -1 : 1))])
}

function sealNextPage({ body }: Reply, list: string): void {
  const page = body as { nextPageToken?: string } | undefined
  if (page?.nextPageToken !== undefined) page.nextPageToken = sealPageToken(page.nextPageToken, list)
}

async function readJson(route: Route, ctx: Context, deps: Deps): Promise<unknown> {
  if (route.isBodyOptional && !hasBody(ctx.req)) return {}
  requireJson(ctx.req.headers['content-type'])
  const bytes = await readBody(ctx.req, {
    bytesMax: route.bodyBytesMax?.(deps.config) ?? bodyBytesMaxDefault,
  })
  const body = parseDocument(bytes, route.rawPaths)
  const faults = validateBody(route.body!, body)
  if (faults.length > 0) throw invalid(faults)
  return body
}

/** RFC 9112 §6: what of these headers is there says whether a body follows. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Undefined only where it was not sent: an empty header is one that says something wrong. */
function headerOf(ctx: Context, name: string): string | undefined {
  const value = ctx.req.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}

function requireDeclared(route: Route, reply: Reply): void {
  const schema = route.replies[reply.status]
  assert(schema !== undefined, `${route.operationId} does not declare the status ${reply.status}`)
  if (schema === null) {
    assert(
      reply.body === undefined && reply.text === undefined,
      `${route.operationId} declares no body for ${reply.status}`,
    )
    return
  }
  const body: unknown = JSON.parse(reply.text ?? JSON.stringify(reply.body))
  const faults = checkReply(schema, body)
  assert(
    faults.length === 0,
    `${route.operationId} answered what does not fit ${schema}: ${faults.join('; ')}`,
  )
}

function write(ctx: Context, reply: Reply): void {
  ctx.status = reply.status
  if (reply.headers !== undefined) ctx.set(reply.headers)
  const text = reply.text ?? (reply.body === undefined ? undefined : JSON.stringify(reply.body))
  if (text === undefined) return
  ctx.type = 'application/json'
  ctx.body = text
}
