/** What a worker works with, on a database of the test's own and without a worker: the tests take its steps themselves. */
import { readConfig } from '#src/config.ts'
import { createContext } from '#src/context.ts'
import type { Deps } from '#src/deps.ts'
import { createOrganization } from '#src/services/organizations.ts'
import { createSubscription, type NewSubscriptionInput } from '#src/services/webhook-subscriptions.ts'
import { createWorkspace } from '#src/services/workspaces.ts'
import { ownDatabase } from '#test/support/database.ts'
import { createServiceEnv } from '#test/support/process.ts'

export type JobsContext = {
  deps: Deps
  /** What was logged, as `level message`. */
  logged: string[]
  newWorkspace(): Promise<string>
  /** A subscription to `sms.outbound` of channels, unless the fields say otherwise. */
  subscribe(workspaceId: string, fields?: Partial<NewSubscriptionInput>): Promise<string>
  close(): Promise<void>
}

export async function createJobsContext(): Promise<JobsContext> {
  const { url } = await ownDatabase()
  const logged: string[] = []
  const logAt = (level: string) => (_: object, message: string) => void logged.push(`${level} ${message}`)
  const config = readConfig({ ...createServiceEnv(), DATABASE_URL: url, ROLE: 'api' })
  const { deps, close } = await createContext(config, {
    log: { debug: logAt('debug'), info: logAt('info'), warn: logAt('warn'), error: logAt('error') },
  })
  return {
    deps,
    logged,
    async newWorkspace() {
      const organization = await createOrganization(deps, { name: 'Acme' })
      return (await createWorkspace(deps, organization.id, { name: 'production' })).id
    },
    async subscribe(workspaceId, fields = {}) {
      const input = { service: 'channels', event: 'sms.outbound', url: 'https://example.com/hook', ...fields }
      return (await createSubscription(deps, workspaceId, input)).subscription.id
    },
    close,
  }
}
