/**
 * Who calls with a signed token (JWT, RFC 7519; checked as RFC 8725 advises) of an issuer that a tenant trusts. The keys
 * come from what the tenant has stored, never from the token: its `jku`, `x5u`, `jwk` and `x5c` are not looked at.
 */
import { createLocalJWKSet, decodeJwt, errors, jwtVerify, type JWTPayload } from 'jose'
import type { Deps } from '../deps.ts'
import { isScope, type Caller, type Scope } from '../domain/access.ts'
import type { TrustedIssuer } from '../domain/tenancy.ts'
import { isUuid } from '../ids.ts'
import * as trustedIssuers from '../store/trusted-issuers.ts'
import { createCache, perDeps } from './cache.ts'
import { createKeySets, type KeySet } from './key-sets.ts'
import { findKnownWorkspace } from './workspaces.ts'

/** The tenant that a request names in its path, if it does: ids as they stand there, not yet looked up. */
export type Target = { organizationId?: string | undefined; workspaceId?: string | undefined }

/**
 * The caller that a token stands for, or undefined. Nobody owns an issuer's name here, so several organizations may
 * trust the same one for the same audience. What counts then is what the request names: first the trust that the
 * workspace gave, then the organization's, the oldest of equals. No other organization's trust is looked at while one
 * of these holds, so no tenant can stand in the way of another's tokens.
 *
 * A token that only holds elsewhere gives the caller there, who gets the 404 of a foreign id; if it holds for several
 * organizations, it is refused.
 */
export async function findTokenCaller(
  deps: Deps,
  token: string,
  target: Target,
): Promise<Caller | undefined> {
  const issuer = readIssuer(token)
  if (issuer === undefined) return undefined
  const organizationId = await findOrganizationId(deps, target)
  const trusts = await listTrusts(deps, issuer, organizationId)

  const [named, others] = partition(trusts, ({ row }) => isNamed(row, organizationId, target.workspaceId))
  const callers = await verifyAll(deps, named, token)
  if (callers.length > 0) return callers.find(caller => caller.workspaceId !== undefined) ?? callers[0]

  const foreign = await verifyAll(deps, others, token)
  if (new Set(foreign.map(caller => caller.organizationId)).size > 1) {
    deps.log.warn({ issuer, trustsCount: foreign.length }, 'token.ambiguous')
    return undefined
  }
  return foreign[0]
}

type TokenCaller = Extract<Caller, { kind: 'key' | 'service' }>

/** A trust with its keys made ready, where the tenant has given them. */
type Trust = { row: TrustedIssuer; keySet: KeySet | undefined }

const trustsByIssuer = perDeps(() => createCache<Trust[]>({ ttlMs: 2_000, entriesMax: 1_000 }))
const keySetsOf = perDeps(createKeySets)

const issuerCharactersMax = 2_048

/** The issuer a token says it is from. Nothing of the token has been verified at this point. */
function readIssuer(token: string): string | undefined {
  if (!isCanonical(token)) return undefined
  try {
    const { iss } = decodeJwt(token)
    const isPlain = typeof iss === 'string' && iss.length <= issuerCharactersMax && !/\p{Cc}/u.test(iss)
    return isPlain ? iss : undefined
  } catch {
    // Not a JWT; anyone may send anything.
    return undefined
  }
}

/**
 * Three parts in base64url, spelled as an encoder spells them (RFC 4648 section 3.5). Decoders also take padding,
 * blanks and stray last bits, so the same token could be written in many ways, and lists of refused tokens evaded.
 */
function isCanonical(token: string): boolean {
  const parts = token.split('.')
  return (
    parts.length === 3 &&
    parts.every(part => part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part)
  )
}

async function findOrganizationId(deps: Deps, target: Target): Promise<string | undefined> {
  const { organizationId, workspaceId } = target
  if (organizationId !== undefined) return isUuid(organizationId) ? organizationId : undefined
  if (workspaceId === undefined || !isUuid(workspaceId)) return undefined
  return (await findKnownWorkspace(deps, workspaceId))?.organizationId
}

