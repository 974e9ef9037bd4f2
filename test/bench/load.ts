/** The load on every publish figure, the floor's as well as the service's: autocannon in a process of its own. */

import assert from 'node:assert/strict'
import autocannon from 'autocannon'
import { offer } from './child.ts'

export type LoadWindow = {
  url: string
  headers: Record<string, string>
  body: string
  connections: number
  durationSeconds: number
}

const commands = {
  /** POSTs the same body for `durationSeconds`; gives requests per second. Any answer but 202 is an error. */
  async post({ durationSeconds, ...window }: LoadWindow): Promise<number> {
    const result = await autocannon({ ...window, method: 'POST', duration: durationSeconds, timeout: 10 })
    const { 202: accepted, ...others } = result.statusCodeStats
    const faults = { errors: result.errors, timeouts: result.timeouts, others }
    assert.deepEqual(faults, { errors: 0, timeouts: 0, others: {} }, `${window.url} did not answer 202 only`)
    return (accepted?.count ?? 0) / result.duration
  },
}

export type Load = typeof commands

offer(commands)
