/** Access keys and trusted issuers over HTTP: what lets a client in, and what it is let into. */

import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { randomUUID } from 'node:crypto'
import { scopes as allScopes, type Scope } from '#src/domain/access.ts'
import { audience, createIssuer } from '#test/services/tenant.ts'
import type { Client } from '#test/support/api-client.ts'
import { poll, problemOf, startApp, type App, type Tenant } from '#test/support/app.ts'

type Key = {
  id: string
  organizationId: string
  workspaceId?: string
  name: string
  scopes: Scope[]
  hint: string
  expiresAt?: string
  createdAt: string
}
type Page<Item> = { results: Item[]; nextPageToken?: string }

const event = { service: 'channels', event: 'sms.outbound', payload: 1 }

let app: App
let tenant: Tenant
before(async () => {
  app = await startApp()
  tenant = await app.newTenant()
})
after(() => app.close())

describe('access keys', () => {
  const levels = [
    { level: 'an organization', path: () => `${tenant.organization}/access-keys` },
    { level: 'a workspace', path: () => `${tenant.workspace}/access-keys` },
    {
      level: 'a workspace, by its long path',
      path: () => `${tenant.organization}${tenant.workspace}/access-keys`,
    },
  ]
  for (const { level, path } of levels) {
    it(`of ${level} show their secret once`, async () => {
      const input = { name: 'reader', scopes: ['events:read', 'deliveries:read'] }
      const created = await tenant.client.post<Key & { secret: string }>(path(), input)
      expect(created.status).to.equal(201)
      const { secret, ...key } = created.body
      expect(secret).to.match(/^ak_[A-Za-z0-9_-]{43}$/)
      expect(key).to.include({
        name: 'reader',
        organizationId: tenant.organizationId,
        hint: secret.slice(0, 8),
      })
      expect(key.scopes).to.deep.equal(input.scopes)
      expect(key.workspaceId).to.equal(level === 'an organization' ? undefined : tenant.workspaceId)
      expect(key).to.not.have.property('expiresAt')

      const listed = await tenant.client.get<Page<Key>>(path())
      expect(listed.body.results[0]).to.deep.equal(key)
      expect(JSON.stringify(listed.body)).to.not.include(secret)
    })
  }

  it('let a client in by AccessKey and by Bearer, in any case of the scheme', async () => {
    const secret = await newSecret(['events:read'])
    for (const authorization of [
      `AccessKey ${secret}`,
      `accesskey ${secret}`,
      `Bearer ${secret}`,
      `BEARER  ${secret}`,
    ]) {
      const reply = await app.client().get(`${tenant.workspace}/events`, { headers: { authorization } })
      expect(reply.status, authorization).to.equal(200)
    }
  })

  it('let nobody in by anything else', async () => {
    const secret = await newSecret(['events:read'])
    const wrong = [
      secret,
      `Basic ${Buffer.from(`${secret}:`).toString('base64')}`,
      `AccessKey ${secret.slice(0, -1)}`,
      `AccessKey ${secret}A`,
      `AccessKey ${secret.toLowerCase()}`,
      `AccessKey "${secret}"`,
      `AccessKey ${secret}, AccessKey ${secret}`,
      `AccessKey${secret}`,
      'AccessKey',
      'AccessKey null',
      `Bearer ${'a.'.repeat(2)}a`,
      `AccessKey ${'a'.repeat(9_000)}`,
    ]
    for (const authorization of wrong) {
      const reply = await app.client().get(`${tenant.workspace}/events`, { headers: { authorization } })
      expect(problemOf(reply), authorization).to.deep.equal({
        status: 401,
        code: 'unauthorized',
        pointers: [],
      })
      expect(JSON.stringify(reply.body)).to.not.include(secret)
    }
  })

  it('of an organization reach all its workspaces, of a workspace only that one', async () => {
    const own = await app.newTenant()
    const { body: second } = await own.client.post<{ id: string }>(`${own.organization}/workspaces`, {
      name: 'b',
    })
    const [whole, part] = [
      await own.clientWith(['events:read'], 'organization'),
      await own.clientWith(['events:read'], 'workspace'),
    ]
    expect(await whole.get(`${own.workspace}/events`)).to.include({ status: 200 })
    expect(await whole.get(`/workspaces/${second.id}/events`)).to.include({ status: 200 })
    expect(await part.get(`${own.workspace}/events`)).to.include({ status: 200 })
    const beyond = await part.get(`/workspaces/${second.id}/events`)
    expect(problemOf(beyond)).to.deep.equal({ status: 404, code: 'not_found', pointers: [] })
  })

  it('of an organization and of its workspaces are listed apart', async () => {
    const own = await app.newTenant()
    await own.clientWith(['events:read'], 'workspace')
    const names = async (path: string) =>
      (await own.client.get<Page<Key>>(`${path}/access-keys`)).body.results.map(
        ({ workspaceId }) => workspaceId,
      )
    expect(await names(own.organization)).to.deep.equal([undefined])
    expect(await names(own.workspace)).to.deep.equal([own.workspaceId])
  })

  it('are listed newest first, over pages', async () => {
    const own = await app.newTenant()
    const path = `${own.workspace}/access-keys`
    const made: string[] = []
    for (let i = 0; i < 5; i++) {
      const { body } = await own.client.post<Key>(path, { name: `k${i}`, scopes: ['events:read'] })
      made.unshift(body.id)
    }
    const first = await own.client.get<Page<Key>>(`${path}?limit=3`)
    const second = await own.client.get<Page<Key>>(`${path}?limit=3&pageToken=${first.body.nextPageToken}`)
    expect([...first.body.results, ...second.body.results].map(({ id }) => id)).to.deep.equal(made)
    expect(second.body).to.not.have.property('nextPageToken')
  })

  it('cannot be given a scope that their maker lacks', async () => {
    const own = await app.newTenant()
    const maker = await own.clientWith(['keys:write', 'events:read'], 'organization')
    for (const path of [`${own.organization}/access-keys`, `${own.workspace}/access-keys`]) {
      const refused = await maker.post(path, {
        name: 'more',
        scopes: ['events:read', 'events:publish', 'portal:write'],
      })
      expect(problemOf(refused)).to.deep.equal({ status: 403, code: 'forbidden', pointers: [] })
      expect(refused.body).to.have.property('detail').that.includes('events:publish, portal:write')
      expect(await maker.post(path, { name: 'as much', scopes: ['events:read', 'keys:write'] })).to.include({
        status: 201,
      })
    }
    const { body } = await own.client.get<Page<Key>>(`${own.workspace}/access-keys`)
    expect(body.results.map(({ name }) => name)).to.deep.equal(['as much'])
  })

  it('cannot be made for the organization by a key of one workspace', async () => {
    const own = await app.newTenant()
    const confined = await own.clientWith(allScopes, 'workspace')
    const reply = await confined.post(`${own.organization}/access-keys`, {
      name: 'out',
      scopes: ['events:read'],
    })
    expect(problemOf(reply)).to.deep.equal({ status: 403, code: 'forbidden', pointers: [] })
    const { body } = await own.client.get<Page<Key>>(`${own.organization}/access-keys`)
    expect(body.results).to.have.length(1)
  })

  const badScopes = [
    { what: 'none', scopes: [], pointer: '/scopes' },
    { what: 'an unknown one', scopes: ['events:write'], pointer: '/scopes/0' },
    { what: 'every one at once', scopes: ['*'], pointer: '/scopes/0' },
    { what: 'one twice', scopes: ['events:read', 'events:read'], pointer: '/scopes' },
    { what: 'a number', scopes: ['events:read', 1], pointer: '/scopes/1' },
  ]
  for (const { what, scopes, pointer } of badScopes) {
    it(`are not made with ${what} for their scopes`, async () => {
      const reply = await tenant.client.post(`${tenant.workspace}/access-keys`, { name: 'bad', scopes })
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers: [pointer] })
    })
  }

  const badExpiries = [
    '2020-01-01T00:00:00Z',
    '2030-02-30T00:00:00Z',
    '2030-01-01',
    '2030-01-01T00:00:00',
    'tomorrow',
    '0000-01-01T00:00:00Z',
    '+010000-01-01T00:00:00Z',
    // In UTC these lie in the years 10000 and 0.
    '9999-12-31T23:59:59-12:00',
    '0001-01-01T00:00:00+12:00',
  ]
  for (const expiresAt of badExpiries) {
    it(`are not made to end at ${expiresAt}`, async () => {
      const input = { name: 'bad', scopes: ['events:read'], expiresAt }
      const reply = await tenant.client.post(`${tenant.workspace}/access-keys`, input)
      expect(problemOf(reply)).to.deep.equal({
        status: 422,
        code: 'validation_failed',
        pointers: ['/expiresAt'],
      })
    })
  }

  it('can end as late as there are dates', async () => {
    const input = { name: 'late', scopes: ['events:read'], expiresAt: '9999-12-31T23:59:59Z' }
    const reply = await tenant.client.post<Key & { secret: string }>(`${tenant.workspace}/access-keys`, input)
    expect(reply.body).to.include({ expiresAt: '9999-12-31T23:59:59.000Z' })
    expect(await app.client(reply.body.secret).get(`${tenant.workspace}/events`)).to.include({ status: 200 })
  })

  it('are refused from the moment they expire', async () => {
    const expiresAt = new Date(Date.now() + 1_500).toISOString()
    const input = { name: 'short', scopes: ['events:read'], expiresAt }
    const { body } = await tenant.client.post<Key & { secret: string }>(
      `${tenant.workspace}/access-keys`,
      input,
    )
    expect(body.expiresAt).to.equal(expiresAt)
    const client = app.client(body.secret)
    expect(await client.get(`${tenant.workspace}/events`)).to.include({ status: 200 })
    const last = await poll(
      () => client.get(`${tenant.workspace}/events`),
      ({ status }) => status !== 200,
    )
    expect(last.status).to.equal(401)
    expect(Date.now()).to.be.at.least(Date.parse(expiresAt) - 50)
  })

  it('are refused within 5 seconds of their revocation, and are not listed any more', async () => {
    const path = `${tenant.workspace}/access-keys`
    const { body: key } = await tenant.client.post<Key & { secret: string }>(path, {
      name: 'old',
      scopes: ['events:read'],
    })
    const client = app.client(key.secret)
    expect(await client.get(`${tenant.workspace}/events`)).to.include({ status: 200 })

    expect(await tenant.client.delete(`${path}/${key.id}`)).to.include({ status: 204, body: undefined })
    const last = await poll(
      () => client.get(`${tenant.workspace}/events`),
      ({ status }) => status !== 200,
      5_000,
    )
    expect(problemOf(last)).to.include({ status: 401, code: 'unauthorized' })
    const { body: listed } = await tenant.client.get<Page<Key>>(`${path}?limit=100`)
    expect(listed.results.map(({ id }) => id)).to.not.include(key.id)
    expect(problemOf(await tenant.client.delete(`${path}/${key.id}`))).to.include({
      status: 404,
      code: 'not_found',
    })
  })

  it('are revoked only where they belong', async () => {
    const own = await app.newTenant()
    const { body: key } = await own.client.post<Key & { secret: string }>(`${own.workspace}/access-keys`, {
      name: 'kept',
      scopes: ['events:read'],
    })
    const elsewhere = await own.client.delete(`${own.organization}/access-keys/${key.id}`)
    const foreign = await tenant.client.delete(`${tenant.workspace}/access-keys/${key.id}`)
    for (const reply of [elsewhere, foreign])
      expect(problemOf(reply)).to.include({ status: 404, code: 'not_found' })
    expect(await app.client(key.secret).get(`${own.workspace}/events`)).to.include({ status: 200 })
  })

  async function newSecret(scopes: Scope[]): Promise<string> {
    const { body } = await tenant.client.post<{ secret: string }>(`${tenant.workspace}/access-keys`, {
      name: 'k',
      scopes,
    })
    return body.secret
  }
})

