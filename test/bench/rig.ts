/** What all figures share: the one receiver, the sender of the floor, and the order in which things are measured. */

import { randomBytes } from 'node:crypto'
import { startChild, type Child } from './child.ts'
import { median } from './measure.ts'
import type { Receiver } from './receiver.ts'

export type Rig = {
  receiver: Child<Receiver>
  /** Where the receiver listens. */
  receiverUrl: string
  /** Signs everything that goes to the receiver. */
  signingKey: string
  /** Aborts when the run is interrupted or takes too long. */
  signal: AbortSignal
  [Symbol.asyncDispose](): Promise<void>
}

export async function createRig(signal: AbortSignal): Promise<Rig> {
  const receiver = startChild<Receiver>('./receiver.ts', signal)
  return {
    receiver,
    receiverUrl: `http://127.0.0.1:${await receiver.call('listen')}`,
    signingKey: `whsec_${randomBytes(32).toString('base64')}`,
    signal,
    [Symbol.asyncDispose]: () => receiver[Symbol.asyncDispose](),
  }
}

/** Takes one measurement and gives its value, per second. */
export type Measurement = () => Promise<number>

/**
 * Takes all measurements in turn, three times over, and gives the median of each. In turn, so that what else
 * happens on the machine falls on a figure and on its floor alike. Where a slow service needs longer than
 * `budgetMs`, no further round is begun.
 */
export async function measureInTurn<Name extends string>(
  measurements: ReadonlyMap<Name, Measurement>,
  budgetMs: number,
): Promise<Map<Name, number>> {
  const values = new Map<Name, number[]>()
  const startedMs = performance.now()

  for (let round = 1; round <= roundsCount; round += 1) {
    if (performance.now() - startedMs > budgetMs) break
    for (const [name, measurement] of measurements) {
      const value = await measurement()
      progress(`${name}, round ${round}: ${value.toFixed(0)} per second`)
      values.set(name, [...(values.get(name) ?? []), value])
    }
  }
  return new Map([...values].map(([name, each]) => [name, median(each)]))
}

/** Progress goes to stderr: stdout has nothing but the result. */
export function progress(text: string): void {
  process.stderr.write(`${text}\n`)
}

const roundsCount = 3
