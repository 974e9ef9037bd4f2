/** Access keys: made, listed and revoked. A key is shown once; what is stored cannot be turned back into it. */
import { hash, randomBytes } from 'node:crypto'
import type { Deps } from '../deps.ts'
import type { Caller, Scope } from '../domain/access.ts'
import type { AccessKey, Owner } from '../domain/tenancy.ts'
import { invalid, notFound } from '../errors.ts'
import * as accessKeys from '../store/access-keys.ts'
import type { Page, PageQuery } from '../store/db.ts'
import { requireMayGrant, requireOwner } from './grants.ts'

export type NewAccessKeyInput = {
  name: string
  scopes: readonly Scope[]
  /** From then on the key is refused. Default: never. */
  expiresAt?: Date | null
}

/** What every access key looks like: the prefix lets people and scanners know one when they see it. */
export const accessKeyPattern = /^ak_[A-Za-z0-9_-]{43}$/

/**
 * Makes an access key. The secret is in this answer and can never be read again.
 *
 * Throws forbidden for scopes that the caller lacks, validation_failed for an expiry in the past, not_found.
 */
export async function createAccessKey(
  deps: Deps,
  caller: Caller,
  owner: Owner,
  input: NewAccessKeyInput,
): Promise<{ key: AccessKey; secret: string }> {
  const expiresAt = input.expiresAt ?? null
  if (expiresAt !== null && expiresAt <= deps.ids.now()) {
    throw invalid([{ pointer: '/expiresAt', detail: 'is in the past; give a time to come, or leave it out' }])
  }
  await requireMayGrant(deps.db, caller, owner, input.scopes)

  const secret = `ak_${randomBytes(32).toString('base64url')}`
  const key = await accessKeys.insert(deps.db, {
    ...owner,
    id: deps.ids.next(),
    name: input.name,
    scopes: [...new Set(input.scopes)],
    hint: secret.slice(0, hintLength),
    secretSha256: hash('sha256', secret, 'buffer'),
    expiresAt,
  })
  return { key, secret }
}

/** The keys that are not revoked, expired ones among them. Throws not_found when the owner is not there. */
export async function listAccessKeys(deps: Deps, owner: Owner, query: PageQuery): Promise<Page<AccessKey>> {
  await requireOwner(deps.db, owner)
  return await accessKeys.list(deps.db, owner, query)
}

/** From then on no process lets the key in; one that has just seen it does so for 2 seconds more. Throws not_found. */
export async function revokeAccessKey(deps: Deps, owner: Owner, id: string): Promise<void> {
  if (!(await accessKeys.revoke(deps.db, owner, id))) throw notFound('access key')
}

/** Of the 256 random bits, the hint gives away 30: enough to tell keys apart, far too few to guess the rest. */
const hintLength = 8
