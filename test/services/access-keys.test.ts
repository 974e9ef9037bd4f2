import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { hash, randomUUID } from 'node:crypto'
import type { Caller, Scope } from '#src/domain/access.ts'
import {
  accessKeyPattern,
  createAccessKey,
  listAccessKeys,
  revokeAccessKey,
} from '#src/services/access-keys.ts'
import { rejection } from '#test/support/rejection.ts'
import { createTenant, createTestDeps, operator, type Tenant, type TestDeps } from './tenant.ts'

const page = { limit: 10 }
const read = { name: 'reader', scopes: ['events:read'] satisfies Scope[] }

describe('access keys', () => {
  let deps: TestDeps
  before(async () => void (deps = await createTestDeps()))
  after(() => deps.close())

  const callerOf = ({ organization }: Tenant, scopes: Scope[], workspaceId?: string): Caller => ({
    kind: 'key',
    organizationId: organization.id,
    ...(workspaceId === undefined ? {} : { workspaceId }),
    scopes: new Set(scopes),
  })

  it('are shown once, and stored as what cannot be turned back into them', async () => {
    const { whole } = await createTenant(deps)
    const { key, secret } = await createAccessKey(deps, operator, whole, read)
    expect(secret).to.match(accessKeyPattern)
    expect(key).to.include({ ...whole, name: 'reader', hint: secret.slice(0, 8), expiresAt: null })
    expect(key.scopes).to.deep.equal(['events:read'])

    const row = await deps.db('access_keys').where({ id: key.id }).first()
    expect(row.secret_sha256).to.deep.equal(hash('sha256', secret, 'buffer'))
    expect(JSON.stringify(row)).to.not.include(secret.slice(9))
    expect(await listAccessKeys(deps, whole, page)).to.deep.equal({ results: [key] })
  })

  it('are never alike', async () => {
    const { whole } = await createTenant(deps)
    const keys = await Promise.all([1, 2, 3].map(() => createAccessKey(deps, operator, whole, read)))
    expect(new Set(keys.map(({ secret }) => secret)).size).to.equal(3)
  })

  it('keep a scope that is given twice once', async () => {
    const { whole } = await createTenant(deps)
    const scopes: Scope[] = ['events:read', 'events:publish', 'events:read']
    const { key } = await createAccessKey(deps, operator, whole, { name: 'x', scopes })
    expect(key.scopes).to.deep.equal(['events:read', 'events:publish'])
  })

  it('can be given the scopes of their maker', async () => {
    const tenant = await createTenant(deps)
    const { key } = await createAccessKey(
      deps,
      callerOf(tenant, ['keys:write', 'events:read']),
      tenant.whole,
      read,
    )
    expect(key.scopes).to.deep.equal(['events:read'])
  })

  it('cannot be given scopes that their maker lacks, which are named', async () => {
    const tenant = await createTenant(deps)
    const maker = callerOf(tenant, ['keys:write', 'events:read'])
    const scopes: Scope[] = ['events:read', 'portal:write', 'events:publish']
    const error = await rejection(createAccessKey(deps, maker, tenant.whole, { name: 'x', scopes }))
    expect(error).to.include({
      code: 'forbidden',
      message: 'You cannot give scopes that you do not have yourself: portal:write, events:publish.',
    })
    expect((await listAccessKeys(deps, tenant.whole, page)).results).to.deep.equal([])
  })

  it('cannot reach beyond the workspace of their maker', async () => {
    const tenant = await createTenant(deps)
    const maker = callerOf(tenant, ['keys:write', 'events:read'], tenant.workspace.id)
    expect(await rejection(createAccessKey(deps, maker, tenant.whole, read))).to.include({
      code: 'not_found',
    })
    const { key } = await createAccessKey(deps, maker, tenant.part, read)
    expect(key).to.include({ workspaceId: tenant.workspace.id })
  })

  it('cannot be made to expire now or before', async () => {
    const { whole } = await createTenant(deps)
    for (const expiresAt of [deps.ids.now(), new Date(0)]) {
      const error = await rejection(createAccessKey(deps, operator, whole, { ...read, expiresAt }))
      expect(error).to.include({ code: 'validation_failed' })
      expect(error).to.have.nested.property('faults[0].pointer', '/expiresAt')
    }
  })

  it('can be made to expire later', async () => {
    const { whole } = await createTenant(deps)
    const expiresAt = new Date(deps.ids.now().getTime() + 60_000)
    const { key } = await createAccessKey(deps, operator, whole, { ...read, expiresAt })
    expect(key.expiresAt).to.deep.equal(expiresAt)
  })

  const missing = [
    { what: 'no such organization', of: () => ({ organizationId: randomUUID(), workspaceId: null }) },
    { what: 'no such workspace', of: ({ part }: Tenant) => ({ ...part, workspaceId: randomUUID() }) },
    {
      what: 'a workspace of another organization',
      of: ({ part }: Tenant, other: Tenant) => ({ ...part, workspaceId: other.workspace.id }),
    },
  ]
  for (const { what, of } of missing) {
    it(`are neither made, listed nor revoked in ${what}`, async () => {
      const [tenant, other] = [await createTenant(deps), await createTenant(deps)]
      const { key } = await createAccessKey(deps, operator, other.part, read)
      const owner = of(tenant, other)
      expect(await rejection(createAccessKey(deps, operator, owner, read))).to.include({ code: 'not_found' })
      expect(await rejection(listAccessKeys(deps, owner, page))).to.include({ code: 'not_found' })
      expect(await rejection(revokeAccessKey(deps, owner, key.id))).to.include({ code: 'not_found' })
      expect((await listAccessKeys(deps, other.part, page)).results).to.deep.equal([key])
    })
  }

  it('of a workspace are not those of its organization', async () => {
    const { whole, part } = await createTenant(deps)
    const { key } = await createAccessKey(deps, operator, part, read)
    expect((await listAccessKeys(deps, whole, page)).results).to.deep.equal([])
    expect(await rejection(revokeAccessKey(deps, whole, key.id))).to.include({ code: 'not_found' })
  })

  it('are gone from the list once revoked, and cannot be revoked again', async () => {
    const { whole } = await createTenant(deps)
    const { key } = await createAccessKey(deps, operator, whole, read)
    await revokeAccessKey(deps, whole, key.id)
    expect((await listAccessKeys(deps, whole, page)).results).to.deep.equal([])
    expect(await rejection(revokeAccessKey(deps, whole, key.id))).to.include({
      code: 'not_found',
      message: 'No such access key.',
    })
  })
})
