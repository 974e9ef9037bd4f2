/**
 * What holds for every route: who may call, that nothing is taken that is not asked for, and how a refusal looks. The
 * tables are made from the routes themselves, so that a new route is held to it as well.
 */

import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { randomUUID } from 'node:crypto'
import { request } from 'undici'
import { scopes, type Scope } from '#src/domain/access.ts'
import { statusOf } from '#src/http/problem.ts'
import type { Route } from '#src/http/route.ts'
import { pathsOf, routes } from '#src/http/routes.ts'
import { checkReply } from '#src/http/validate.ts'
import type { Client, Reply } from '#test/support/api-client.ts'
import { problemOf, startApp, type App, type Tenant } from '#test/support/app.ts'

const brokenBody = Buffer.from('{"name": ')

/** Every route under every path it answers under. */
const calls = routes.flatMap(route => pathsOf(route).map(path => ({ route, path })))
const guarded = calls.filter(({ route }) => route.access.level !== 'public')

describe('every route', () => {
  let app: App
  let tenant: Tenant
  let operator: Client
  before(async () => {
    app = await startApp()
    tenant = await app.newTenant()
    operator = app.operator
  })
  after(() => app.close())

  /** The path with the ids of the tenant, and one that names nothing where it asks for another. */
  function fill(path: string): string {
    return path
      .replace(':organizationId', tenant.organizationId)
      .replace(':workspaceId', tenant.workspaceId)
      .replace(':id', randomUUID())
  }

  function call(client: Client, { method, body }: Route, path: string): Promise<Reply> {
    if (method === 'get') return client.get(path)
    return client[method](path, body === undefined ? undefined : brokenBody)
  }

  /** The parameters that a route insists on. */
  function requiredQuery({ query }: Route): string {
    return query === 'log-details-query' ? `&requestId=${randomUUID()}` : ''
  }

  function nameOf({ route, path }: { route: Route; path: string }): string {
    return `${route.method.toUpperCase()} ${path}`
  }

  for (const entry of guarded) {
    it(`${nameOf(entry)} answers 401 without a valid caller, whatever the body is`, async () => {
      for (const client of [app.client(), app.client(`ak_${'A'.repeat(43)}`)]) {
        const reply = await call(client, entry.route, fill(entry.path))
        expect(problemOf(reply)).to.deep.equal({ status: 401, code: 'unauthorized', pointers: [] })
        expect(reply.headers['www-authenticate']).to.equal('AccessKey, Bearer')
        expectProblem(reply)
      }
    })
  }

  for (const entry of guarded) {
    const { access } = entry.route
    if (access.level === 'operator') {
      it(`${nameOf(entry)} answers 403 to a tenant, whatever its scopes`, async () => {
        const reply = await call(tenant.client, entry.route, fill(entry.path))
        expect(problemOf(reply)).to.deep.equal({ status: 403, code: 'forbidden', pointers: [] })
        expectProblem(reply)
      })
    } else if (access.level !== 'public' && access.scope !== undefined) {
      const { scope } = access
      it(`${nameOf(entry)} answers 403 without the scope ${scope}, and names it`, async () => {
        const client = await clientWithout(scope)
        const reply = await call(client, entry.route, fill(entry.path))
        expect(problemOf(reply)).to.deep.equal({ status: 403, code: 'forbidden', pointers: [] })
        expect(reply.body).to.have.property('detail').that.includes(scope)
        expectProblem(reply)
      })
    }
  }

  const clients = new Map<Scope, Promise<Client>>()
  function clientWithout(scope: Scope): Promise<Client> {
    const others = scopes.filter(other => other !== scope)
    const known = clients.get(scope) ?? tenant.clientWith(others, 'organization')
    clients.set(scope, known)
    return known
  }

  const ofOrganization = guarded.filter(({ route }) => route.access.level === 'organization')
  for (const entry of ofOrganization) {
    it(`${nameOf(entry)} answers 403 to a key that is confined to a workspace`, async () => {
      const client = await confinedClient()
      const reply = await call(client, entry.route, fill(entry.path))
      expect(problemOf(reply)).to.deep.equal({ status: 403, code: 'forbidden', pointers: [] })
    })
  }

  let confined: Promise<Client> | undefined
  const confinedClient = (): Promise<Client> => (confined ??= tenant.clientWith(scopes, 'workspace'))

  for (const entry of calls) {
    it(`${nameOf(entry)} takes no query parameter that it does not have`, async () => {
      const reply = await call(
        operator,
        entry.route,
        `${fill(entry.path)}?nope=1${requiredQuery(entry.route)}`,
      )
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: ['?nope'] })
      expectProblem(reply)
    })
  }

  const lists = calls.filter(
    ({ route }) => route.query !== undefined && route.query !== 'available-webhooks-query',
  )
  for (const entry of lists) {
    it(`${nameOf(entry)} takes no parameter twice, empty or out of range`, async () => {
      for (const query of [
        'limit=1&limit=1',
        'limit=',
        'limit=0',
        'limit=101',
        'limit=1e1',
        'limit=+5',
        'limit=%00',
      ]) {
        const reply = await operator.get(`${fill(entry.path)}?${query}${requiredQuery(entry.route)}`)
        const expected = { status: 422, code: 'validation_failed', pointers: ['?limit'] }
        expect(problemOf(reply), query).to.deep.equal(expected)
      }
    })
  }

  for (const path of new Set(calls.map(entry => entry.path))) {
    const declared = methodsAt(path)
    it(`${path} answers 405 to any method but ${[...declared].join(', ')}`, async () => {
      for (const method of [
        'GET',
        'HEAD',
        'POST',
        'PUT',
        'PATCH',
        'DELETE',
        'OPTIONS',
        'TRACE',
        'PROPFIND',
      ]) {
        if (declared.has(method)) continue
        const reply = await request(app.url + fill(path), { method: method })
        const text = await reply.body.text()
        expect(reply.statusCode, method).to.equal(405)
        expect(String(reply.headers['allow']).split(', '), method).to.have.members([...declared])
        expect(reply.headers['x-request-id'], method).to.match(uuid)
        if (method !== 'HEAD')
          expect(JSON.parse(text)).to.include({ code: 'method_not_allowed', status: 405 })
      }
    })
  }

  for (const { path } of guarded) {
    if (!path.includes(':')) continue
    it(`${path} asks for a caller before it looks at its ids, and takes one that is no UUID for missing`, async () => {
      const { route } = guarded.find(entry => entry.path === path)!
      for (const id of [
        'x',
        '0',
        'null',
        '%00',
        `${randomUUID()}0`,
        randomUUID().replaceAll('-', ''),
        "1'--",
      ]) {
        const broken = path.replace(/:\w+$|:\w+(?=\/[a-z-]+$)|:\w+/, id).replace(/:\w+/g, () => randomUUID())
        expect(problemOf(await call(operator, route, broken)), broken).to.include({
          status: 404,
          code: 'not_found',
        })
      }
      const nobody = await call(app.client(), route, path.replace(/:\w+/g, 'x'))
      expect(problemOf(nobody)).to.include({ status: 401, code: 'unauthorized' })
    })
  }
})

