import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import type { Scope } from '#src/domain/access.ts'
import { AppError } from '#src/errors.ts'
import { createAccessKey, revokeAccessKey } from '#src/services/access-keys.ts'
import { authenticate, authorizationCharactersMax } from '#src/services/authenticate.ts'
import { removeOrganization } from '#src/services/organizations.ts'
import { removeWorkspace } from '#src/services/workspaces.ts'
import { rejection } from '#test/support/rejection.ts'
import { createTenant, createTestDeps, operator, operatorKey, type TestDeps } from './tenant.ts'

const messageOf401 =
  'Give a valid access key as `Authorization: AccessKey …`, or a token of a trusted issuer as `Authorization: Bearer …`.'

describe('authenticating', () => {
  let deps: TestDeps
  before(async () => void (deps = await createTestDeps()))
  after(() => deps.close())

  const publish = { name: 'ci', scopes: ['events:publish'] satisfies Scope[] }

  async function expect401(authorization: string | undefined) {
    const error = await rejection(authenticate(deps, authorization))
    expect(error).to.be.instanceOf(AppError)
    expect(error).to.include({ code: 'unauthorized', message: messageOf401 })
  }

  it('takes the operator key for the operator, its scheme in any case', async () => {
    for (const scheme of ['AccessKey', 'accesskey', 'ACCESSKEY']) {
      expect(await authenticate(deps, `${scheme} ${operatorKey}`)).to.deep.equal({ kind: 'operator' })
    }
  })

  it('knows no operator where none is set', async () => {
    const unset = { ...deps, config: { ...deps.config, operatorKey: undefined } }
    expect(await rejection(authenticate(unset, `AccessKey ${operatorKey}`))).to.include({
      code: 'unauthorized',
    })
    expect(await rejection(authenticate(unset, 'AccessKey undefined'))).to.include({ code: 'unauthorized' })
  })

  for (const scheme of ['AccessKey', 'Bearer', 'bearer', 'aCCESSkEY']) {
    it(`takes a key of an organization as ${scheme}`, async () => {
      const { organization, whole } = await createTenant(deps)
      const { secret } = await createAccessKey(deps, operator, whole, publish)
      expect(await authenticate(deps, `${scheme} ${secret}`)).to.deep.equal({
        kind: 'key',
        organizationId: organization.id,
        scopes: new Set(['events:publish']),
      })
    })
  }

  it('confines a key of a workspace to it', async () => {
    const { workspace, part } = await createTenant(deps)
    const { secret } = await createAccessKey(deps, operator, part, publish)
    expect(await authenticate(deps, `AccessKey ${secret}`)).to.include({ workspaceId: workspace.id })
  })

  it('gives no scope that is not known any more', async () => {
    const { whole } = await createTenant(deps)
    const { key, secret } = await createAccessKey(deps, operator, whole, publish)
    await deps
      .db('access_keys')
      .where({ id: key.id })
      .update({ scopes: ['events:publish', 'events:smell'] })
    const caller = await authenticate(deps, `AccessKey ${secret}`)
    expect(caller).to.have.deep.property('scopes', new Set(['events:publish']))
  })

  const wrongForms: { what: string; of: (secret: string) => string | undefined }[] = [
    { what: 'nothing', of: () => undefined },
    { what: 'an empty text', of: () => '' },
    { what: 'a key without a scheme', of: secret => secret },
    { what: 'a scheme without a key', of: () => 'AccessKey' },
    { what: 'a scheme with a blank', of: () => 'AccessKey ' },
    { what: 'another scheme', of: secret => `Token ${secret}` },
    { what: 'Basic', of: secret => `Basic ${Buffer.from(`${secret}:`).toString('base64')}` },
    { what: 'a scheme with something behind', of: secret => `AccessKeys ${secret}` },
    { what: 'a tab between', of: secret => `AccessKey\t${secret}` },
    { what: 'a blank in front', of: secret => ` AccessKey ${secret}` },
    { what: 'a blank behind', of: secret => `AccessKey ${secret} ` },
    { what: 'a newline behind', of: secret => `AccessKey ${secret}\n` },
    { what: 'a second key behind', of: secret => `AccessKey ${secret} ${secret}` },
    { what: 'quotes', of: secret => `AccessKey "${secret}"` },
    { what: 'the key in other case', of: secret => `AccessKey ${secret.toUpperCase()}` },
    { what: 'a part of the key', of: secret => `AccessKey ${secret.slice(0, -1)}` },
    { what: 'padding', of: secret => `AccessKey ${secret}=` },
    { what: 'another key of the same look', of: secret => `AccessKey ak_${'A'.repeat(secret.length - 3)}` },
    { what: 'a part of the operator key', of: () => `AccessKey ${operatorKey.slice(1)}` },
    { what: 'letters beyond ASCII', of: () => 'AccessKey ключ' },
    { what: 'too much', of: () => `AccessKey ${'a'.repeat(authorizationCharactersMax)}` },
    { what: 'a token in the place of a key', of: () => 'AccessKey e30.e30.AA' },
  ]
  for (const { what, of } of wrongForms) {
    it(`refuses ${what}`, async () => {
      const { whole } = await createTenant(deps)
      const { secret } = await createAccessKey(deps, operator, whole, publish)
      await authenticate(deps, `AccessKey ${secret}`)
      await expect401(of(secret))
    })
  }

  it('does not ask the database about what does not look like a key', async () => {
    const before = deps.queriesCount()
    await expect401('AccessKey ak_short')
    await expect401(`Bearer ${'x'.repeat(46)}`)
    expect(deps.queriesCount()).to.equal(before)
  })

  it('asks the database once for a key that is used often', async () => {
    const { whole } = await createTenant(deps)
    const { secret } = await createAccessKey(deps, operator, whole, publish)
    const before = deps.queriesCount()
    await Promise.all(Array.from({ length: 50 }, () => authenticate(deps, `AccessKey ${secret}`)))
    await authenticate(deps, `Bearer ${secret}`)
    expect(deps.queriesCount() - before).to.equal(1)
  })

  it('finds a new key at once, also where it was asked for before it was made', async () => {
    const { whole } = await createTenant(deps)
    const { key, secret } = await createAccessKey(deps, operator, whole, publish)
    await deps.db('access_keys').where({ id: key.id }).update({ revoked_at: deps.db.fn.now() })
    await expect401(`AccessKey ${secret}`)
    await deps.db('access_keys').where({ id: key.id }).update({ revoked_at: null })
    expect(await authenticate(deps, `AccessKey ${secret}`)).to.include({ kind: 'key' })
  })

  it('refuses a key from the moment it expires, although it was good just now', async () => {
    const { whole } = await createTenant(deps)
    const expiresAt = new Date(deps.ids.now().getTime() + 1_000)
    const { secret } = await createAccessKey(deps, operator, whole, { ...publish, expiresAt })
    expect(await authenticate(deps, `AccessKey ${secret}`)).to.include({ kind: 'key' })
    deps.pass(1_000)
    await expect401(`AccessKey ${secret}`)
  })

  it('refuses a key that had expired before this process saw it', async () => {
    const { whole } = await createTenant(deps)
    const { key, secret } = await createAccessKey(deps, operator, whole, publish)
    await deps
      .db('access_keys')
      .where({ id: key.id })
      .update({ expires_at: new Date(0) })
    await expect401(`AccessKey ${secret}`)
  })

  const endings = [
    {
      what: 'it is revoked',
      end: (tenant: Tenant, keyId: string) => revokeAccessKey(deps, tenant.part, keyId),
    },
    {
      what: 'its workspace is removed',
      end: (tenant: Tenant) => removeWorkspace(deps, tenant.organization.id, tenant.workspace.id),
    },
    {
      what: 'its organization is removed',
      end: (tenant: Tenant) => removeOrganization(deps, tenant.organization.id),
    },
  ]
  type Tenant = Awaited<ReturnType<typeof createTenant>>
  for (const { what, end } of endings) {
    it(`refuses a key once ${what}: in new processes at once, in one that has just seen it 2 seconds later`, async () => {
      const tenant = await createTenant(deps)
      const { key, secret } = await createAccessKey(deps, operator, tenant.part, publish)
      await authenticate(deps, `AccessKey ${secret}`)

      await end(tenant, key.id)
      const fresh = await rejection(authenticate(deps.otherProcess(), `AccessKey ${secret}`))
      expect(fresh).to.include({ code: 'unauthorized' })
      deps.pass(2_000)
      await expect401(`AccessKey ${secret}`)
    })
  }

  it('does not keep a revoked key for longer when the clock is set back', async () => {
    const { whole } = await createTenant(deps)
    const { key, secret } = await createAccessKey(deps, operator, whole, publish)
    await authenticate(deps, `AccessKey ${secret}`)
    await revokeAccessKey(deps, whole, key.id)
    deps.pass(-3_600_000)
    await expect401(`AccessKey ${secret}`)
    deps.pass(3_600_000)
  })

  it('says so when the database fails, instead of refusing the key', async () => {
    const { whole } = await createTenant(deps)
    const { secret } = await createAccessKey(deps, operator, whole, publish)
    const broken = {
      ...deps,
      db: Object.assign(() => {}, { raw: () => Promise.reject(new Error('no database')) }),
    }
    const error = await rejection(authenticate(broken as unknown as TestDeps, `AccessKey ${secret}`))
    expect(error).to.have.property('message', 'no database')
  })
})
