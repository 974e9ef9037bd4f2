/** Workspaces of an organization. One that belongs to another organization is as good as missing. */
import type { Deps } from '../deps.ts'
import type { Workspace } from '../domain/tenancy.ts'
import { notFound } from '../errors.ts'
import type { Page, PageQuery } from '../store/db.ts'
import * as organizations from '../store/organizations.ts'
import * as workspaces from '../store/workspaces.ts'
import { createCache, perDeps } from './cache.ts'

/** Throws not_found when there is no such organization. */
export async function createWorkspace(
  deps: Deps,
  organizationId: string,
  input: { name: string },
): Promise<Workspace> {
  return await deps.db.transaction(async trx => {
    // Without the lock, a removal that runs at the same time would miss the new workspace and leave it behind.
    if (!(await organizations.hold(trx, organizationId))) throw notFound('organization')
    return await workspaces.insert(trx, { id: deps.ids.next(), organizationId, name: input.name })
  })
}

/** Throws not_found when there is no such organization. */
export async function listWorkspaces(
  deps: Deps,
  organizationId: string,
  query: PageQuery,
): Promise<Page<Workspace>> {
  if ((await organizations.find(deps.db, organizationId)) === undefined) throw notFound('organization')
  return await workspaces.list(deps.db, organizationId, query)
}

/** Throws not_found. */
export async function getWorkspace(deps: Deps, organizationId: string, id: string): Promise<Workspace> {
  return found(await workspaces.find(deps.db, id), organizationId)
}

/** Throws not_found. */
export async function renameWorkspace(
  deps: Deps,
  organizationId: string,
  id: string,
  input: { name: string },
): Promise<Workspace> {
  return found(await workspaces.update(deps.db, organizationId, id, input.name))
}

/** Removes a workspace with all that lives in it; its keys and trusted issuers stop working. Throws not_found. */
export async function removeWorkspace(deps: Deps, organizationId: string, id: string): Promise<void> {
  if (!(await workspaces.remove(deps.db, organizationId, id))) throw notFound('workspace')
}

/**
 * The workspace that a request names, by an answer that may be 2 seconds old: every request into a workspace asks.
 * Throws not_found, also when an organization is named too and the workspace is not its own.
 */
export async function resolveWorkspace(
  deps: Deps,
  workspaceId: string,
  organizationId?: string,
): Promise<Workspace> {
  return found(await findKnownWorkspace(deps, workspaceId), organizationId)
}

/** As resolveWorkspace, for those who need no more than to know. */
export function findKnownWorkspace(deps: Deps, workspaceId: string): Promise<Workspace | undefined> {
  return knownWorkspaces(deps).get(workspaceId, deps.ids.now().getTime(), () =>
    workspaces.find(deps.db, workspaceId),
  )
}

const knownWorkspaces = perDeps(() => createCache<Workspace>({ ttlMs: 2_000, entriesMax: 10_000 }))

function found(workspace: Workspace | undefined, organizationId?: string): Workspace {
  const isForeign = organizationId !== undefined && workspace?.organizationId !== organizationId
  if (workspace === undefined || isForeign) throw notFound('workspace')
  return workspace
}
