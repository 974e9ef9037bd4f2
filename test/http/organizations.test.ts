/** Organizations and workspaces over HTTP, and the pages of lists. */

import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { randomUUID } from 'node:crypto'
import type { Client } from '#test/support/api-client.ts'
import { poll, problemOf, startApp, type App, type Tenant } from '#test/support/app.ts'

type Named = { id: string; name: string; createdAt: string; updatedAt: string }
type Page = { results: Named[]; nextPageToken?: string }

let app: App
let operator: Client
before(async () => {
  // Organizations are listed over all tenants.
  app = await startApp({ alone: true })
  operator = app.operator
})
after(() => app.close())

const goodNames = [
  'A',
  'a'.repeat(255),
  '😀'.repeat(255),
  ' spaces ',
  "Robert'); drop table events;--",
  'تجربة',
  '\u202e',
]
const badNames = [
  { what: 'an empty', name: '' },
  { what: 'too long a', name: 'a'.repeat(256) },
  { what: 'too long a', name: '😀'.repeat(256) },
]

describe('organizations', () => {
  it('are created and read', async () => {
    const created = await operator.post<Named>('/organizations', { name: 'Acme' })
    expect(created.status).to.equal(201)
    expect(created.body).to.have.all.keys('id', 'name', 'createdAt', 'updatedAt')
    expect(created.body.name).to.equal('Acme')
    expect(created.body.updatedAt).to.equal(created.body.createdAt)
    expect(Math.abs(Date.parse(created.body.createdAt) - Date.now())).to.be.below(60_000)
    expect(created.headers['location']).to.equal(`/organizations/${created.body.id}`)

    const read = await operator.get(`/organizations/${created.body.id}`)
    expect(read).to.include({ status: 200 }).and.to.have.property('body').that.deep.equals(created.body)
    const upper = await operator.get(`/organizations/${created.body.id.toUpperCase()}`)
    expect(upper.body).to.deep.equal(created.body)
  })

  it('are renamed', async () => {
    const { body: created } = await operator.post<Named>('/organizations', { name: 'Acme' })
    const renamed = await operator.patch<Named>(`/organizations/${created.id}`, { name: 'Apex' })
    expect(renamed.status).to.equal(200)
    expect(renamed.body).to.deep.equal({ ...created, name: 'Apex', updatedAt: renamed.body.updatedAt })
    expect(Date.parse(renamed.body.updatedAt)).to.be.at.least(Date.parse(created.updatedAt))
    expect((await operator.get(`/organizations/${created.id}`)).body).to.deep.equal(renamed.body)
  })

  it('are gone once deleted, with all that they own', async () => {
    const { organization, workspace, client } = await app.newTenant()
    const deleted = await operator.delete(organization)
    expect(deleted).to.include({ status: 204, body: undefined })

    for (const path of [organization, `${organization}/workspaces`, `${organization}/access-keys`]) {
      expect(problemOf(await operator.get(path)), path).to.include({ status: 404, code: 'not_found' })
    }
    expect(problemOf(await operator.delete(organization))).to.include({ status: 404, code: 'not_found' })
    expect(problemOf(await operator.patch(organization, { name: 'x' }))).to.include({ status: 404 })
    // What processes hold in memory may be 2 seconds old.
    await poll(
      () => operator.get(workspace),
      ({ status }) => status === 404,
    )
    await poll(
      () => client.get(organization),
      ({ status }) => status === 401,
    )
  })

  it('are not for tenants, but their own to read', async () => {
    const { organization, client } = await app.newTenant()
    expect(await client.get(organization)).to.include({ status: 200 })
    for (const reply of [
      await client.get('/organizations'),
      await client.post('/organizations', { name: 'mine' }),
      await client.patch(organization, { name: 'mine' }),
      await client.delete(organization),
    ]) {
      expect(problemOf(reply)).to.deep.equal({ status: 403, code: 'forbidden', pointers: [] })
    }
    expect((await client.get<Named>(organization)).body.name).to.equal('Acme')
  })

  it('are listed newest first, each once, on pages of any size', async () => {
    const made: string[] = []
    for (let i = 0; i < 5; i++)
      made.unshift((await operator.post<Named>('/organizations', { name: `n${i}` })).body.id)
    for (const limit of [1, 2, 3, 100]) {
      const listed = await readPages(operator, '/organizations', limit, 5)
      expect(
        listed.slice(0, 5).map(({ id }) => id),
        String(limit),
      ).to.deep.equal(made)
    }
  })
})

