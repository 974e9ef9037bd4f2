/** Clock and order statistics of the benchmark. */

import assert from 'node:assert/strict'

/**
 * Milliseconds on the machine's monotonic clock. It has one origin for all processes of a machine (the boot),
 * unlike `performance.now()`, so that an instant in one process can be taken from an instant in another.
 */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1_000 + nanoseconds / 1e6
}

/** The middle value, or the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = sort(values)
  return (at(sorted, Math.ceil(sorted.length / 2) - 1) + at(sorted, Math.floor(sorted.length / 2))) / 2
}

/** The smallest value that at least `share` (0..1) of all values do not exceed (nearest rank). */
export function quantile(values: readonly number[], share: number): number {
  const sorted = sort(values)
  return at(sorted, Math.max(0, Math.ceil(sorted.length * share) - 1))
}

function sort(values: readonly number[]): number[] {
  assert(values.length > 0, 'there is no order statistic of nothing')
  return values.toSorted((a, b) => a - b)
}

function at(sorted: readonly number[], index: number): number {
  const value = sorted[index]
  assert(value !== undefined)
  return value
}
