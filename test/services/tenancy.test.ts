import { expect } from 'chai'
import { after, before, describe, it } from 'mocha'
import { randomUUID } from 'node:crypto'
import {
  createOrganization,
  getOrganization,
  listOrganizations,
  removeOrganization,
  renameOrganization,
} from '#src/services/organizations.ts'
import {
  createWorkspace,
  getWorkspace,
  listWorkspaces,
  removeWorkspace,
  renameWorkspace,
  resolveWorkspace,
} from '#src/services/workspaces.ts'
import * as organizations from '#src/store/organizations.ts'
import * as workspaces from '#src/store/workspaces.ts'
import { ownDatabase } from '#test/support/database.ts'
import { rejection } from '#test/support/rejection.ts'
import { createTenant, createTestDeps, type TestDeps } from './tenant.ts'

const page = { limit: 10 }
const noOrganization = { code: 'not_found', message: 'No such organization.' }
const noWorkspace = { code: 'not_found', message: 'No such workspace.' }

describe('organizations', () => {
  let deps: TestDeps
  before(async () => void (deps = await createTestDeps()))
  after(() => deps.close())

  it('are created, read and renamed', async () => {
    const created = await createOrganization(deps, { name: 'Acme' })
    expect(await getOrganization(deps, created.id)).to.deep.equal(created)
    const renamed = await renameOrganization(deps, created.id, { name: 'Apex' })
    expect(renamed).to.include({ id: created.id, name: 'Apex' })
    expect(await getOrganization(deps, created.id)).to.deep.equal(renamed)
  })

  it('are listed newest first, page by page', async () => {
    // In a database of its own: the ids of other tests may lie in the future.
    const own = await createTestDeps({ database: ownDatabase() })
    const [older, newer] = [await createTenant(own), await createTenant(own)]
    const first = await listOrganizations(own, { limit: 1 })
    expect(first.results).to.deep.equal([newer.organization])
    const second = await listOrganizations(own, { limit: 1, pageToken: first.nextPageToken })
    expect(second.results).to.deep.equal([older.organization])
    await own.close()
  })

  it('refuse a page token that is none of theirs', async () => {
    expect(await rejection(listOrganizations(deps, { limit: 1, pageToken: 'x' }))).to.include({
      code: 'invalid_page_token',
    })
  })

  it('are gone once removed, with their workspaces', async () => {
    const { organization, workspace } = await createTenant(deps)
    await removeOrganization(deps, organization.id)

    expect(await rejection(getOrganization(deps, organization.id))).to.include(noOrganization)
    expect(await rejection(renameOrganization(deps, organization.id, { name: 'x' }))).to.include(
      noOrganization,
    )
    expect(await rejection(removeOrganization(deps, organization.id))).to.include(noOrganization)
    expect(await rejection(listWorkspaces(deps, organization.id, page))).to.include(noOrganization)
    expect(await rejection(createWorkspace(deps, organization.id, { name: 'x' }))).to.include(noOrganization)
    expect(await rejection(getWorkspace(deps, organization.id, workspace.id))).to.include(noWorkspace)
    expect(await rejection(resolveWorkspace(deps, workspace.id))).to.include(noWorkspace)
    const { results } = await listOrganizations(deps, { limit: 100 })
    expect(results.map(({ id }) => id)).to.not.include(organization.id)
  })

  it('leave no workspace behind that is made while they are removed', async () => {
    const { organization } = await createTenant(deps)
    const [removal, creation] = await Promise.allSettled([
      removeOrganization(deps, organization.id),
      createWorkspace(deps, organization.id, { name: 'late' }),
    ])
    expect(removal.status).to.equal('fulfilled')
    if (creation.status === 'rejected') expect(creation.reason).to.include(noOrganization)
    else expect(await rejection(resolveWorkspace(deps, creation.value.id))).to.include(noWorkspace)
  })

  it('wait with their removal for a workspace that is just being made', async () => {
    const { organization } = await createTenant(deps)
    let removal: Promise<void> | undefined
    const inserted = await deps.db.transaction(async trx => {
      await organizations.hold(trx, organization.id)
      removal = removeOrganization(deps, organization.id)
      await untilBlocked(deps)
      return workspaces.insert(trx, { id: randomUUID(), organizationId: organization.id, name: 'late' })
    })
    await removal
    expect(await rejection(resolveWorkspace(deps, inserted.id))).to.include(noWorkspace)
  })
})

describe('workspaces', () => {
  let deps: TestDeps
  before(async () => void (deps = await createTestDeps()))
  after(() => deps.close())

  it('are created, read, renamed and listed', async () => {
    const { organization, workspace } = await createTenant(deps)
    expect(await getWorkspace(deps, organization.id, workspace.id)).to.deep.equal(workspace)
    const renamed = await renameWorkspace(deps, organization.id, workspace.id, { name: 'staging' })
    expect(renamed).to.include({ id: workspace.id, organizationId: organization.id, name: 'staging' })
    expect(await listWorkspaces(deps, organization.id, page)).to.deep.equal({ results: [renamed] })
  })

  it('are gone once removed', async () => {
    const { organization, workspace } = await createTenant(deps)
    await removeWorkspace(deps, organization.id, workspace.id)
    expect(await rejection(getWorkspace(deps, organization.id, workspace.id))).to.include(noWorkspace)
    expect(await rejection(removeWorkspace(deps, organization.id, workspace.id))).to.include(noWorkspace)
    expect(await listWorkspaces(deps, organization.id, page)).to.deep.equal({ results: [] })
  })

  const foreignUses = [
    { what: 'read', use: (organizationId: string, id: string) => getWorkspace(deps, organizationId, id) },
    {
      what: 'renamed',
      use: (organizationId: string, id: string) => renameWorkspace(deps, organizationId, id, { name: 'x' }),
    },
    {
      what: 'removed',
      use: (organizationId: string, id: string) => removeWorkspace(deps, organizationId, id),
    },
    {
      what: 'resolved',
      use: (organizationId: string, id: string) => resolveWorkspace(deps, id, organizationId),
    },
  ]
  for (const { what, use } of foreignUses) {
    it(`cannot be ${what} through another organization, and say no more than a missing one`, async () => {
      const [{ organization }, { workspace, organization: owner }] = [
        await createTenant(deps),
        await createTenant(deps),
      ]
      expect(await rejection(use(organization.id, workspace.id))).to.include(noWorkspace)
      expect(await rejection(use(organization.id, randomUUID()))).to.include(noWorkspace)
      expect(await getWorkspace(deps, owner.id, workspace.id)).to.deep.equal(workspace)
    })
  }

  it('are resolved from memory for 2 seconds', async () => {
    const { organization, workspace } = await createTenant(deps)
    const before = deps.queriesCount()
    const resolutions = Array.from({ length: 20 }, () =>
      resolveWorkspace(deps, workspace.id, organization.id),
    )
    expect(await Promise.all(resolutions)).to.deep.include(workspace)
    expect(await resolveWorkspace(deps, workspace.id)).to.deep.equal(workspace)
    expect(deps.queriesCount() - before).to.equal(1)

    await removeWorkspace(deps, organization.id, workspace.id)
    deps.pass(2_000)
    expect(await rejection(resolveWorkspace(deps, workspace.id))).to.include(noWorkspace)
  })
})

/** Waits until a statement of this database waits for a lock; the end of the tests' connections ends it too. */
async function untilBlocked(deps: TestDeps): Promise<void> {
  const sql = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  for (;;) {
    const { rows } = (await deps.db.raw(sql)) as { rows: unknown[] }
    if (rows.length > 0) return
  }
}
