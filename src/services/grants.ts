/** What holds for everything that lets a client in: it belongs to an owner that is there, and gives nothing its maker lacks. */
import { isWithin, scopesBeyond, type Caller, type Scope } from '../domain/access.ts'
import type { Owner } from '../domain/tenancy.ts'
import { AppError, notFound } from '../errors.ts'
import type { Db } from '../store/db.ts'
import * as organizations from '../store/organizations.ts'
import * as workspaces from '../store/workspaces.ts'

/**
 * Throws forbidden, naming the scopes, when the caller lacks any of them; not_found when the owner is not there, or
 * when the caller is confined to a workspace and the owner lies beyond it.
 */
export async function requireMayGrant(
  db: Db,
  caller: Caller,
  owner: Owner,
  scopes: readonly Scope[],
): Promise<void> {
  if (!isWithin(caller, owner.organizationId, owner.workspaceId ?? undefined)) throw missing(owner)
  const beyond = scopesBeyond(caller, scopes)
  if (beyond.length > 0) {
    throw new AppError(
      'forbidden',
      `You cannot give scopes that you do not have yourself: ${beyond.join(', ')}.`,
    )
  }
  await requireOwner(db, owner)
}

/** Throws not_found unless the organization, or its workspace, is there. */
export async function requireOwner(db: Db, owner: Owner): Promise<void> {
  if (owner.workspaceId === null) {
    if ((await organizations.find(db, owner.organizationId)) === undefined) throw missing(owner)
  } else {
    const workspace = await workspaces.find(db, owner.workspaceId)
    if (workspace?.organizationId !== owner.organizationId) throw missing(owner)
  }
}

function missing(owner: Owner): AppError {
  return notFound(owner.workspaceId === null ? 'organization' : 'workspace')
}