describe('trusted issuers', () => {
  const trust = (issuer: { name: string; jwks: object }) => ({
    issuer: issuer.name,
    audience,
    jwks: issuer.jwks,
    algorithms: ['ES256'],
    scopes: ['events:publish', 'events:read'],
  })

  it('are created, listed and deleted; their tokens are let in until then', async () => {
    const [own, issuer] = [await app.newTenant(), await createIssuer()]
    const path = `${own.organization}/trusted-issuers`
    const created = await own.client.post<{ id: string }>(path, trust(issuer))
    expect(created.status).to.equal(201)
    expect(created.body).to.deep.include({
      ...trust(issuer),
      organizationId: own.organizationId,
      scopeClaim: 'scope',
    })
    expect((await own.client.get(path)).body).to.deep.equal({ results: [created.body] })

    const service = tokenClient(await issuer.sign({ scope: 'events:publish deliveries:read nonsense' }))
    expect(await service.post(`${own.workspace}/events`, event)).to.include({ status: 202 })
    for (const denied of ['events', 'deliveries', 'webhook-subscriptions']) {
      const reply = await service.get(`${own.workspace}/${denied}`)
      expect(problemOf(reply), denied).to.deep.equal({ status: 403, code: 'forbidden', pointers: [] })
    }

    expect(await own.client.delete(`${path}/${created.body.id}`)).to.include({ status: 204, body: undefined })
    const refused = await poll(
      () => service.get(`${own.workspace}/events`),
      ({ status }) => status === 401,
    )
    expect(problemOf(refused)).to.include({ code: 'unauthorized' })
    expect((await own.client.get(path)).body).to.deep.equal({ results: [] })
    expect(problemOf(await own.client.delete(`${path}/${created.body.id}`))).to.include({ status: 404 })
  })

  it('of a workspace let in to that one alone', async () => {
    const [own, issuer] = [await app.newTenant(), await createIssuer()]
    const { body: second } = await own.client.post<{ id: string }>(`${own.organization}/workspaces`, {
      name: 'b',
    })
    const created = await own.client.post(`${own.workspace}/trusted-issuers`, trust(issuer))
    expect(created.body).to.include({ workspaceId: own.workspaceId })

    const service = tokenClient(await issuer.sign())
    expect(await service.post(`${own.workspace}/events`, event)).to.include({ status: 202 })
    const beyond = await service.post(`/workspaces/${second.id}/events`, event)
    expect(problemOf(beyond)).to.deep.equal({ status: 404, code: 'not_found', pointers: [] })
    const foreign = await service.post(`${tenant.workspace}/events`, event)
    expect(problemOf(foreign)).to.include({ status: 404, code: 'not_found' })
  })

  it('let no token in that is not good', async () => {
    const [own, issuer, stranger] = [await app.newTenant(), await createIssuer(), await createIssuer()]
    await own.client.post(`${own.organization}/trusted-issuers`, trust(issuer))
    const nowSeconds = Math.floor(Date.now() / 1_000)
    const tokens = {
      expired: await issuer.sign({ exp: nowSeconds - 60 }),
      'without an end': await issuer.sign({ exp: undefined }),
      'for others': await issuer.sign({ aud: 'https://other.example' }),
      'of a stranger': await stranger.sign(),
      'of a stranger in another name': await stranger.sign({ iss: issuer.name }),
      'without an id': await issuer.sign({ jti: undefined }),
      'without a subject': await issuer.sign({ sub: undefined }),
      unsigned: `${Buffer.from('{"alg":"none"}').toString('base64url')}.${(await issuer.sign()).split('.')[1]}.`,
    }
    for (const [what, token] of Object.entries(tokens)) {
      const reply = await tokenClient(token).post(`${own.workspace}/events`, event)
      expect(problemOf(reply), what).to.deep.equal({ status: 401, code: 'unauthorized', pointers: [] })
    }
    expect((await own.client.get(`${own.workspace}/events`)).body).to.deep.equal({ results: [] })
  })

  it('cannot be given a scope that their maker lacks', async () => {
    const [own, issuer] = [await app.newTenant(), await createIssuer()]
    const maker = await own.clientWith(['keys:write', 'events:read'], 'organization')
    const reply = await maker.post(`${own.organization}/trusted-issuers`, trust(issuer))
    expect(problemOf(reply)).to.deep.equal({ status: 403, code: 'forbidden', pointers: [] })
    expect((await own.client.get(`${own.organization}/trusted-issuers`)).body).to.deep.equal({ results: [] })
  })

  const good = {
    issuer: 'https://issuer.example',
    audience: 'hookseal',
    jwksUrl: 'https://issuer.example/jwks.json',
    algorithms: ['ES256'],
    scopes: ['events:read'],
  }
  const { jwksUrl: _, ...keyless } = good
  const badInputs: { what: string; input: object; pointers: string[] }[] = [
    { what: 'no keys', input: keyless, pointers: [''] },
    { what: 'keys in two ways', input: { ...good, jwks: { keys: [{ kty: 'EC' }] } }, pointers: [''] },
    {
      what: 'keys at a private address',
      input: { ...good, jwksUrl: 'https://10.0.0.1/jwks' },
      pointers: ['/jwksUrl'],
    },
    {
      what: 'keys at a port of a database',
      input: { ...good, jwksUrl: 'https://a.example:5432/' },
      pointers: ['/jwksUrl'],
    },
    { what: 'keys in a file', input: { ...good, jwksUrl: 'file:///etc/passwd' }, pointers: ['/jwksUrl'] },
    { what: 'no algorithm', input: { ...good, algorithms: [] }, pointers: ['/algorithms'] },
    { what: 'no signature', input: { ...good, algorithms: ['none'] }, pointers: ['/algorithms/0'] },
    {
      what: 'a shared secret',
      input: { ...good, algorithms: ['ES256', 'HS256'] },
      pointers: ['/algorithms/1'],
    },
    { what: 'an empty key set', input: { ...keyless, jwks: { keys: [] } }, pointers: ['/jwks/keys'] },
    { what: 'an empty issuer', input: { ...good, issuer: '' }, pointers: ['/issuer'] },
    { what: 'an unknown scope', input: { ...good, scopes: ['all'] }, pointers: ['/scopes/0'] },
  ]
  for (const { what, input, pointers } of badInputs) {
    it(`are not made with ${what}`, async () => {
      const own = await app.newTenant()
      const reply = await own.client.post(`${own.organization}/trusted-issuers`, input)
      expect(problemOf(reply)).to.deep.equal({ status: 422, code: 'validation_failed', pointers })
      expect((await own.client.get(`${own.organization}/trusted-issuers`)).body).to.deep.equal({
        results: [],
      })
    })
  }

  it('are not made with a private key, and do not repeat it', async () => {
    const issuer = await createIssuer()
    const d = 'c2VjcmV0LXBhcnQtb2YtYS1wcml2YXRlLWtleQ'
    const jwks = { keys: [{ ...issuer.jwk, d }] }
    const reply = await tenant.client.post(`${tenant.workspace}/trusted-issuers`, { ...keyless, jwks })
    expect(reply.status).to.equal(422)
    expect(problemOf(reply).pointers[0]).to.match(/^\/jwks\/keys\/0/)
    expect(JSON.stringify(reply.body)).to.not.include(d)
  })

  function tokenClient(token: string): Client {
    const client = app.client()
    const headers = { authorization: `Bearer ${token}` }
    return {
      ...client,
      get: path => client.get(path, { headers }),
      post: (path, body) => client.post(path, body, { headers }),
    }
  }
})

describe('the operator', () => {
  it('may do everything, everywhere', async () => {
    const path = `${tenant.workspace}/events`
    const reply = await app.operator.post<{ id: string }>(path, event)
    expect(reply.status).to.equal(202)
    expect(await app.operator.get(`${path}/${reply.body.id}`)).to.include({ status: 200 })
    const key = { name: 'all', scopes: allScopes }
    expect(await app.operator.post(`${tenant.organization}/access-keys`, key)).to.include({ status: 201 })
    expect(problemOf(await app.operator.get(`/workspaces/${randomUUID()}/events`))).to.include({
      status: 404,
    })
  })

  it('is nobody else, whatever the key looks like', async () => {
    for (const key of [app.operatorKey.slice(0, -1), `${app.operatorKey}0`, app.operatorKey.toUpperCase()]) {
      expect(problemOf(await app.client(key).get('/organizations'))).to.include({ status: 401 })
    }
  })
})
