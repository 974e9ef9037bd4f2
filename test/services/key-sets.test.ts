import { expect } from 'chai'
import { describe, it } from 'mocha'
import type { Socket } from 'node:net'
import { authenticate } from '#src/services/authenticate.ts'
import { createTrustedIssuer } from '#src/services/trusted-issuers.ts'
import { rejection } from '#test/support/rejection.ts'
import { httpResponse, startRawReceiver, type RawReceiver, type RawRequest } from '../sending/raw-receiver.ts'
import {
  audience,
  createIssuer,
  createTenant,
  createTestDeps,
  operator,
  type Issuer,
  type TestDeps,
} from './tenant.ts'

type Scene = { deps: TestDeps; server: RawReceiver; issuer: Issuer }

/** An issuer whose key set is at a URL of our own, and a tenant that trusts it. */
async function inScene(
  answer: (socket: Socket, request: RawRequest, issuer: Issuer) => void,
  play: (scene: Scene) => Promise<void>,
) {
  const issuer = await createIssuer()
  await using server = await startRawReceiver((socket, request) => answer(socket, request, issuer))
  const deps = await createTestDeps({ deadlineMs: 500 })
  try {
    const { whole } = await createTenant(deps)
    await createTrustedIssuer(deps, operator, whole, {
      issuer: issuer.name,
      audience,
      jwksUrl: `${server.origin}/jwks.json`,
      algorithms: ['ES256'],
      scopes: ['events:publish'],
    })
    await play({ deps, server, issuer })
  } finally {
    await deps.close()
  }
}

const answerKeySet = (socket: Socket, _: RawRequest, issuer: Issuer) =>
  void socket.write(httpResponse(200, JSON.stringify(issuer.jwks)))

async function isLetIn(deps: TestDeps, token: string): Promise<boolean> {
  try {
    await authenticate(deps, `Bearer ${token}`)
    return true
  } catch (error) {
    expect(error).to.include({ code: 'unauthorized' })
    return false
  }
}

describe('key sets at a URL', () => {
  it('are fetched once for many tokens at the same time', async () => {
    await inScene(answerKeySet, async ({ deps, server, issuer }) => {
      const tokens = await Promise.all(Array.from({ length: 20 }, () => issuer.sign()))
      const results = await Promise.all(tokens.map(token => isLetIn(deps, token)))
      expect(results).to.not.include(false)
      expect(server.requests).to.have.length(1)
      expect(server.requests[0]?.head).to.match(/^GET \/jwks\.json HTTP/)
    })
  })

  it('are kept for 5 minutes', async () => {
    await inScene(answerKeySet, async ({ deps, server, issuer }) => {
      const exp = Math.floor(Date.now() / 1_000) + 3_600
      expect(await isLetIn(deps, await issuer.sign({ exp }))).to.equal(true)
      deps.pass(299_000)
      expect(await isLetIn(deps, await issuer.sign({ exp }))).to.equal(true)
      expect(server.requests).to.have.length(1)
      deps.pass(1_000)
      expect(await isLetIn(deps, await issuer.sign({ exp }))).to.equal(true)
      expect(server.requests).to.have.length(2)
    })
  })

  it('are fetched anew for a key that is not in them, at most every 30 seconds', async () => {
    await inScene(answerKeySet, async ({ deps, server, issuer }) => {
      expect(await isLetIn(deps, await issuer.sign())).to.equal(true)
      const next = await createIssuer('ES256', issuer.name)
      expect(await isLetIn(deps, await next.sign())).to.equal(false)
      expect(server.requests).to.have.length(1)

      deps.pass(30_000)
      issuer.jwks.keys.push(next.jwk)
      const tokens = await Promise.all(Array.from({ length: 20 }, () => next.sign()))
      const results = await Promise.all(tokens.map(token => isLetIn(deps, token)))
      expect(results).to.not.include(false)
      expect(server.requests).to.have.length(2)
    })
  })

  it('stay good while tokens with unknown keys cause fetches that fail', async () => {
    const answer = (socket: Socket, request: RawRequest, issuer: Issuer) =>
      request.number === 1 ? answerKeySet(socket, request, issuer) : void socket.write(httpResponse(500))
    await inScene(answer, async ({ deps, server, issuer }) => {
      expect(await isLetIn(deps, await issuer.sign())).to.equal(true)
      deps.pass(30_000)
      expect(await isLetIn(deps, await issuer.sign({}, { kid: 'unknown' }))).to.equal(false)
      expect(server.requests).to.have.length(2)
      expect(await isLetIn(deps, await issuer.sign())).to.equal(true)
    })
  })

  const failures: { what: string; answer: (socket: Socket) => void }[] = [
    {
      what: 'redirects',
      answer: socket =>
        void socket.write(httpResponse(302, '', { location: 'http://127.0.0.9:9/jwks.json' })),
    },
    { what: 'hangs', answer: () => {} },
    { what: 'breaks off', answer: socket => void socket.destroy() },
    { what: 'answers 500', answer: socket => void socket.write(httpResponse(500, '{"keys":[]}')) },
    {
      what: 'answers with 1 MB',
      answer: socket => void socket.write(httpResponse(200, `"${'x'.repeat(1_048_576)}"`)),
    },
    { what: 'answers with no JSON', answer: socket => void socket.write(httpResponse(200, '<html>')) },
    {
      what: 'answers with no key set',
      answer: socket => void socket.write(httpResponse(200, '{"keys":{}}')),
    },
  ]
  for (const { what, answer } of failures) {
    it(`let nobody in when their server ${what}, and leave it alone for 10 seconds`, async () => {
      let isBroken = true
      const answerBy = (socket: Socket, request: RawRequest, issuer: Issuer) =>
        isBroken ? answer(socket) : answerKeySet(socket, request, issuer)
      await inScene(answerBy, async ({ deps, server, issuer }) => {
        expect(await isLetIn(deps, await issuer.sign())).to.equal(false)
        expect(deps.logged).to.include('warn key_set.unavailable')
        const { length } = server.requests

        isBroken = false
        deps.pass(9_000)
        expect(await isLetIn(deps, await issuer.sign())).to.equal(false)
        expect(server.requests).to.have.length(length)
        deps.pass(1_000)
        expect(await isLetIn(deps, await issuer.sign())).to.equal(true)
      })
    })
  }

  it('with keys of other kinds let in by the one that serves', async () => {
    await inScene(answerKeySet, async ({ deps, issuer }) => {
      issuer.jwks.keys.unshift(
        { kty: 'oct', k: 'c2VjcmV0', kid: 'shared' },
        { kty: 'what' },
        { kid: 7, kty: 'EC' },
      )
      expect(await isLetIn(deps, await issuer.sign())).to.equal(true)
    })
  })

  it('are not fetched where the rules have become stricter since', async () => {
    await inScene(answerKeySet, async ({ deps, server, issuer }) => {
      deps.targetRules.allowHttp = false
      expect(await isLetIn(deps, await issuer.sign())).to.equal(false)
      expect(server.requests).to.have.length(0)
    })
  })

  it('are not fetched for a token whose issuer nobody trusts, whatever it names', async () => {
    await inScene(answerKeySet, async ({ deps, server }) => {
      const stranger = await createIssuer()
      const token = await stranger.sign({}, { jku: `${server.origin}/jwks.json`, x5u: server.origin })
      expect(await rejection(authenticate(deps, `Bearer ${token}`))).to.include({ code: 'unauthorized' })
      expect(server.requests).to.have.length(0)
    })
  })
})
