/** Organizations: what the operator does with its customers. */
import type { Deps } from '../deps.ts'
import type { Organization } from '../domain/tenancy.ts'
import { notFound } from '../errors.ts'
import type { Page, PageQuery } from '../store/db.ts'
import * as organizations from '../store/organizations.ts'
import * as workspaces from '../store/workspaces.ts'

export async function createOrganization(deps: Deps, input: { name: string }): Promise<Organization> {
  return await organizations.insert(deps.db, deps.ids.next(), input.name)
}

export async function listOrganizations(deps: Deps, query: PageQuery): Promise<Page<Organization>> {
  return await organizations.list(deps.db, query)
}

/** Throws not_found. */
export async function getOrganization(deps: Deps, id: string): Promise<Organization> {
  return found(await organizations.find(deps.db, id))
}

/** Throws not_found. */
export async function renameOrganization(
  deps: Deps,
  id: string,
  input: { name: string },
): Promise<Organization> {
  return found(await organizations.update(deps.db, id, input.name))
}

/**
 * Removes an organization with its workspaces. Its keys and trusted issuers stop working with it, because they are
 * only found together with an owner that is there. Throws not_found.
 */
export async function removeOrganization(deps: Deps, id: string): Promise<void> {
  await deps.db.transaction(async trx => {
    // The organization first: its row lock waits for workspaces that are just being made, and keeps out new ones.
    if (!(await organizations.remove(trx, id))) throw notFound('organization')
    await workspaces.removeOfOrganization(trx, id)
  })
}

function found(organization: Organization | undefined): Organization {
  if (organization === undefined) throw notFound('organization')
  return organization
}
