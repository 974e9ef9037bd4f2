/**
 * Judges what arrived: a figure counts only when every delivery came exactly once, to the right path, with the
 * right payload and a signature that the Standard Webhooks library accepts.
 */

import assert from 'node:assert/strict'
import { Webhook } from 'standardwebhooks'
import { pathsOf, type BenchEvent, type Plan } from './events.ts'
import type { Arrivals, Sample } from './receiver.ts'

/** The events of a plan as they were published: `ids[sequence]` is the id that the service gave. */
export type Published = { plan: Plan; ids: string[] }

/** Throws unless exactly the expected deliveries are among the arrivals, each once, and all samples are good. */
export function assertArrivals(published: Published, arrivals: Arrivals, signingKey: string): void {
  const counts = countArrivals(published, arrivals)
  assert(
    counts.missing === 0 && counts.unexpected === 0 && counts.repeated === 0,
    `Wrong deliveries, so there is no figure: ${JSON.stringify(counts)}`,
  )
  assert(arrivals.samples.length > 0, 'no sample was kept')
  for (const sample of arrivals.samples) assertSample(published, sample, signingKey)
}

/** Throws unless the signature is right, for any body. */
export function verifySample(sample: Sample, signingKey: string): void {
  new Webhook(signingKey).verify(sample.body, sample.headers)
}

function countArrivals({ plan, ids }: Published, arrivals: Arrivals) {
  const missing = new Set<string>()
  for (const [sequence, id] of ids.entries()) {
    for (const path of pathsOf(plan, plan.eventAt(sequence))) missing.add(`${id} ${path}`)
  }
  const expected = missing.size
  const seen = new Set<string>()
  let unexpected = 0
  let repeated = 0
  for (const [index, id] of arrivals.ids.entries()) {
    const delivery = `${id} ${arrivals.paths[index]}`
    if (seen.has(delivery)) repeated += 1
    else if (!missing.delete(delivery)) unexpected += 1
    seen.add(delivery)
  }
  return { expected, arrived: arrivals.ids.length, missing: missing.size, unexpected, repeated }
}

function assertSample({ plan, ids }: Published, sample: Sample, signingKey: string): void {
  verifySample(sample, signingKey)
  const received: BenchEvent = JSON.parse(sample.body)
  const sequence = ids.indexOf(sample.headers['webhook-id'] ?? '')
  // As text: the payload must have kept its bytes, not only its meaning.
  assert.equal(JSON.stringify(received.payload), JSON.stringify(plan.eventAt(sequence).payload))
}