describe('workspaces', () => {
  let tenant: Tenant
  before(async () => void (tenant = await app.newTenant()))

  it('are created and read under both forms of their path', async () => {
    const { organization, organizationId, client } = tenant
    const created = await client.post<Named>(`${organization}/workspaces`, { name: 'staging' })
    expect(created.status).to.equal(201)
    expect(created.body).to.have.all.keys('id', 'organizationId', 'name', 'createdAt', 'updatedAt')
    expect(created.body).to.include({ name: 'staging', organizationId })
    expect(created.headers['location']).to.equal(`${organization}/workspaces/${created.body.id}`)

    for (const path of [`${organization}/workspaces/${created.body.id}`, `/workspaces/${created.body.id}`]) {
      const read = await client.get(path)
      expect(read.status, path).to.equal(200)
      expect(read.body, path).to.deep.equal(created.body)
    }
  })

  it('are renamed and deleted', async () => {
    const { organization, client } = tenant
    const { body: created } = await client.post<Named>(`${organization}/workspaces`, { name: 'old' })
    const path = `/workspaces/${created.id}`
    const renamed = await client.patch<Named>(path, { name: 'new' })
    expect(renamed.status).to.equal(200)
    expect(renamed.body).to.deep.equal({ ...created, name: 'new', updatedAt: renamed.body.updatedAt })

    expect(await client.delete(path)).to.include({ status: 204, body: undefined })
    await poll(
      () => client.get(path),
      ({ status }) => status === 404,
    )
    expect(problemOf(await client.delete(path))).to.include({ status: 404, code: 'not_found' })
    const { body } = await client.get<Page>(`${organization}/workspaces?limit=100`)
    expect(body.results.map(({ id }) => id)).to.not.include(created.id)
  })

  it('take nothing in once they are deleted', async () => {
    const { organization, client } = tenant
    const { body: created } = await client.post<Named>(`${organization}/workspaces`, { name: 'gone' })
    const path = `/workspaces/${created.id}`
    expect(await client.get(path)).to.include({ status: 200 })
    await client.delete(path)

    const event = { service: 'channels', event: 'sms.outbound', payload: 1 }
    const subscription = { service: 'channels', event: 'sms.outbound', url: 'https://example.com/' }
    const key = { name: 'late', scopes: ['events:read'] }
    for (const reply of [
      await client.post(`${path}/events`, event),
      await client.post(`${path}/webhook-subscriptions`, subscription),
      await client.post(`${path}/access-keys`, key),
    ]) {
      expect(problemOf(reply)).to.deep.equal({ status: 404, code: 'not_found', pointers: [] })
    }
  })

  it('are only reached through their own organization', async () => {
    const { workspaceId, client } = tenant
    const other = await app.newTenant()
    const crossed = `${other.organization}/workspaces/${workspaceId}`
    const missing = `${other.organization}/workspaces/${randomUUID()}`
    for (const caller of [client, other.client, operator]) {
      const reply = await caller.get(crossed)
      expect(problemOf(reply)).to.deep.equal({ status: 404, code: 'not_found', pointers: [] })
      expect(withoutId(reply.body)).to.deep.equal(withoutId((await caller.get(missing)).body))
    }
  })

  it('need an organization that is there', async () => {
    for (const reply of [
      await operator.post(`/organizations/${randomUUID()}/workspaces`, { name: 'lost' }),
      await operator.get(`/organizations/${randomUUID()}/workspaces`),
    ]) {
      expect(problemOf(reply)).to.deep.equal({ status: 404, code: 'not_found', pointers: [] })
    }
  })
})

describe('a name', () => {
  let tenant: Tenant
  before(async () => void (tenant = await app.newTenant()))

  const targets: { what: string; method: 'post' | 'patch'; path: () => string; rest?: object }[] = [
    { what: 'a new organization', method: 'post', path: () => '/organizations' },
    { what: 'an organization', method: 'patch', path: () => tenant.organization },
    { what: 'a new workspace', method: 'post', path: () => `${tenant.organization}/workspaces` },
    { what: 'a workspace', method: 'patch', path: () => tenant.workspace },
    {
      what: 'an access key',
      method: 'post',
      path: () => `${tenant.workspace}/access-keys`,
      rest: { scopes: ['events:read'] },
    },
  ]
  for (const { what, method, path, rest } of targets) {
    it(`of ${what} has 1 to 255 characters, and comes back as it was given`, async () => {
      for (const name of goodNames) {
        const reply = await operator[method]<Named>(path(), { ...rest, name })
        expect(reply.status, name).to.equal(method === 'post' ? 201 : 200)
        expect(reply.body.name).to.equal(name)
      }
    })

    for (const { what: kind, name } of badNames) {
      it(`of ${what} is not ${kind} one`, async () => {
        const reply = await operator[method](path(), { ...rest, name })
        expect(problemOf(reply)).to.deep.equal({
          status: 422,
          code: 'validation_failed',
          pointers: ['/name'],
        })
        expect(reply.body).to.have.nested.property(
          'errors[0].detail',
          'must have between 1 and 255 characters',
        )
      })
    }
  }
})

