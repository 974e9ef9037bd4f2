/**
 * Benchmark: measures the service as separate processes, and gives its throughput as ratios to floors taken in
 * the same run on the same machine, so that the figures of different machines can be compared.
 *
 *   node test/bench/main.ts [--json] [--only floors,publishSingle,publishBatch,drain1,drain10,latencyMs]
 *
 * Prints a table, or with `--json` one object; progress goes to stderr. `--only` takes the figures that are
 * named, with their floors. Exits 1 when anything is wrong (a delivery missing or repeated, a bad signature, a
 * refused request, more than five minutes): a figure is right or it is not given.
 */

import { parseArgs } from 'node:util'
import { measureDrains } from './drain.ts'
import { renderTable, rounded, throughput, type Figures } from './figures.ts'
import { measureLatency } from './latency.ts'
import { measurePublish } from './publish.ts'
import { createRig, progress } from './rig.ts'

const publishNames = ['publishSingle', 'publishBatch'] as const
const drainNames = ['drain1', 'drain10'] as const
const names = ['floors', ...publishNames, ...drainNames, 'latencyMs'] as const
type Name = (typeof names)[number]

const runMsMax = 300_000

async function main(): Promise<void> {
  const { isJson, wanted } = readArguments(process.argv.slice(2))
  const interrupted = new AbortController()
  const signal = AbortSignal.any([interrupted.signal, AbortSignal.timeout(runMsMax)])
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => interrupted.abort(new Error(`Interrupted by ${name}`)))
  }

  const startedMs = performance.now()
  try {
    const figures = await measure(wanted, signal)
    progress(`took ${((performance.now() - startedMs) / 1_000).toFixed(0)} s`)
    console.log(isJson ? JSON.stringify(figures) : renderTable(figures))
  } catch (error) {
    // Ending everything makes many things fail; what counts is why it was ended.
    console.error(signal.aborted ? signal.reason : error)
    process.exitCode = 1
  }
}

function readArguments(args: string[]): { isJson: boolean; wanted: ReadonlySet<Name> } {
  const { values } = parseArgs({ args, options: { json: { type: 'boolean' }, only: { type: 'string' } } })
  const chosen = values.only?.split(',') ?? names
  const wanted = names.filter(name => chosen.includes(name))
  if (wanted.length !== chosen.length) throw new Error(`--only takes some of: ${names.join(', ')}`)
  return { isJson: values.json ?? false, wanted: new Set(wanted) }
}

async function measure(wanted: ReadonlySet<Name>, signal: AbortSignal): Promise<Figures> {
  await using rig = await createRig(signal)
  const publish = await measurePublish(withFloor(wanted, 'publishPerSecond', publishNames), signal)
  const drains = await measureDrains(rig, withFloor(wanted, 'sendPerSecond', drainNames))
  const latencyMs = wanted.has('latencyMs') ? await measureLatency(rig) : undefined

  const sendPerSecond = drains.get('sendPerSecond')
  const publishPerSecond = publish.get('publishPerSecond')
  return {
    floors: { sendPerSecond: rounded(sendPerSecond), publishPerSecond: rounded(publishPerSecond) },
    publishSingle: throughput(publish.get('publishSingle'), publishPerSecond),
    publishBatch: throughput(publish.get('publishBatch'), publishPerSecond),
    drain1: throughput(drains.get('drain1'), sendPerSecond),
    drain10: throughput(drains.get('drain10'), sendPerSecond),
    latencyMs: latencyMs && { p50: rounded(latencyMs.p50, 2), p99: rounded(latencyMs.p99, 2) },
  }
}

/** Those of the figures that are wanted, and their floor if there are any. */
function withFloor<Floor extends string, Figure extends Name>(
  wanted: ReadonlySet<Name>,
  floor: Floor,
  figures: readonly Figure[],
): Set<Floor | Figure> {
  const chosen = figures.filter(name => wanted.has(name))
  return new Set(chosen.length > 0 || wanted.has('floors') ? [floor, ...chosen] : [])
}

await main()
