/**
 * Deliveries that wait without a job get one: what was held and is released, and what lost its job.
 */
import type { Deps } from '../deps.ts'
import type { PendingDelivery } from '../domain/delivery.ts'
import type { Db } from '../store/db.ts'
import * as deliveries from '../store/deliveries.ts'

/** Schedules the deliveries, which the transaction has locked, at once and under a new schedule number each. */
export async function rescheduleNow(
  { queue }: Pick<Deps, 'queue'>,
  trx: Db,
  pending: readonly PendingDelivery[],
): Promise<void> {
  for (const [workspaceId, ofWorkspace] of Map.groupBy(pending, delivery => delivery.workspaceId)) {
    const ids = ofWorkspace.map(({ id }) => id)
    await deliveries.rescheduleMany(trx, workspaceId, ids)
  }
  await queue.enqueueAttempts(
    trx,
    pending.map(({ workspaceId, id: deliveryId, scheduleNumber }) => ({
      workspaceId,
      deliveryId,
      scheduleNumber: scheduleNumber + 1,
      delaySeconds: 0,
    })),
  )
}
