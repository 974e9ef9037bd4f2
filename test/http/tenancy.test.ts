/**
 * That tenants cannot see each other. Whatever a caller asks of another tenant's resources is answered as if they were
 * not there, to the letter, and nothing of theirs changes. The tables are made from the routes themselves.
 */

import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { scopes } from '#src/domain/access.ts'
import type { Route } from '#src/http/route.ts'
import { pathsOf, routes } from '#src/http/routes.ts'
import type { Client, Reply } from '#test/support/api-client.ts'
import { poll, problemOf, startApp, type App, type Tenant } from '#test/support/app.ts'
import { startReceiver, type Receiver } from '#test/support/receiver.ts'

/** What one tenant owns, by the collection in the path of a route that asks for an id. */
type Owned = Record<string, string>

const calls = routes
  .filter(({ access }) => access.level !== 'public')
  .flatMap(route => pathsOf(route).map(path => ({ route, path })))

const nameOf = ({ route, path }: { route: Route; path: string }) => `${route.method.toUpperCase()} ${path}`

describe('a tenant', () => {
  let app: App
  let receiver: Receiver
  let owner: Tenant
  let owned: Owned
  let stranger: Tenant
  let neighbour: Client
  let neighbourPath: string
  let untouched: unknown[]

  before(async () => {
    app = await startApp({ worker: true })
    receiver = await startReceiver()
    owner = await app.newTenant()
    owned = await fillTenant(owner)
    stranger = await app.newTenant()
    const { body } = await owner.client.post<{ id: string; secret: string }>(
      `${owner.organization}/workspaces`,
      {
        name: 'beside',
      },
    )
    neighbourPath = `/workspaces/${body.id}`
    const key = { name: 'confined', scopes }
    const made = await owner.client.post<{ secret: string }>(`${neighbourPath}/access-keys`, key)
    neighbour = app.client(made.body.secret)
    untouched = await everything()
  })
  after(async () => {
    expect(await everything()).to.deep.equal(untouched)
    await app.close()
    await receiver[Symbol.asyncDispose]()
  })

  /** One of everything that a path can ask for by its id. */
  async function fillTenant({ client, workspace, organization }: Tenant): Promise<Owned> {
    const inbox = receiver.inbox({ status: 200, body: 'a secret of the owner' })
    const create = async (path: string, body: object): Promise<string> => {
      const reply = await client.post<{ id: string }>(path, body)
      expect(reply.status, path).to.be.oneOf([201, 202])
      return reply.body.id
    }
    const channel = { service: 'channels', event: 'sms.outbound' }
    const subscription = await create(`${workspace}/webhook-subscriptions`, { ...channel, url: inbox.url })
    const event = await create(`${workspace}/events`, { ...channel, payload: 'a secret of the owner' })
    const { body } = await poll(
      () =>
        client.get<{ results: { id: string; status: string }[] }>(`${workspace}/events/${event}/deliveries`),
      reply => reply.body.results[0]?.status === 'delivered',
    )
    const key = { name: 'key', scopes: ['events:read'] }
    const issuer = {
      issuer: 'https://issuer.example',
      audience: 'a',
      jwksUrl: 'https://issuer.example/',
      algorithms: ['ES256'],
      scopes: ['events:read'],
    }
    return {
      "organization's access-keys": await create(`${organization}/access-keys`, key),
      "organization's trusted-issuers": await create(`${organization}/trusted-issuers`, issuer),
      'access-keys': await create(`${workspace}/access-keys`, key),
      'trusted-issuers': await create(`${workspace}/trusted-issuers`, issuer),
      'webhook-subscriptions': subscription,
      events: event,
      deliveries: body.results[0]!.id,
    }
  }

  /** All that can be read of the owner. */
  async function everything(): Promise<unknown[]> {
    const lists = ['access-keys', 'trusted-issuers', 'webhook-subscriptions', 'events', 'deliveries']
    const paths = [
      owner.organization,
      `${owner.organization}/workspaces`,
      `${owner.organization}/access-keys`,
      `${owner.organization}/trusted-issuers`,
      ...lists.map(list => `${owner.workspace}/${list}`),
    ]
    const replies = await Promise.all(paths.map(path => app.operator.get(path)))
    for (const { status } of replies) expect(status).to.equal(200)
    return replies.map(({ body }) => body)
  }

  /** The path of a route with the ids of a tenant, and the id of what it owns where the path asks for one. */
  function pathOf(route: Route, path: string, tenant: Tenant, ids: Owned): string {
    return path
      .replace(':organizationId', tenant.organizationId)
      .replace(':workspaceId', tenant.workspaceId)
      .replace(':id', ownedId(route, path, ids))
  }

  function ownedId({ access }: Route, path: string, ids: Owned): string {
    const collection = /([a-z-]+)\/:id/.exec(path)?.[1] ?? ''
    return ids[access.level === 'organization' ? `organization's ${collection}` : collection] ?? ''
  }

  /** Calls a route as it should be called, so that only the ids decide. */
  function call(client: Client, route: Route, path: string, ids: Owned = owned): Promise<Reply> {
    const query = route.query === 'log-details-query' ? `?requestId=${ids['events']}` : ''
    if (route.method === 'get') return client.get(path + query)
    return client[route.method](path, route.body === undefined ? undefined : exampleOf(route.body))
  }

  function expectAlike(foreign: Reply, missing: Reply, what: { status: number; code: string }): void {
    expect(problemOf(foreign)).to.deep.equal({ ...what, pointers: [] })
    expect(withoutRequest(foreign)).to.deep.equal(withoutRequest(missing))
  }

  for (const entry of calls.filter(({ path }) => /:organizationId|:workspaceId/.test(path))) {
    const { route, path } = entry
    const expected =
      route.access.level === 'operator'
        ? { status: 403, code: 'forbidden' }
        : { status: 404, code: 'not_found' }
    it(`gets ${expected.status} for ${nameOf(entry)} of another, as for one that is not there`, async () => {
      const foreign = pathOf(route, path, owner, owned)
      const missing = path.replace(/:\w+/g, () => randomUUID())
      expectAlike(
        await call(stranger.client, route, foreign),
        await call(stranger.client, route, missing),
        expected,
      )
    })
  }

  for (const entry of calls) {
    const { route, path } = entry
    it(`may call ${nameOf(entry)} for its own`, async () => {
      const own = await app.newTenant()
      const client = route.access.level === 'operator' ? app.operator : own.client
      const ids = path.includes(':id') ? await fillTenant(own) : {}
      const reply = await call(client, route, pathOf(route, path, own, ids), ids)
      const declared = Object.keys(route.replies).map(Number)
      expect(reply.status, JSON.stringify(reply.body)).to.be.oneOf(declared)
      expect(reply.body === undefined).to.equal(reply.status === 204)
    })
  }

  const readOnly = calls.filter(
    ({ route, path }) => route.method === 'get' && path.startsWith('/workspaces/'),
  )
  for (const { route, path } of readOnly) {
    it(`reads the same from both forms of ${path}`, async () => {
      const [short, long] = [path, `/organizations/:organizationId${path}`].map(form =>
        pathOf(route, form, owner, owned),
      )
      const replies = [await call(owner.client, route, short!), await call(owner.client, route, long!)]
      expect(replies[0]!.status).to.equal(200)
      expect(replies[0]!.body).to.deep.equal(replies[1]!.body)
    })
  }

  const ofWorkspace = calls.filter(({ route }) => route.access.level === 'workspace')
  for (const entry of ofWorkspace) {
    const { route, path } = entry
    it(`with a key of one workspace gets 404 for ${nameOf(entry)} of the next, as for one that is not there`, async () => {
      const foreign = pathOf(route, path, owner, owned)
      const missing = path
        .replace(':organizationId', owner.organizationId)
        .replace(/:\w+/g, () => randomUUID())
      expectAlike(await call(neighbour, route, foreign), await call(neighbour, route, missing), {
        status: 404,
        code: 'not_found',
      })
    })
  }

  for (const entry of calls.filter(({ path }) => path.includes(':id'))) {
    const { route, path } = entry
    it(`gets 404 for ${nameOf(entry)} with another's id in its own place, as for one that is not there`, async () => {
      const own = path
        .replace(':organizationId', stranger.organizationId)
        .replace(':workspaceId', stranger.workspaceId)
      const foreign = await call(stranger.client, route, own.replace(':id', ownedId(route, path, owned)))
      const missing = await call(stranger.client, route, own.replace(':id', randomUUID()))
      expectAlike(foreign, missing, { status: 404, code: 'not_found' })
    })
  }

  it('finds nothing of another by searching for its ids', async () => {
    const { client, workspace } = stranger
    for (const query of [`subscriptionId=${owned['webhook-subscriptions']}`, `eventId=${owned['events']}`]) {
      expect((await client.get(`${workspace}/deliveries?${query}`)).body).to.deep.equal({ results: [] })
      expect((await neighbour.get(`${neighbourPath}/deliveries?${query}`)).body).to.deep.equal({
        results: [],
      })
    }
  })

  it('finds no event of another in the log of its own subscription', async () => {
    const { client, workspace } = stranger
    const subscription = { service: 'numbers', event: 'endpoint', url: 'https://example.com/' }
    const { body } = await client.post<{ id: string }>(`${workspace}/webhook-subscriptions`, subscription)
    const details = `${workspace}/webhook-subscriptions/${body.id}/logs/details?requestId=`
    const foreign = await client.get(details + owned['events'])
    const missing = await client.get(details + randomUUID())
    expectAlike(foreign, missing, { status: 404, code: 'not_found' })
  })

  it('can give its own idempotency keys to its own events', async () => {
    const { client, workspace } = stranger
    const event = { service: 'channels', event: 'sms.outbound', payload: 1, id: owned['events'] }
    expect(await client.post(`${workspace}/events`, event)).to.include({ status: 202 })
  })
})

/** A body that a route takes. */
function exampleOf(schemaName: string): object {
  const url = new URL(`../../schemas/${schemaName}.json`, import.meta.url)
  const { examples } = JSON.parse(readFileSync(url, 'utf8')) as { examples: [Record<string, unknown>] }
  // Of a time that will have passed one day.
  const { expiresAt: _, ...example } = examples[0]
  return example
}

/** All that a caller sees of a reply but what is new in each. */
function withoutRequest({ status, headers, body }: Reply): object {
  const { requestId: _, ...problem } = body as { requestId: string }
  const { 'x-request-id': __, date: ___, ...kept } = headers
  return { status, headers: kept, problem }
}
