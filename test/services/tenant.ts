/**
 * What the tests of "who may call" share: deps with a clock that the test moves, a tenant of its own, and an issuer
 * that signs tokens.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, SignJWT, type JWK, type JWTHeaderParameters } from 'jose'
import type { Deps } from '#src/deps.ts'
import type { Caller } from '#src/domain/access.ts'
import { makeAddressRule } from '#src/domain/address.ts'
import type { Organization, Owner, Workspace } from '#src/domain/tenancy.ts'
import { createIdSource } from '#src/ids.ts'
import { createSender, type Sender } from '#src/sending/send.ts'
import { createOrganization } from '#src/services/organizations.ts'
import { createWorkspace } from '#src/services/workspaces.ts'
import { createDb } from '#src/store/db.ts'
import { testDatabase } from '#test/support/database.ts'

export const operatorKey = randomBytes(32).toString('hex')
export const operator: Caller = { kind: 'operator' }

export type TestDeps = Deps & {
  /** Moves the clock by so many milliseconds; back, if negative. */
  pass(ms: number): void
  /** What was logged, as `level message`. */
  logged: string[]
  /** How many statements have gone to the database. */
  queriesCount(): number
  /** The same service as another process runs it: the same database, a memory of its own. */
  otherProcess(): Deps
  close(): Promise<void>
}

/**
 * Deps with what these services use; the rest is not there. May send to 127.0.0.9, and gives up after `deadlineMs`
 * (default 2,000).
 */
export async function createTestDeps({
  deadlineMs = 2_000,
  database = testDatabase(),
} = {}): Promise<TestDeps> {
  const { url } = await database
  const db = createDb({ url, connectionsMax: 4, applicationName: 'tests', onError: () => {} })
  const addresses = makeAddressRule({ allowCidrs: ['127.0.0.9/32'], denyCidrs: [] })
  const sender = createSender({ addresses })
  const logged: string[] = []
  const logAt = (level: string) => (_: object, message: string) => void logged.push(`${level} ${message}`)
  let passedMs = 0
  let queriesCount = 0
  db.on('query', () => (queriesCount += 1))

  const deps = {
    config: { operatorKey },
    db,
    ids: createIdSource(() => Date.now() + passedMs),
    targetRules: { allowHttp: true, ownHosts: new Set<string>(), addresses },
    sender: withDeadline(sender, deadlineMs),
    log: { debug: logAt('debug'), info: logAt('info'), warn: logAt('warn'), error: logAt('error') },
    pass: (ms: number) => void (passedMs += ms),
    logged,
    queriesCount: () => queriesCount,
    otherProcess: () => ({ ...deps }) as unknown as Deps,
    close: async () => {
      await sender.close()
      await db.destroy()
    },
  }
  return deps as unknown as TestDeps
}

function withDeadline(sender: Sender, deadlineMs: number): Sender {
  return { ...sender, send: (request, options) => sender.send({ ...request, deadlineMs }, options) }
}

export type Tenant = {
  organization: Organization
  workspace: Workspace
  /** The organization as a whole. */
  whole: Owner
  /** Its workspace. */
  part: Owner
}

/** A new organization with one workspace. */
export async function createTenant(deps: Deps): Promise<Tenant> {
  const organization = await createOrganization(deps, { name: 'Acme' })
  const workspace = await createWorkspace(deps, organization.id, { name: 'production' })
  const whole = { organizationId: organization.id, workspaceId: null }
  return { organization, workspace, whole, part: { ...whole, workspaceId: workspace.id } }
}

/** Also what no honest issuer writes: a claim of a wrong type, or none. */
export type Claims = Record<string, unknown>

export type Issuer = {
  /** A name that no other issuer of the run has. */
  name: string
  kid: string
  jwk: JWK
  jwks: { keys: Record<string, unknown>[] }
  /** Signs good claims, with these over them; `undefined` leaves one out. */
  sign(claims?: Claims, header?: Partial<JWTHeaderParameters>): Promise<string>
}

export const audience = 'https://hookseal.example'

/** An issuer with one new key, whose tokens are good for five minutes from now. */
export async function createIssuer(
  algorithm = 'ES256',
  name = `https://issuer.example/${randomUUID()}`,
): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm)
  const kid = randomUUID()
  const jwk = { ...(await exportJWK(publicKey)), kid }
  return {
    name,
    kid,
    jwk,
    jwks: { keys: [jwk] },
    sign(claims = {}, header = {}) {
      const nowSeconds = Math.floor(Date.now() / 1_000)
      const good = { iss: name, aud: audience, sub: 'billing', jti: randomUUID(), exp: nowSeconds + 300 }
      const payload = { ...good, scope: 'events:publish', ...claims }
      return new SignJWT(payload).setProtectedHeader({ alg: algorithm, kid, ...header }).sign(privateKey)
    },
  }
}
