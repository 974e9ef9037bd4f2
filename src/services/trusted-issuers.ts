/** Trusted issuers: made, listed and removed. What their tokens are checked by is in service-tokens.ts. */
import { createLocalJWKSet, type CryptoKey } from 'jose'
import type { Deps } from '../deps.ts'
import type { Caller, Scope } from '../domain/access.ts'
import { parseTargetUrl } from '../domain/target.ts'
import type { Owner, TrustedIssuer } from '../domain/tenancy.ts'
import { invalid, notFound, type Fault } from '../errors.ts'
import type { Page, PageQuery } from '../store/db.ts'
import * as trustedIssuers from '../store/trusted-issuers.ts'
import { requireMayGrant, requireOwner } from './grants.ts'

/**
 * The algorithms a token may be signed with (RFC 7518 section 3.1, RFC 8037, RFC 9864). None with a shared secret: who
 * can check such a token can also make one.
 */
const tokenAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const

export const jwksKeysMax = 20
const rsaBitsMin = 2_048

export type TrustedIssuerInput = {
  /** The `iss` of its tokens, to the letter. */
  issuer: string
  /** What the `aud` of its tokens must be, or hold. */
  audience: string
  /** Where its public keys are. Exactly one of this and `jwks`. */
  jwksUrl?: string
  /** Its public keys (RFC 7517 section 5). */
  jwks?: { keys: Record<string, unknown>[] }
  algorithms: readonly string[]
  /** The most that its tokens can be allowed. */
  scopes: readonly Scope[]
  /** The claim that holds a token's scopes. Default: `scope` (RFC 8693 section 4.2). */
  scopeClaim?: string
}

/**
 * Trusts an issuer. A key set at a URL is not fetched now; whether it can be had shows with the first token.
 *
 * Throws forbidden for scopes that the caller lacks, validation_failed with every fault of the input, not_found.
 */
export async function createTrustedIssuer(
  deps: Deps,
  caller: Caller,
  owner: Owner,
  input: TrustedIssuerInput,
): Promise<TrustedIssuer> {
  const source = checkKeySource(deps, input)
  const faults = [...algorithmFaults(input.algorithms), ...source.faults]
  // Whether a key serves can only be said for algorithms that exist.
  if (faults.length === 0 && input.jwks !== undefined) {
    faults.push(...(await jwksFaults(input.jwks.keys, input.algorithms)))
  }
  if (faults.length > 0) throw invalid(faults)
  await requireMayGrant(deps.db, caller, owner, input.scopes)

  return await trustedIssuers.insert(deps.db, {
    ...owner,
    id: deps.ids.next(),
    issuer: input.issuer,
    audience: input.audience,
    jwksUrl: source.jwksUrl,
    jwks: input.jwks ?? null,
    algorithms: [...new Set(input.algorithms)],
    scopes: [...new Set(input.scopes)],
    scopeClaim: input.scopeClaim ?? 'scope',
  })
}

/** Throws not_found when the owner is not there. */
export async function listTrustedIssuers(
  deps: Deps,
  owner: Owner,
  query: PageQuery,
): Promise<Page<TrustedIssuer>> {
  await requireOwner(deps.db, owner)
  return await trustedIssuers.list(deps.db, owner, query)
}

/** Its tokens are refused from then on; where one was just let in, 2 seconds later. Throws not_found. */
export async function removeTrustedIssuer(deps: Deps, owner: Owner, id: string): Promise<void> {
  if (!(await trustedIssuers.remove(deps.db, owner, id))) throw notFound('trusted issuer')
}

function algorithmFaults(algorithms: readonly string[]): Fault[] {
  const known: readonly string[] = tokenAlgorithms
  if (algorithms.length === 0) return [{ pointer: '/algorithms', detail: 'must name at least one' }]
  return algorithms.flatMap((algorithm, index) =>
    known.includes(algorithm)
      ? []
      : [{ pointer: `/algorithms/${index}`, detail: `must be one of ${known.join(', ')}` }],
  )
}

function checkKeySource(
  deps: Deps,
  { jwksUrl, jwks }: TrustedIssuerInput,
): { jwksUrl: string | null; faults: Fault[] } {
  if ((jwksUrl === undefined) === (jwks === undefined)) {
    return { jwksUrl: null, faults: [{ pointer: '', detail: 'give exactly one of jwksUrl and jwks' }] }
  }
  if (jwksUrl === undefined) return { jwksUrl: null, faults: [] }
  const target = parseTargetUrl(jwksUrl, deps.targetRules)
  return 'fault' in target
    ? { jwksUrl: null, faults: [{ pointer: '/jwksUrl', detail: target.fault }] }
    : { jwksUrl: target.href, faults: [] }
}

async function jwksFaults(
  keys: readonly Record<string, unknown>[],
  algorithms: readonly string[],
): Promise<Fault[]> {
  if (keys.length === 0 || keys.length > jwksKeysMax) {
    return [{ pointer: '/jwks/keys', detail: `must hold 1 to ${jwksKeysMax} keys` }]
  }
  const details = await Promise.all(
    keys.map(async (key, index) => {
      const isNamedTwice = keys.findIndex(other => other['kid'] === key['kid']) < index
      return isNamedTwice ? 'needs a kid of its own' : await findKeyFault(key, algorithms)
    }),
  )
  return details.flatMap((detail, index) =>
    detail === undefined ? [] : [{ pointer: `/jwks/keys/${index}`, detail }],
  )
}

/** The members that only a private or a shared key has (RFC 7518 section 6, RFC 8037 section 2, RFC 9964). */
const privateMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']

async function findKeyFault(
  key: Record<string, unknown>,
  algorithms: readonly string[],
): Promise<string | undefined> {
  const secret = privateMembers.filter(member => Object.hasOwn(key, member))
  if (secret.length > 0) {
    return `holds secret parts (${secret.join(', ')}): give the public key, and make a new one, for this one has left its place`
  }
  const usable = (await Promise.all(algorithms.map(algorithm => importKey(key, algorithm)))).find(
    imported => imported !== undefined,
  )
  if (usable === undefined) return `is not a public key that checks signatures by ${algorithms.join(' or ')}`
  if (bitsOf(usable) < rsaBitsMin) return `is too short: an RSA key needs ${rsaBitsMin} bits`
  return undefined
}

/** By the same way that a token's check takes, so what is stored can be used. */
async function importKey(key: Record<string, unknown>, algorithm: string): Promise<CryptoKey | undefined> {
  try {
    const keySet = createLocalJWKSet({ keys: [key] })
    return await keySet({ alg: algorithm })
  } catch {
    // Whatever the reason, the caller's key does not serve with this algorithm; it may with another one.
    return undefined
  }
}

/** The length that decides on the strength of an RSA key; keys of other kinds have one by their curve. */
function bitsOf(key: CryptoKey): number {
  return 'modulusLength' in key.algorithm ? Number(key.algorithm.modulusLength) : Infinity
}
