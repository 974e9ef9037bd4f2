/**
 * Who calls: the operator, a client with an access key, or a service with a signed token. Every request passes here,
 * so a key that was seen a moment ago costs a hash and a look into memory.
 */
import { hash, timingSafeEqual } from 'node:crypto'
import type { Deps } from '../deps.ts'
import { isScope, type Caller } from '../domain/access.ts'
import type { AccessKey } from '../domain/tenancy.ts'
import { AppError } from '../errors.ts'
import * as accessKeys from '../store/access-keys.ts'
import { accessKeyPattern } from './access-keys.ts'
import { createCache, perDeps } from './cache.ts'
import { findTokenCaller, type Target } from './service-tokens.ts'

export type { Target } from './service-tokens.ts'

/** Longest `Authorization` that is looked at, in characters: 8 KiB, as of the tokens in it. */
export const authorizationCharactersMax = 8_192

/**
 * The caller that an `Authorization` header stands for (RFC 9110 section 11.4): `AccessKey <key>`, `Bearer <access key>`
 * or `Bearer <JWT>`, the scheme in any case. `target` is what the request's path names; it decides between several
 * organizations that trust the same token, so give it wherever there is one.
 *
 * What the caller may do, and whether the target is its own, is not checked here. A revoked key is refused after 2
 * seconds at most, an expired one at once.
 *
 * Throws unauthorized, in the same words for whatever is wrong: the reason would help to guess.
 */
export async function authenticate(
  deps: Deps,
  authorization: string | undefined,
  target: Target = {},
): Promise<Caller> {
  const credentials = parseAuthorization(authorization)
  const caller = credentials && (await findCaller(deps, credentials, target))
  if (caller === undefined) throw unauthorized()
  return caller
}

type Credentials = { isBearer: boolean; secret: string }

/** One scheme, spaces, and printable ASCII without spaces; nothing is trimmed or repaired. */
function parseAuthorization(text: string | undefined): Credentials | undefined {
  if (text === undefined || text.length > authorizationCharactersMax) return undefined
  const [, scheme, secret] = /^(accesskey|bearer) +([\x21-\x7e]+)$/i.exec(text) ?? []
  if (scheme === undefined || secret === undefined) return undefined
  return { isBearer: scheme.length === 'bearer'.length, secret }
}

async function findCaller(
  deps: Deps,
  { isBearer, secret }: Credentials,
  target: Target,
): Promise<Caller | undefined> {
  if (isBearer && secret.includes('.')) return await findTokenCaller(deps, secret, target)

  const digest = hash('sha256', secret, 'buffer')
  const operator = operatorDigestOf(deps)
  if (operator !== null && timingSafeEqual(digest, operator)) return { kind: 'operator' }
  // What does not look like one of our keys is none: it is not worth a question to the database.
  return accessKeyPattern.test(secret) ? await findKeyCaller(deps, digest) : undefined
}

const operatorDigestOf = perDeps(({ config }) =>
  config.operatorKey === undefined ? null : hash('sha256', config.operatorKey, 'buffer'),
)

type KnownKey = { caller: Caller; expiresMs: number }

const knownKeys = perDeps(() => createCache<KnownKey>({ ttlMs: 2_000, entriesMax: 10_000 }))

async function findKeyCaller(deps: Deps, digest: Buffer): Promise<Caller | undefined> {
  const nowMs = deps.ids.now().getTime()
  // The digest and not the secret, so that a dump of this process's memory holds no key for longer than a request.
  const known = await knownKeys(deps).get(digest.toString('latin1'), nowMs, async () => {
    const key = await accessKeys.findBySecret(deps.db, digest)
    return key && { caller: callerOf(key), expiresMs: key.expiresAt?.getTime() ?? Infinity }
  })
  return known !== undefined && nowMs < known.expiresMs ? known.caller : undefined
}

function callerOf(key: AccessKey): Caller {
  return {
    kind: 'key',
    organizationId: key.organizationId,
    ...(key.workspaceId === null ? {} : { workspaceId: key.workspaceId }),
    // A scope that an older version knew means nothing now.
    scopes: new Set(key.scopes.filter(isScope)),
  }
}

function unauthorized(): AppError {
  return new AppError(
    'unauthorized',
    'Give a valid access key as `Authorization: AccessKey …`, or a token of a trusted issuer as `Authorization: Bearer …`.',
  )
}
