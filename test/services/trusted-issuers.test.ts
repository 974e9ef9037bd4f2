import { expect } from 'chai'
import { exportJWK, generateKeyPair } from 'jose'
import { after, before, describe, it } from 'mocha'
import { generateKeyPairSync } from 'node:crypto'
import type { Caller, Scope } from '#src/domain/access.ts'
import type { Fault } from '#src/errors.ts'
import {
  createTrustedIssuer,
  jwksKeysMax,
  listTrustedIssuers,
  removeTrustedIssuer,
  type TrustedIssuerInput,
} from '#src/services/trusted-issuers.ts'
import { rejection } from '#test/support/rejection.ts'
import { audience, createIssuer, createTenant, createTestDeps, operator, type TestDeps } from './tenant.ts'

const page = { limit: 10 }
const scopes: Scope[] = ['events:publish']

describe('trusted issuers', () => {
  let deps: TestDeps
  before(async () => void (deps = await createTestDeps()))
  after(() => deps.close())

  async function inputWith(change: object): Promise<TrustedIssuerInput> {
    const issuer = await createIssuer()
    return { issuer: issuer.name, audience, jwks: issuer.jwks, algorithms: ['ES256'], scopes, ...change }
  }

  it('are trusted with keys given along, listed, and removed', async () => {
    const { part } = await createTenant(deps)
    const input = await inputWith({})
    const created = await createTrustedIssuer(deps, operator, part, input)
    expect(created).to.deep.include({ ...part, ...input, jwksUrl: null, scopeClaim: 'scope' })
    expect(await listTrustedIssuers(deps, part, page)).to.deep.equal({ results: [created] })

    await removeTrustedIssuer(deps, part, created.id)
    expect(await listTrustedIssuers(deps, part, page)).to.deep.equal({ results: [] })
    expect(await rejection(removeTrustedIssuer(deps, part, created.id))).to.include({
      code: 'not_found',
      message: 'No such trusted issuer.',
    })
  })

  it('are trusted with keys at a URL, which is kept normalised', async () => {
    const { whole } = await createTenant(deps)
    const input = await inputWith({ jwks: undefined, jwksUrl: 'https://Keys.Example.com:443/a/../jwks#x' })
    const created = await createTrustedIssuer(deps, operator, whole, input)
    expect(created).to.include({ jwksUrl: 'https://keys.example.com/jwks', jwks: null })
  })

  it('cannot be removed by another tenant', async () => {
    const [{ whole, part }, other] = [await createTenant(deps), await createTenant(deps)]
    const { id } = await createTrustedIssuer(deps, operator, whole, await inputWith({}))
    for (const owner of [part, other.whole, other.part]) {
      expect(await rejection(removeTrustedIssuer(deps, owner, id))).to.include({ code: 'not_found' })
    }
  })

  it('cannot be given scopes that their maker lacks', async () => {
    const { whole } = await createTenant(deps)
    const maker: Caller = {
      kind: 'key',
      organizationId: whole.organizationId,
      scopes: new Set(['keys:write']),
    }
    expect(await rejection(createTrustedIssuer(deps, maker, whole, await inputWith({})))).to.include({
      code: 'forbidden',
    })
  })

  const goodKeys = [
    { what: 'RSA of 2,048 bits', algorithm: 'RS256' },
    { what: 'RSA for PSS', algorithm: 'PS256' },
    { what: 'P-521', algorithm: 'ES512' },
    { what: 'Ed25519 by its old name', algorithm: 'EdDSA' },
    { what: 'Ed25519 by its new name', algorithm: 'Ed25519' },
  ]
  for (const { what, algorithm } of goodKeys) {
    it(`take a key of ${what}`, async () => {
      const { whole } = await createTenant(deps)
      const { jwks } = await createIssuer(algorithm)
      const created = await createTrustedIssuer(
        deps,
        operator,
        whole,
        await inputWith({ jwks, algorithms: [algorithm] }),
      )
      expect(created.algorithms).to.deep.equal([algorithm])
    })
  }

  const cases: { what: string; change: () => object | Promise<object>; pointer: string; detail: RegExp }[] = [
    {
      what: 'no algorithm',
      change: () => ({ algorithms: [] }),
      pointer: '/algorithms',
      detail: /at least one/,
    },
    {
      what: 'an algorithm with a shared secret',
      change: () => ({ algorithms: ['ES256', 'HS256'] }),
      pointer: '/algorithms/1',
      detail: /must be one of RS256/,
    },
    {
      what: 'the algorithm none',
      change: () => ({ algorithms: ['none', 'ES256'] }),
      pointer: '/algorithms/0',
      detail: /must be one of/,
    },
    { what: 'no keys at all', change: () => ({ jwks: undefined }), pointer: '', detail: /exactly one/ },
    {
      what: 'keys in two ways',
      change: () => ({ jwksUrl: 'https://keys.example.com/' }),
      pointer: '',
      detail: /exactly one/,
    },
    {
      what: 'a URL into the own network',
      change: () => ({ jwks: undefined, jwksUrl: 'https://10.0.0.1/jwks' }),
      pointer: '/jwksUrl',
      detail: /./,
    },
    {
      what: 'a URL that is no web address',
      change: () => ({ jwks: undefined, jwksUrl: 'file:///etc/passwd' }),
      pointer: '/jwksUrl',
      detail: /./,
    },
    {
      what: 'an empty key set',
      change: () => ({ jwks: { keys: [] } }),
      pointer: '/jwks/keys',
      detail: /1 to 20/,
    },
    {
      what: 'too many keys',
      change: async () => {
        const issuers = await Promise.all(Array.from({ length: jwksKeysMax + 1 }, () => createIssuer()))
        return { jwks: { keys: issuers.map(({ jwk }) => jwk) } }
      },
      pointer: '/jwks/keys',
      detail: /1 to 20/,
    },
    {
      what: 'a private key',
      change: async () => {
        const { privateKey } = await generateKeyPair('ES256', { extractable: true })
        return { jwks: { keys: [await exportJWK(privateKey)] } }
      },
      pointer: '/jwks/keys/0',
      detail: /secret parts \(d\)/,
    },
    {
      what: 'a shared secret',
      change: () => ({ jwks: { keys: [{ kty: 'oct', k: 'c2VjcmV0' }] } }),
      pointer: '/jwks/keys/0',
      detail: /secret parts \(k\)/,
    },
    {
      what: 'two keys of one kid',
      change: async () => {
        const [one, other] = [await createIssuer(), await createIssuer()]
        return { jwks: { keys: [one.jwk, { ...other.jwk, kid: one.kid }] } }
      },
      pointer: '/jwks/keys/1',
      detail: /a kid of its own/,
    },
    {
      what: 'two keys without a kid',
      change: async () => {
        const keys = [(await createIssuer()).jwk, (await createIssuer()).jwk]
        return { jwks: { keys: keys.map(({ kid, ...key }) => (kid === undefined ? key : key)) } }
      },
      pointer: '/jwks/keys/1',
      detail: /a kid of its own/,
    },
    {
      what: 'a key for another algorithm',
      change: async () => ({ jwks: (await createIssuer('RS256')).jwks }),
      pointer: '/jwks/keys/0',
      detail: /checks signatures by ES256/,
    },
    {
      what: 'a key for encryption',
      change: async () => ({ jwks: { keys: [{ ...(await createIssuer()).jwk, use: 'enc' }] } }),
      pointer: '/jwks/keys/0',
      detail: /checks signatures by ES256/,
    },
    {
      what: 'a point that is not on the curve',
      change: async () => ({ jwks: { keys: [{ ...(await createIssuer()).jwk, x: 'AAAA' }] } }),
      pointer: '/jwks/keys/0',
      detail: /checks signatures by ES256/,
    },
    {
      what: 'a short RSA key',
      change: async () => {
        const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1_024 })
        return { jwks: { keys: [publicKey.export({ format: 'jwk' })] }, algorithms: ['RS256'] }
      },
      pointer: '/jwks/keys/0',
      detail: /2048 bits/,
    },
    {
      what: 'what is not a key',
      change: () => ({ jwks: { keys: [{}] } }),
      pointer: '/jwks/keys/0',
      detail: /checks signatures by ES256/,
    },
  ]
  for (const { what, change, pointer, detail } of cases) {
    it(`are refused with ${what}`, async () => {
      const { whole } = await createTenant(deps)
      const input = await inputWith(await change())
      const error = (await rejection(createTrustedIssuer(deps, operator, whole, input))) as {
        code: string
        faults: Fault[]
      }
      expect(error.code).to.equal('validation_failed')
      expect(error.faults.map(fault => fault.pointer)).to.include(pointer)
      expect(error.faults.find(fault => fault.pointer === pointer)?.detail).to.match(detail)
      expect((await listTrustedIssuers(deps, whole, page)).results).to.deep.equal([])
    })
  }
})
