/**
 * The books of a run: what the receiver got against what the service says that it did. Holds after any fault.
 */
import { expect } from 'chai'
import { headerOf, type Received } from '#test/support/receiver.ts'
import type { Attempt, Delivery, Tenant } from '#test/scenarios/tenant.ts'

/**
 * Checks that every request is that of one attempt, that every attempt whose answer is known made just the requests it
 * says, that attempts are numbered without a gap, that none is left as started and the last of a delivered delivery
 * was delivered, and that one id never had two bodies.
 * Returns the attempts of each delivery.
 */
export async function checkAccounts(
  tenant: Tenant,
  deliveries: readonly Delivery[],
  requests: readonly Received[],
): Promise<Map<string, Attempt[]>> {
  const attemptsByDelivery = new Map<string, Attempt[]>()
  for (const delivery of deliveries) attemptsByDelivery.set(delivery.id, await tenant.attempts(delivery))

  const requestsByAttempt = Map.groupBy(
    requests,
    request => `${headerOf(request, 'hookseal-delivery')} #${headerOf(request, 'hookseal-attempt')}`,
  )
  const faults: string[] = []
  for (const delivery of deliveries) {
    const attempts = attemptsByDelivery.get(delivery.id)!
    const last = attempts.at(-1)
    if (delivery.status === 'delivered' && last?.outcome !== 'delivered') {
      faults.push(`${delivery.id} is delivered, and its last attempt is ${last?.outcome}`)
    }
    if (attempts.length !== delivery.attemptsCount)
      faults.push(`${delivery.id} counts ${delivery.attemptsCount}`)
    for (const [i, { number, outcome, requestsCount, response }] of attempts.entries()) {
      const name = `${delivery.id} #${number}`
      const seenCount = requestsByAttempt.get(name)?.length ?? 0
      requestsByAttempt.delete(name)
      if (number !== i + 1) faults.push(`${name} is the attempt after ${i} others`)
      if (outcome === 'started') faults.push(`${name} never ended`)
      const isRight = response === null ? seenCount <= requestsCount : seenCount === requestsCount
      if (!isRight) faults.push(`${name} (${outcome}) says ${requestsCount} requests, and ${seenCount} came`)
    }
  }
  for (const [name, unaccounted] of requestsByAttempt)
    faults.push(`${name} came ${unaccounted.length} times, unaccounted`)

  for (const [id, ofEvent] of Map.groupBy(requests, request => headerOf(request, 'webhook-id'))) {
    const bodies = new Set(ofEvent.map(({ body }) => body.toString('hex')))
    if (bodies.size > 1) faults.push(`${id} came with ${bodies.size} bodies`)
  }
  expect(faults).to.deep.equal([])
  return attemptsByDelivery
}
