/**
 * Release jobs: a subscription became active again, so what it holds back is scheduled; or it was deleted, so what is
 * pending is cancelled. In bounded steps, since there may be very many.
 */
import type { Deps } from '../deps.ts'
import * as deliveries from '../store/deliveries.ts'
import * as subscriptions from '../store/webhook-subscriptions.ts'
import * as workspaces from '../store/workspaces.ts'
import { subscriptionRemoved } from './attempt-deliveries.ts'
import type { Claim } from './claims.ts'
import { rescheduleNow } from './reschedule.ts'
import type { Settler } from './settle.ts'

type ReleaseDeps = Pick<Deps, 'db' | 'queue' | 'wake'> & { settler: Settler; isStopping: () => boolean }

const stepMax = 500

export async function releaseDeliveries(
  deps: ReleaseDeps,
  claim: Claim<'release-deliveries'>,
): Promise<void> {
  const { workspaceId, subscriptionId } = claim.job.data
  let isMore = true
  while (isMore && !claim.abort.signal.aborted) {
    // Leaving in the middle: the job runs again elsewhere and goes on with what is left.
    if (deps.isStopping()) return
    isMore = await releaseStep(deps, workspaceId, subscriptionId)
  }
  deps.settler.add({ claim })
}

/** Returns whether there may be more. */
async function releaseStep(deps: ReleaseDeps, workspaceId: string, subscriptionId: string): Promise<boolean> {
  const count = await deps.db.transaction(async trx => {
    const workspace = await workspaces.find(trx, workspaceId)
    const subscription = workspace && (await subscriptions.find(trx, workspaceId, subscriptionId))
    if (subscription === undefined) {
      const which = { heldOnly: false, limit: stepMax }
      const pending = await deliveries.lockPendingOfSubscription(trx, workspaceId, subscriptionId, which)
      await deliveries.cancelMany(
        trx,
        workspaceId,
        pending.map(({ id }) => id),
        subscriptionRemoved,
      )
      return pending.length
    }
    if (subscription.status !== 'active' || subscription.endpoint.status !== 'active') return 0

    const which = { heldOnly: true, limit: stepMax }
    const held = await deliveries.lockPendingOfSubscription(trx, workspaceId, subscriptionId, which)
    await rescheduleNow(deps, trx, held)
    return held.length
  })
  if (count > 0) deps.wake.notify()
  return count === stepMax
}
