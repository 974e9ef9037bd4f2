/** Endpoints: what happens to them by our own decision. */
import type { Deps } from '../deps.ts'
import * as endpoints from '../store/endpoints.ts'
import * as subscriptions from '../store/webhook-subscriptions.ts'
import * as workspaces from '../store/workspaces.ts'

/** Stops sending to an endpoint until its owner sets it active again; its deliveries are held meanwhile. */
export async function disableEndpoint(
  deps: Pick<Deps, 'db' | 'log'>,
  workspaceId: string,
  endpointId: string,
  reason: string,
): Promise<void> {
  // Looked at first: every bump of the version makes all workers read the workspace's changes.
  if (!(await endpoints.isActive(deps.db, workspaceId, endpointId))) return
  const isChanged = await deps.db.transaction(async trx => {
    const version = await workspaces.bumpVersion(trx, workspaceId)
    if (version === undefined) return false
    if (!(await endpoints.setStatus(trx, workspaceId, endpointId, 'disabled', reason))) return false
    await subscriptions.touchByEndpoint(trx, workspaceId, version, endpointId)
    return true
  })
  if (isChanged) deps.log.warn({ workspaceId, endpointId, reason }, 'endpoint.disabled')
}
