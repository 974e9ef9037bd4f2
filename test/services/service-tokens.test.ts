import { expect } from 'chai'
import { exportSPKI, importJWK, SignJWT, type CryptoKey } from 'jose'
import { after, before, describe, it } from 'mocha'
import { randomUUID } from 'node:crypto'
import type { Scope } from '#src/domain/access.ts'
import { authenticate } from '#src/services/authenticate.ts'
import { removeOrganization } from '#src/services/organizations.ts'
import { createTrustedIssuer, removeTrustedIssuer } from '#src/services/trusted-issuers.ts'
import { removeWorkspace } from '#src/services/workspaces.ts'
import { rejection } from '#test/support/rejection.ts'
import {
  audience,
  createIssuer,
  createTenant,
  createTestDeps,
  operator,
  type Claims,
  type Issuer,
  type Tenant,
  type TestDeps,
} from './tenant.ts'

const granted: Scope[] = ['events:publish', 'events:read']

describe('authenticating by a token', () => {
  let deps: TestDeps
  before(async () => void (deps = await createTestDeps()))
  after(() => deps.close())

  /** Of what the tests trust, this is the usual: ES256 with the key given along. */
  function trust(owner: Tenant['whole'], issuer: Issuer, change = {}) {
    const input = { issuer: issuer.name, audience, jwks: issuer.jwks, algorithms: ['ES256'], scopes: granted }
    return createTrustedIssuer(deps, operator, owner, { ...input, ...change })
  }

  async function trustedByTenant() {
    const [tenant, issuer] = [await createTenant(deps), await createIssuer()]
    const row = await trust(tenant.whole, issuer)
    return { tenant, issuer, row }
  }

  async function expect401(token: string) {
    expect(await rejection(authenticate(deps, `Bearer ${token}`))).to.include({ code: 'unauthorized' })
  }

  it('takes a good token for a service of the organization that trusts its issuer', async () => {
    const { tenant, issuer } = await trustedByTenant()
    expect(await authenticate(deps, `bearer ${await issuer.sign()}`)).to.deep.equal({
      kind: 'service',
      organizationId: tenant.organization.id,
      scopes: new Set(['events:publish']),
    })
  })

  it('confines it to the workspace that trusts its issuer', async () => {
    const [tenant, issuer] = [await createTenant(deps), await createIssuer()]
    await trust(tenant.part, issuer)
    const caller = await authenticate(deps, `Bearer ${await issuer.sign()}`)
    expect(caller).to.include({ workspaceId: tenant.workspace.id })
  })

  for (const algorithm of ['RS256', 'PS512', 'ES384', 'EdDSA', 'Ed25519']) {
    it(`checks signatures by ${algorithm}`, async () => {
      const [{ whole }, issuer] = [await createTenant(deps), await createIssuer(algorithm)]
      await trust(whole, issuer, { algorithms: [algorithm] })
      expect(await authenticate(deps, `Bearer ${await issuer.sign()}`)).to.include({ kind: 'service' })
    })
  }

  const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds

  const goodClaims: { what: string; claims: Claims }[] = [
    { what: 'an audience in a list', claims: { aud: ['https://else.example', audience] } },
    { what: 'an expiry 3 seconds ago, since clocks differ', claims: { exp: inSeconds(-3) } },
    { what: 'a start in 3 seconds', claims: { nbf: inSeconds(3) } },
  ]
  for (const { what, claims } of goodClaims) {
    it(`takes a token with ${what}`, async () => {
      const { issuer } = await trustedByTenant()
      expect(await authenticate(deps, `Bearer ${await issuer.sign(claims)}`)).to.include({ kind: 'service' })
    })
  }

  const badClaims: { what: string; claims: Claims }[] = [
    { what: 'without an expiry', claims: { exp: undefined } },
    { what: 'without a subject', claims: { sub: undefined } },
    { what: 'without an id', claims: { jti: undefined } },
    { what: 'without an audience', claims: { aud: undefined } },
    { what: 'with an empty subject', claims: { sub: '' } },
    { what: 'with an empty id', claims: { jti: '' } },
    { what: 'with an id that is a number', claims: { jti: 1 } },
    { what: 'with an expiry that is a text', claims: { exp: '9999999999' } },
    { what: 'for another audience', claims: { aud: 'https://else.example' } },
    { what: 'for an audience that begins like ours', claims: { aud: `${audience}.evil.example` } },
    { what: 'that has expired', claims: { exp: inSeconds(-10) } },
    { what: 'that is not valid yet', claims: { nbf: inSeconds(60) } },
    { what: 'without an issuer', claims: { iss: undefined } },
    { what: 'of an issuer that nobody trusts', claims: { iss: 'https://issuer.example/unknown' } },
    { what: 'of an issuer that is no text', claims: { iss: 1 } },
    {
      what: 'of an issuer that the database could not store',
      claims: { iss: 'https://issuer.example/\u0000' },
    },
    {
      what: 'of an issuer with a name without end',
      claims: { iss: `https://issuer.example/${'x'.repeat(3_000)}` },
    },
  ]
  for (const { what, claims } of badClaims) {
    it(`refuses a token ${what}`, async () => {
      const { issuer } = await trustedByTenant()
      await expect401(await issuer.sign(claims))
    })
  }

  it('refuses a token that names an unknown key', async () => {
    const { issuer } = await trustedByTenant()
    await expect401(await issuer.sign({}, { kid: 'unknown' }))
  })

  /** A token with any header over the signature of a good one. */
  async function forge(issuer: Issuer, header: object): Promise<string> {
    const [, payload, signature] = (await issuer.sign()).split('.')
    return `${encode({ kid: issuer.kid, ...header })}.${payload}.${signature}`
  }

  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

  it('refuses a token without a signature (alg none)', async () => {
    const { issuer } = await trustedByTenant()
    const [, payload] = (await issuer.sign()).split('.')
    await expect401(`${encode({ alg: 'none' })}.${payload}.`)
    await expect401(await forge(issuer, { alg: 'none' }))
  })

  it('refuses a token whose secret is the public key (HS256)', async () => {
    const [{ whole }, issuer] = [await createTenant(deps), await createIssuer('RS256')]
    await trust(whole, issuer, { algorithms: ['RS256'] })
    const publicKey = (await importJWK(issuer.jwk, 'RS256')) as CryptoKey
    const claims = {
      iss: issuer.name,
      aud: audience,
      sub: 'x',
      jti: 'x',
      exp: inSeconds(60),
      scope: 'events:publish',
    }
    for (const secret of [await exportSPKI(publicKey), JSON.stringify(issuer.jwk)]) {
      const token = new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: issuer.kid })
      await expect401(await token.sign(Buffer.from(secret)))
    }
  })

  it('refuses a good signature by an algorithm that the trust does not name', async () => {
    const [{ whole }, issuer] = [await createTenant(deps), await createIssuer('RS256')]
    await trust(whole, issuer, { algorithms: ['PS256'] })
    await expect401(await issuer.sign())
  })

  it("refuses a token signed by another's key that brings that key along", async () => {
    const { issuer } = await trustedByTenant()
    const thief = await createIssuer('ES256', issuer.name)
    await expect401(await thief.sign({}, { jwk: thief.jwk }))
    await expect401(await thief.sign({}, { kid: issuer.kid, jwk: thief.jwk, jku: 'http://127.0.0.9/jwks' }))
  })

  it('refuses a token whose claims were changed', async () => {
    const { issuer } = await trustedByTenant()
    const [header, payload, signature] = (await issuer.sign()).split('.')
    const claims = JSON.parse(Buffer.from(payload!, 'base64url').toString()) as object
    await expect401(`${header}.${encode({ ...claims, scope: 'events:publish events:read' })}.${signature}`)
  })

  const spellings: { what: string; of: (token: string) => string }[] = [
    { what: 'padding', of: token => `${token}=` },
    { what: 'more padding', of: token => `${token}==` },
    { what: 'padding in the middle', of: token => token.replace('.', '=.') },
    { what: 'a blank', of: token => `${token} ` },
    { what: 'a newline', of: token => `${token}\n` },
    { what: 'a tab in the middle', of: token => token.replace('.', '\t.') },
    { what: 'a null byte', of: token => `${token}\u0000` },
    // 64 bytes are 86 characters, the last of which has 4 bits that say nothing.
    { what: 'stray last bits', of: token => token.slice(0, -1) + nextInAlphabet(token.at(-1)!) },
    {
      what: 'the other alphabet',
      of: token => token.replaceAll('-', '+').replaceAll('_', '/').replace('.', '/.'),
    },
    { what: 'a fourth part', of: token => `${token}.AA` },
    { what: 'an empty part in front', of: token => `.${token}` },
    { what: 'a missing part', of: token => token.slice(0, token.lastIndexOf('.')) },
  ]
  for (const { what, of } of spellings) {
    it(`refuses a good token that is spelled with ${what}`, async () => {
      const { issuer } = await trustedByTenant()
      const token = await issuer.sign()
      await authenticate(deps, `Bearer ${token}`)
      await expect401(of(token))
    })
  }

  function nextInAlphabet(character: string): string {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    return alphabet[alphabet.indexOf(character) + 1]!
  }

  const scopeCases: { what: string; claims: Claims; scopeClaim?: string; scopes: Scope[] }[] = [
    {
      what: 'no more than its issuer may',
      claims: { scope: 'events:publish keys:write' },
      scopes: ['events:publish'],
    },
    { what: 'no more than it asks for', claims: { scope: 'events:read' }, scopes: ['events:read'] },
    { what: 'what a list names', claims: { scope: ['events:read', 'events:publish', 7] }, scopes: granted },
    { what: 'nothing by scopes that do not exist', claims: { scope: 'admin events:*' }, scopes: [] },
    { what: 'nothing without the claim', claims: { scope: undefined }, scopes: [] },
    { what: 'nothing by a claim of another kind', claims: { scope: { 'events:read': true } }, scopes: [] },
    {
      what: 'what the claim of its issuer names',
      claims: { scp: ['events:read'] },
      scopeClaim: 'scp',
      scopes: ['events:read'],
    },
    { what: 'nothing by a claim that every object has', claims: {}, scopeClaim: 'constructor', scopes: [] },
  ]
  for (const { what, claims, scopeClaim, scopes } of scopeCases) {
    it(`allows a token ${what}`, async () => {
      const [{ whole }, issuer] = [await createTenant(deps), await createIssuer()]
      await trust(whole, issuer, { scopeClaim })
      const caller = await authenticate(deps, `Bearer ${await issuer.sign(claims)}`)
      expect(caller).to.have.deep.property('scopes', new Set(scopes))
    })
  }

  const endings = [
    {
      what: 'its trust is removed',
      end: ({ part }: Tenant, id: string) => removeTrustedIssuer(deps, part, id),
    },
    {
      what: 'the workspace is removed',
      end: ({ organization, workspace }: Tenant) => removeWorkspace(deps, organization.id, workspace.id),
    },
    {
      what: 'the organization is removed',
      end: ({ organization }: Tenant) => removeOrganization(deps, organization.id),
    },
  ]
  for (const { what, end } of endings) {
    it(`refuses a token once ${what}, where it was just seen 2 seconds later`, async () => {
      const [tenant, issuer] = [await createTenant(deps), await createIssuer()]
      const { id } = await trust(tenant.part, issuer)
      const token = await issuer.sign()
      await authenticate(deps, `Bearer ${token}`)
      await end(tenant, id)
      deps.pass(2_000)
      await expect401(token)
    })
  }

  describe('of an issuer that several tenants trust', () => {
    it('goes by the audience', async () => {
      const [one, other, issuer] = [await createTenant(deps), await createTenant(deps), await createIssuer()]
      await trust(one.whole, issuer, { audience: 'one' })
      await trust(other.whole, issuer, { audience: 'other' })
      const caller = await authenticate(deps, `Bearer ${await issuer.sign({ aud: 'other' })}`)
      expect(caller).to.include({ organizationId: other.organization.id })
    })

    it('goes by the organization that the request names, whoever trusted first', async () => {
      const [one, other, issuer] = [await createTenant(deps), await createTenant(deps), await createIssuer()]
      await trust(one.whole, issuer)
      await trust(other.whole, issuer)
      const authorization = `Bearer ${await issuer.sign()}`
      for (const { organization } of [one, other]) {
        const caller = await authenticate(deps, authorization, { organizationId: organization.id })
        expect(caller).to.include({ organizationId: organization.id })
      }
    })

    it('goes by the workspace that the request names, also without its organization', async () => {
      const [one, other, issuer] = [await createTenant(deps), await createTenant(deps), await createIssuer()]
      await trust(one.whole, issuer)
      await trust(other.whole, issuer)
      const caller = await authenticate(deps, `Bearer ${await issuer.sign()}`, {
        workspaceId: other.workspace.id,
      })
      expect(caller).to.include({ organizationId: other.organization.id })
    })

    it("puts a workspace's own trust before that of its organization", async () => {
      const [tenant, issuer] = [await createTenant(deps), await createIssuer()]
      await trust(tenant.whole, issuer, { scopes: ['events:read'] })
      await trust(tenant.part, issuer)
      const target = { organizationId: tenant.organization.id, workspaceId: tenant.workspace.id }
      const caller = await authenticate(deps, `Bearer ${await issuer.sign()}`, target)
      expect(caller).to.include({ workspaceId: tenant.workspace.id })
    })

    it('gives the caller of elsewhere where the request names a tenant that does not trust it', async () => {
      const { tenant, issuer } = await trustedByTenant()
      const foreign = await createTenant(deps)
      const authorization = `Bearer ${await issuer.sign()}`
      const targets = [
        { organizationId: foreign.organization.id },
        { workspaceId: foreign.workspace.id },
        { organizationId: randomUUID() },
        { organizationId: 'no uuid', workspaceId: "'" },
      ]
      for (const target of targets) {
        const caller = await authenticate(deps, authorization, target)
        expect(caller).to.include({ organizationId: tenant.organization.id })
      }
    })

    it('refuses what holds for several where the request names none of them, and says so in the log', async () => {
      const [one, other, issuer] = [await createTenant(deps), await createTenant(deps), await createIssuer()]
      await trust(one.whole, issuer)
      await trust(other.whole, issuer)
      deps.logged.length = 0
      await expect401(await issuer.sign())
      expect(deps.logged).to.include('warn token.ambiguous')
    })

    it('is not stopped by a hundred trusts of another tenant that came before', async () => {
      const [one, squatter, issuer] = [
        await createTenant(deps),
        await createTenant(deps),
        await createIssuer(),
      ]
      for (let count = 0; count < 100; count++) await trust(squatter.whole, issuer)
      await trust(one.whole, issuer)
      const target = { organizationId: one.organization.id }
      const caller = await authenticate(deps, `Bearer ${await issuer.sign()}`, target)
      expect(caller).to.include({ organizationId: one.organization.id })
    })
  })
})
