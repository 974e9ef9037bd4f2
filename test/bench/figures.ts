/** The figures of a run, the aims for them, and the table that people read. */

export type Throughput = {
  perSecond: number
  /** To the floor of the same run. */
  ratio: number
}

/** What `--json` prints. With `--only`, what was not measured is undefined, which JSON leaves out. */
export type Figures = {
  floors: {
    /** undici alone, signed POSTs. */
    sendPerSecond: number | undefined
    /** Koa alone, requests. */
    publishPerSecond: number | undefined
  }
  publishSingle: Throughput | undefined
  /** Events, not requests. */
  publishBatch: Throughput | undefined
  drain1: Throughput | undefined
  drain10: Throughput | undefined
  latencyMs: { p50: number; p99: number } | undefined
}

const aims = { publishSingle: 0.25, drain1: 0.3, drain10: 0.55, latencyP50Ms: 15 }

/** A figure and its ratio to the floor, or undefined when it was not measured. */
export function throughput(perSecond: number | undefined, floor: number | undefined): Throughput | undefined {
  if (perSecond === undefined || floor === undefined) return undefined
  return { perSecond: rounded(perSecond), ratio: rounded(perSecond / floor, 3) }
}

/** To so many decimals, none by default: more would only look exact. */
export function rounded<Value extends number | undefined>(value: Value, decimals = 0): Value {
  return (value === undefined ? undefined : Number(value.toFixed(decimals))) as Value
}

/** One line per figure: value, ratio to its floor, aim, and whether it is met. */
export function renderTable(figures: Figures): string {
  const { floors, latencyMs } = figures
  const lines = [
    ['', 'per second', 'ratio', 'aim', ''],
    floorLine('floor: send (undici alone)', floors.sendPerSecond),
    floorLine('floor: publish (Koa alone)', floors.publishPerSecond),
    throughputLine('publish, single', figures.publishSingle, aims.publishSingle),
    throughputLine('publish, batches of 100', figures.publishBatch),
    throughputLine('drain, fan-out 1', figures.drain1, aims.drain1),
    throughputLine('drain, fan-out 10', figures.drain10, aims.drain10),
    latencyMs && ['', 'ms', '', 'aim', ''],
    latencyMs && latencyLine('latency, p50', latencyMs.p50, aims.latencyP50Ms),
    latencyMs && latencyLine('latency, p99', latencyMs.p99),
  ]
  return lines
    .filter(line => line !== undefined)
    .map(([name = '', ...cells]) => name.padEnd(28) + cells.map(cell => cell.padStart(12)).join(''))
    .map(line => line.trimEnd())
    .join('\n')
}

function floorLine(name: string, perSecond: number | undefined): string[] | undefined {
  return perSecond === undefined ? undefined : [name, perSecond.toFixed(0)]
}

function throughputLine(
  name: string,
  figure: Throughput | undefined,
  ratioMin?: number,
): string[] | undefined {
  if (figure === undefined) return undefined
  const aim = ratioMin === undefined ? [] : [`>= ${ratioMin.toFixed(2)}`, met(figure.ratio >= ratioMin)]
  return [name, figure.perSecond.toFixed(0), figure.ratio.toFixed(2), ...aim]
}

function latencyLine(name: string, ms: number, msMax?: number): string[] {
  return [name, ms.toFixed(1), '', ...(msMax === undefined ? [] : [`<= ${msMax}`, met(ms <= msMax)])]
}

function met(isMet: boolean): string {
  return isMet ? 'met' : 'missed'
}