describe('a page', () => {
  let tenant: Tenant
  const made: string[] = []
  before(async () => {
    tenant = await app.newTenant()
    made.unshift(tenant.workspaceId)
    for (let i = 0; i < 24; i++) {
      const { body } = await tenant.client.post<Named>(`${tenant.organization}/workspaces`, { name: `w${i}` })
      made.unshift(body.id)
    }
  })

  const list = (query: string) => tenant.client.get<Page>(`${tenant.organization}/workspaces${query}`)

  it('has 10 results unless told otherwise', async () => {
    const { body } = await list('')
    expect(body.results.map(({ id }) => id)).to.deep.equal(made.slice(0, 10))
    expect(body.nextPageToken).to.be.a('string')
  })

  it('leads to the next, until none is left', async () => {
    for (const limit of [1, 7, 12, 24, 25, 100]) {
      const listed = await readPages(tenant.client, `${tenant.organization}/workspaces`, limit)
      expect(
        listed.map(({ id }) => id),
        String(limit),
      ).to.deep.equal(made)
    }
  })

  it('has no next one where it ends with the last result', async () => {
    expect((await list('?limit=25')).body).to.not.have.property('nextPageToken')
    expect((await list('?limit=24')).body).to.have.property('nextPageToken')
  })

  it('stays the same while new ones are made', async () => {
    const own = await app.newTenant()
    const path = `${own.organization}/workspaces`
    const first = await own.client.post<Named>(path, { name: 'first' })
    const { body: page } = await own.client.get<Page>(`${path}?limit=1`)
    expect(page.results.map(({ id }) => id)).to.deep.equal([first.body.id])
    await own.client.post(path, { name: 'second' })
    const { body: next } = await own.client.get<Page>(`${path}?limit=1&pageToken=${page.nextPageToken}`)
    expect(next.results.map(({ id }) => id)).to.deep.equal([own.workspaceId])
    expect(next).to.not.have.property('nextPageToken')
  })

  it('goes on after its last result also when that is gone', async () => {
    const own = await app.newTenant()
    const path = `${own.organization}/workspaces`
    const { body: newest } = await own.client.post<Named>(path, { name: 'newest' })
    const { body: page } = await own.client.get<Page>(`${path}?limit=1`)
    await own.client.delete(`/workspaces/${newest.id}`)
    const { body: next } = await own.client.get<Page>(`${path}?limit=1&pageToken=${page.nextPageToken}`)
    expect(next.results.map(({ id }) => id)).to.deep.equal([own.workspaceId])
  })

  it('is not found by a token that is none of the list', async () => {
    const { body } = await list('?limit=1')
    const token = body.nextPageToken!
    const tokens = [
      'x',
      'garbage',
      '0',
      token.slice(0, -1),
      token.slice(0, 10),
      `${token}A`,
      `${token}!`,
      token.toLowerCase(),
      Buffer.from(randomUUID()).toString('base64url'),
      Buffer.from(`before:${'0'.repeat(36)}`).toString('base64url'),
      Buffer.from(`before:' or true--`).toString('base64url'),
      'A'.repeat(2_048),
    ]
    for (const bad of tokens) {
      const reply = await list(`?pageToken=${encodeURIComponent(bad)}`)
      expect(problemOf(reply), bad).to.deep.equal({
        status: 422,
        code: 'invalid_page_token',
        pointers: ['?pageToken'],
      })
    }
  })

  it('is not found by a token of another list', async () => {
    const { body: organizations } = await operator.get<Page>('/organizations?limit=1')
    const foreign = await app.newTenant()
    await foreign.client.post(`${foreign.organization}/workspaces`, { name: 'second' })
    const { body: workspaces } = await foreign.client.get<Page>(`${foreign.organization}/workspaces?limit=1`)
    for (const token of [organizations.nextPageToken, workspaces.nextPageToken]) {
      const reply = await list(`?pageToken=${token}`)
      expect(problemOf(reply)).to.deep.equal({
        status: 422,
        code: 'invalid_page_token',
        pointers: ['?pageToken'],
      })
    }
  })

  for (const length of [2_049, 8_000]) {
    it(`is not found by a token of ${length} characters`, async () => {
      const reply = await list(`?pageToken=${'A'.repeat(length)}`)
      expect(problemOf(reply)).to.deep.equal({
        status: 422,
        code: 'validation_failed',
        pointers: ['?pageToken'],
      })
    })
  }
})

/** All results of a list, or as many as fill `pagesMax` pages, by following its page tokens. */
async function readPages(client: Client, path: string, limit: number, pagesMax = 100): Promise<Named[]> {
  const results: Named[] = []
  let token: string | undefined
  for (let pages = 0; pages < pagesMax; pages++) {
    const query = token === undefined ? '' : `&pageToken=${encodeURIComponent(token)}`
    const { status, body } = await client.get<Page>(`${path}?limit=${limit}${query}`)
    expect(status).to.equal(200)
    expect(body.results.length).to.be.within(1, limit)
    results.push(...body.results)
    token = body.nextPageToken
    if (token === undefined) break
  }
  expect(new Set(results.map(({ id }) => id)).size).to.equal(results.length)
  return results
}

function withoutId(problem: unknown): object {
  const { requestId, ...rest } = problem as { requestId: string }
  expect(requestId).to.be.a('string')
  return rest
}
