/** The subscriptions that a worker holds in memory: always those of the moment, and read only where they changed. */
import { expect } from 'chai'
import { after, before, beforeEach, describe, it } from 'mocha'
import { createTargets, makeReady, type Targets } from '#src/jobs/targets.ts'
import {
  removeSubscription,
  rotateSigningKey,
  updateSubscription,
} from '#src/services/webhook-subscriptions.ts'
import { removeOrganization } from '#src/services/organizations.ts'
import { rows } from '#src/store/db.ts'
import { createJobsContext, type JobsContext } from '#test/jobs/context.ts'

describe('the targets', () => {
  let context: JobsContext
  let workspaceId: string
  let targets: Targets

  before(async () => {
    context = await createJobsContext()
  })

  after(async () => {
    await context?.close()
  })

  beforeEach(async () => {
    workspaceId = await context.newWorkspace()
    targets = createTargets(context.deps)
  })

  async function matching(payload: unknown = {}, event = 'sms.outbound'): Promise<string[]> {
    const index = (await targets.load([workspaceId])).get(workspaceId)!
    const published = {
      service: 'channels',
      event,
      workspaceVersion: 1_000,
      payload: Buffer.from(JSON.stringify(payload)),
    }
    return index.match(published).map(({ id }) => id)
  }

  async function statementsOf(work: () => Promise<unknown>): Promise<string[]> {
    const statements: string[] = []
    const listener = ({ sql }: { sql: string }) => void statements.push(sql)
    context.deps.db.on('query', listener)
    try {
      await work()
    } finally {
      context.deps.db.removeListener('query', listener)
    }
    return statements
  }

  it('have a new subscription as soon as it is there, and none that was removed', async () => {
    expect(await matching()).to.deep.equal([])
    const one = await context.subscribe(workspaceId)
    expect(await matching()).to.deep.equal([one])
    const two = await context.subscribe(workspaceId)
    expect(await matching()).to.deep.equal([one, two])

    await removeSubscription(context.deps, workspaceId, one)
    expect(await matching()).to.deep.equal([two])
  })

  it('follow a change of the filters', async () => {
    const id = await context.subscribe(workspaceId, { eventFilters: [{ key: 'channelId', value: 'a' }] })
    expect(await matching({ channelId: 'a' })).to.deep.equal([id])

    await updateSubscription(context.deps, workspaceId, id, {
      eventFilters: [{ key: 'channelId', value: 'b' }],
    })
    expect(await matching({ channelId: 'a' })).to.deep.equal([])
    expect(await matching({ channelId: 'b' })).to.deep.equal([id])

    await updateSubscription(context.deps, workspaceId, id, { eventFilters: null })
    expect(await matching({})).to.deep.equal([id])
  })

  it('look for a filter where the catalogue says that its value stands', async () => {
    const id = await context.subscribe(workspaceId, {
      eventFilters: [{ key: 'messageStatus', value: 'sent' }],
    })

    expect(await matching({ status: 'sent' })).to.deep.equal([id])
    expect(await matching({ messageStatus: 'sent' })).to.deep.equal([])
  })

  it('read nothing but the version while nothing changes, and only the change when something does', async () => {
    await Promise.all(Array.from({ length: 5 }, () => context.subscribe(workspaceId)))
    await matching()

    expect(await statementsOf(() => matching())).to.have.lengthOf(1)

    const late = await context.subscribe(workspaceId, { event: 'sms.inbound' })
    const statements = await statementsOf(async () =>
      expect(await matching({}, 'sms.inbound')).to.deep.equal([late]),
    )
    expect(statements.filter(sql => sql.includes('changed_version'))).to.have.lengthOf(1)
  })

  it('can be loaded again after the database failed in between', async () => {
    const id = await context.subscribe(workspaceId)
    let failures = 0
    const failing = new Proxy(context.deps.db, {
      get(db, name) {
        if (name !== 'raw') return Reflect.get(db, name) as unknown
        return (sql: string, bindings: never) =>
          sql.includes('changed_version') && failures++ === 0
            ? Promise.reject(new Error('the connection broke'))
            : db.raw(sql, bindings)
      },
    })
    targets = createTargets({ ...context.deps, db: failing })

    const first = await Promise.allSettled([matching(), matching()])
    expect(first.filter(({ status }) => status === 'rejected')).not.to.have.lengthOf(0)
    expect(await matching()).to.deep.equal([id])
  })

  it('have no index of a workspace that was removed or never was', async () => {
    await context.subscribe(workspaceId)
    await matching()
    const [{ organizationId } = { organizationId: '' }] = await rows<{ organizationId: string }>(
      context.deps.db,
      'select organization_id as "organizationId" from workspaces where id = :workspaceId',
      { workspaceId },
    )
    await removeOrganization(context.deps, organizationId)
    const unknown = context.deps.ids.next()

    expect([...(await targets.load([workspaceId, unknown])).keys()]).to.deep.equal([])
  })

  it('are made ready anew with the keys that count at the moment, and say until when', async () => {
    const id = await context.subscribe(workspaceId)
    const targetOf = async () => (await targets.load([workspaceId])).get(workspaceId)!.get(id)!
    const single = await makeReady(context.deps, await targetOf(), Date.now())
    expect(single.material.newestFirst).to.have.lengthOf(1)
    expect(single.validUntilMs).to.equal(Infinity)

    const { overlapEndsAt } = await rotateSigningKey(context.deps, workspaceId, id, { overlapSeconds: 3_600 })
    const overlapping = await makeReady(context.deps, await targetOf(), Date.now())
    const later = await makeReady(context.deps, await targetOf(), overlapEndsAt!.getTime())

    expect(overlapping.material.newestFirst).to.have.lengthOf(2)
    expect(overlapping.validUntilMs).to.equal(overlapEndsAt!.getTime())
    expect(later.material.newestFirst).to.have.lengthOf(1)
    expect(later.validUntilMs).to.equal(Infinity)
  })
})