async function listTrusts(deps: Deps, issuer: string, organizationId: string | undefined): Promise<Trust[]> {
  const read = async () => {
    const rows = await trustedIssuers.listByIssuer(deps.db, issuer, organizationId ?? null)
    return rows.length === 0
      ? undefined
      : rows.map(row => ({ row, keySet: row.jwks ? keySetOf(row.jwks) : undefined }))
  }
  const key = `${organizationId ?? ''} ${issuer}`
  return (await trustsByIssuer(deps).get(key, deps.ids.now().getTime(), read)) ?? []
}

function keySetOf(jwks: NonNullable<TrustedIssuer['jwks']>): KeySet {
  return createLocalJWKSet({ keys: jwks.keys })
}

function isNamed(
  row: TrustedIssuer,
  organizationId: string | undefined,
  workspaceId: string | undefined,
): boolean {
  return (
    row.organizationId === organizationId && (row.workspaceId === null || row.workspaceId === workspaceId)
  )
}

function partition<Item>(items: readonly Item[], isFirst: (item: Item) => boolean): [Item[], Item[]] {
  return [items.filter(isFirst), items.filter(item => !isFirst(item))]
}

async function verifyAll(deps: Deps, trusts: readonly Trust[], token: string): Promise<TokenCaller[]> {
  const callers = await Promise.all(trusts.map(trust => verify(deps, trust, token)))
  return callers.filter(caller => caller !== undefined)
}

async function verify(deps: Deps, { row, keySet }: Trust, token: string): Promise<TokenCaller | undefined> {
  try {
    const payload =
      keySet === undefined ? await checkByUrl(deps, row, token) : await check(deps, row, token, keySet)
    return payload === undefined ? undefined : callerOf(row, payload)
  } catch (error) {
    // A key set of a remote's making can also fail in ways jose has no code for; all of them mean: not verified.
    const reason = error instanceof errors.JOSEError ? error.code : String(error)
    deps.log.debug({ trustedIssuerId: row.id, reason }, 'token.refused')
    return undefined
  }
}

async function checkByUrl(deps: Deps, row: TrustedIssuer, token: string): Promise<JWTPayload | undefined> {
  const url = row.jwksUrl!
  const keySet = await keySetsOf(deps).get(url)
  if (keySet === undefined) return undefined
  try {
    return await check(deps, row, token, keySet)
  } catch (error) {
    if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
    // The issuer may have begun to use a new key.
    const newer = await keySetsOf(deps).getNewer(url, keySet)
    if (newer === undefined) throw error
    return await check(deps, row, token, newer)
  }
}

async function check(deps: Deps, row: TrustedIssuer, token: string, keySet: KeySet): Promise<JWTPayload> {
  const { payload } = await jwtVerify(token, keySet, {
    algorithms: row.algorithms,
    issuer: row.issuer,
    audience: row.audience,
    requiredClaims: ['exp', 'sub', 'jti'],
    clockTolerance: 5,
    currentDate: deps.ids.now(),
  })
  for (const claim of ['sub', 'jti'] as const) {
    if (typeof payload[claim] !== 'string' || payload[claim] === '') {
      throw new errors.JWTClaimValidationFailed(
        `"${claim}" must be a string that is not empty`,
        payload,
        claim,
      )
    }
  }
  return payload
}

function callerOf(row: TrustedIssuer, payload: JWTPayload): TokenCaller {
  const allowed = readScopes(payload, row.scopeClaim).filter(scope => row.scopes.includes(scope))
  return {
    kind: 'service',
    organizationId: row.organizationId,
    ...(row.workspaceId === null ? {} : { workspaceId: row.workspaceId }),
    scopes: new Set(allowed),
  }
}

/** A list of strings, or one string with spaces between (RFC 8693 section 4.2). Scopes that we do not know are passed over. */
function readScopes(payload: JWTPayload, claim: string): Scope[] {
  const value = Object.hasOwn(payload, claim) ? payload[claim] : undefined
  const names: unknown[] = typeof value === 'string' ? value.split(' ') : Array.isArray(value) ? value : []
  return names.filter(name => typeof name === 'string' && isScope(name))
}