describe('a problem', () => {
  let app: App
  before(async () => void (app = await startApp()))
  after(() => app.close())

  it('is answered where there is nothing, with what was asked for', async () => {
    for (const path of [
      '/',
      '/organizations/x/y',
      '/nowhere',
      '/v1',
      '/workspaces',
      '//organizations',
      '/healthz/x',
    ]) {
      const reply = await app.operator.get(path)
      expect(problemOf(reply), path).to.deep.equal({ status: 404, code: 'not_found', pointers: [] })
      expectProblem(reply)
    }
  })

  it('has a request id of its own, also where all went well', async () => {
    const replies = [
      await app.client().get('/healthz'),
      await app.client().get('/readyz'),
      await app.operator.get('/organizations'),
      await app.operator.post('/organizations', { name: 'Acme' }),
      await app.operator.post('/organizations', {}),
    ]
    expect(replies.map(({ status }) => status)).to.deep.equal([200, 200, 200, 201, 422])
    const ids = replies.map(({ headers }) => String(headers['x-request-id']))
    expect(new Set(ids).size).to.equal(ids.length)
    for (const id of ids) expect(id).to.match(uuid)
    for (const { headers } of replies) expect(headers['x-content-type-options']).to.equal('nosniff')
  })

  it('does not take a request id from the caller', async () => {
    const { headers } = await app.operator.get('/organizations', { headers: { 'x-request-id': 'mine' } })
    expect(headers['x-request-id']).to.match(uuid)
  })

  it('names at most 20 faults', async () => {
    const { client, workspace } = await app.newTenant()
    const unknown = Array.from({ length: 50 }, (_, i) => [`unknown${i}`, i])
    const reply = await client.post(`${workspace}/events`, Object.fromEntries(unknown))
    expect(problemOf(reply)).to.include({ status: 422, code: 'validation_failed' })
    expect(problemOf(reply).pointers).to.have.length(20)
    expectProblem(reply)
  })

  it('says what to do where authentication fails too often, and lets valid callers through', async () => {
    const other = await startApp()
    try {
      const nobody = other.client()
      const statuses = new Map<number, number>()
      for (let i = 0; i < 6; i++) {
        const replies = await Promise.all(Array.from({ length: 51 }, () => nobody.get('/organizations')))
        for (const { status } of replies) statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
      expect(Object.fromEntries(statuses)).to.deep.equal({ 401: 300, 429: 6 })
      const refused = await nobody.get('/organizations')
      expect(problemOf(refused)).to.deep.equal({ status: 429, code: 'rate_limited', pointers: [] })
      expect(Number(refused.headers['retry-after'])).to.be.within(1, 60)
      expectProblem(refused)
      expect(await other.operator.get('/organizations')).to.include({ status: 200 })
    } finally {
      await other.close()
    }
  })
})

/** What can be asked for at a path, also by a route that takes a part of it for an id (`events/batch`). */
function methodsAt(path: string): Set<string> {
  const matching = calls.filter(entry => new RegExp(`^${entry.path.replace(/:\w+/g, '[^/]+')}$`).test(path))
  const methods = matching.map(({ route }) => route.method.toUpperCase())
  return new Set(methods.includes('GET') ? [...methods, 'HEAD'] : methods)
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** A problem document as RFC 9457 and its schema have it. */
function expectProblem({ status, headers, body }: Reply): void {
  expect(headers['content-type']).to.match(/^application\/problem\+json\b/)
  expect(checkReply('problem', body)).to.deep.equal([])
  const { code, requestId } = body as { code: keyof typeof statusOf; requestId: string }
  expect(body).to.have.property('status', status)
  expect(statusOf[code]).to.equal(status)
  expect(requestId).to.match(uuid).and.to.equal(headers['x-request-id'])
}
