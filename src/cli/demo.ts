/**
 * `npm run demo`: the whole way of a webhook on this machine. Starts the service on a throw-away database and a
 * receiver beside it, makes a tenant with subscriptions, publishes the events of demo/events.ndjson, and shows each
 * delivery as the receiver verified it. Nothing stays behind.
 *
 * Exits 0 when everything that was wanted came, genuine, and nothing else did; else 1 with the reasons.
 */
import { chmod, mkdtemp, readFile, realpath, rm } from 'node:fs/promises'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { findFaults, isSame, isTaken, type Received, type Wanted } from './demo/check.ts'
import { startReceiver, type Reception } from './demo/receiver.ts'
import { startService } from './demo/service.ts'
import { callerOf, createTenant, type Call } from './demo/tenant.ts'
import { complain, say, sayHeading, sayReceived, sayRow } from './demo/transcript.ts'

const deadlineMs = 60_000

/** From the publish on: what has not come by then will not come. */
const arrivalTimeoutMs = 20_000

/** Who wants what; `gets` names events of demo/events.ndjson. */
const subscriptions: readonly DemoSubscription[] = [
  {
    name: 'support',
    event: 'whatsapp.inbound',
    eventFilters: [],
    gets: ['question', 'thanks'],
  },
  {
    name: 'receipts',
    event: 'sms.outbound',
    eventFilters: [
      { key: 'channelId', value: '404544c5-9920-45f1-8990-0855634ab7ac' },
      { key: 'messageStatus', value: 'delivered' },
    ],
    gets: ['sms-delivered'],
  },
  {
    name: 'archive',
    event: 'sms.outbound',
    eventFilters: [],
    settings: { format: 'standard' },
    gets: ['sms-accepted', 'sms-delivered', 'sms-other-channel'],
  },
  {
    name: 'clicks',
    event: 'email.interaction',
    eventFilters: [{ key: 'interactionType', value: 'clicked' }],
    // Its receiver is out of order at the first attempt.
    settings: { retryPolicy: { delays: [0, 1] } },
    gets: ['email-clicked'],
  },
]

type DemoSubscription = {
  name: string
  event: string
  eventFilters: { key: string; value: string }[]
  settings?: object
  gets: string[]
}

type DemoEvent = { id: string; service: string; event: string; payload: unknown }

const wanted: readonly Wanted[] = subscriptions.flatMap(({ name, gets }) =>
  gets.map(event => ({ event, subscription: name })),
)

// One that takes rights from their owner would lock PostgreSQL out of its own folder.
process.umask(0o077)

const stop = new AbortController()
let stoppedBy: NodeJS.Signals | undefined
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // Not `once`: a second Ctrl-C, or npm's copy of the first, must not cut the cleaning up short.
  process.on(signal, () => {
    stoppedBy ??= signal
    stop.abort(new Error(`it was stopped by ${signal}.`))
  })
}
// `npm run demo | head` closes the pipe.
process.stdout.on('error', error => stop.abort(error))
const deadline = setTimeout(() => {
  stop.abort(new Error(`it took longer than ${deadlineMs / 1_000} s.`))
}, deadlineMs)

try {
  const faults = await demonstrate(stop.signal)
  for (const fault of faults) complain(fault)
  if (faults.length > 0) process.exitCode = 1
} catch (error) {
  const reason: unknown = stop.signal.aborted ? stop.signal.reason : error
  complain(`The demo did not finish: ${reason instanceof Error ? reason.message : String(reason)}`)
  process.exitCode = stoppedBy === undefined ? 1 : 128 + constants.signals[stoppedBy]
}
clearTimeout(deadline)

/** Shows everything and returns what was wrong. Whatever it started has ended when it returns or throws. */
async function demonstrate(signal: AbortSignal): Promise<string[]> {
  const startedAtMs = performance.now()
  const events = await readEvents()
  await using cleanUp = new AsyncDisposableStack()

  const folder = await makeFolder()
  cleanUp.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 10 }))
  const service = await startService(folder, reason => stop.abort(reason))
  cleanUp.defer(() => service.stop())

  const receptions: Reception[] = []
  const signingKeys = new Map<string, string>()
  const receiver = await startReceiver({
    signingKeyOf: path => signingKeys.get(path) ?? '',
    answer: ({ path, attempt }) => (path === pathOf('clicks') && attempt === 1 ? 503 : 200),
    onReceived: reception => receptions.push(reception),
  })
  cleanUp.defer(() => receiver.close())

  say(`Starting a service with an embedded PostgreSQL in ${folder}`)
  await service.ready(signal)
  sayRow('service', service.url, `ready after ${secondsSince(startedAtMs)}`)
  sayRow('receiver', receiver.url)

  const { path, accessKey } = await createTenant(callerOf(service.url, service.operatorKey, signal))
  const call = callerOf(service.url, accessKey, signal)
  sayHeading('Subscriptions, each with its filters')
  for (const subscription of subscriptions) {
    const signingKey = await subscribe(call, path, receiver.url, subscription)
    signingKeys.set(pathOf(subscription.name), signingKey)
    sayRow(subscription.name, subscription.event, filtersOf(subscription))
  }

  sayHeading('Published')
  const published = await publish(call, path, events)
  for (const { id, service: name, event } of events) sayRow('', id, `${name} ${event}`)

  sayHeading('Received, as the receiver verified it')
  const received: Received[] = []
  const takeIn = () => {
    for (const reception of receptions.splice(0)) {
      received.push(toReceived(reception, published))
      sayReceived(received.at(-1)!)
    }
  }
  const isArrived = await untilTrue(signal, () => {
    takeIn()
    const isAllTaken = wanted.every(want => received.some(got => isSame(want, got) && isTaken(got)))
    return isAllTaken || received.some(({ answered }) => answered === 401)
  })
  const isSettled = isArrived && (await untilTrue(signal, () => isAllDelivered(call, path)))
  // What is on the wire ends before the service does, so nothing that was sent is missed.
  await service.stop()
  takeIn()

  sayHeading('Kept back by filters')
  for (const subscription of subscriptions) {
    const excluded = events.filter(
      ({ event, id }) => event === subscription.event && !subscription.gets.includes(id),
    )
    for (const { id } of excluded) sayRow(subscription.name, id)
  }

  const faults = findFaults(wanted, received)
  if (faults.length > 0) return faults
  if (!isSettled) return ['The service does not list as delivered what the receiver took.']
  const counts = `${wanted.length} deliveries in ${received.length} attempts`
  say(
    `\n${counts}, every signature valid, nothing missing and nothing else came: ${secondsSince(startedAtMs)}`,
  )
  return []
}

async function readEvents(): Promise<DemoEvent[]> {
  const text = await readFile(new URL('./demo/events.ndjson', import.meta.url), 'utf8')
  const lines = text.trim().split('\n')
  return lines.map(line => JSON.parse(line) as DemoEvent)
}

async function makeFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'hookseal-demo-')))
  // As root PostgreSQL runs as another user, who must be able to pass through, whatever the umask is.
  await chmod(folder, 0o711)
  return folder
}

/** Returns the signing key that the service made. */
async function subscribe(
  call: Call,
  path: string,
  receiverUrl: string,
  wish: DemoSubscription,
): Promise<string> {
  const { name, event, eventFilters, settings } = wish
  const url = receiverUrl + pathOf(name)
  const body = { service: 'channels', event, eventFilters, url, name, ...settings }
  return (await call<{ signingKey: string }>('POST', `${path}/webhook-subscriptions`, body)).signingKey
}

/** All in one request, so that they are matched together. Returns them by the id that the service gave. */
async function publish(
  call: Call,
  path: string,
  events: readonly DemoEvent[],
): Promise<Map<string, DemoEvent>> {
  const { results } = await call<{ results: { id: string }[] }>('POST', `${path}/events/batch`, { events })
  return new Map(results.map(({ id }, index) => [id, events[index]!]))
}

/** Whether the service counts exactly what is wanted, all of it delivered. */
async function isAllDelivered(call: Call, path: string): Promise<boolean> {
  const { results } = await call<{ results: { status: string }[] }>('GET', `${path}/deliveries?limit=100`)
  return results.length === wanted.length && results.every(({ status }) => status === 'delivered')
}

/** False when it has not become true in time. */
async function untilTrue(signal: AbortSignal, look: () => boolean | Promise<boolean>): Promise<boolean> {
  const endsAtMs = performance.now() + arrivalTimeoutMs
  while (!(await look())) {
    if (performance.now() > endsAtMs) return false
    await pause(20, undefined, { signal })
  }
  return true
}

/** In the demo's names. What was not published here keeps its id, and so counts as unwanted. */
function toReceived(
  { path, eventId, body, ...seen }: Reception,
  published: ReadonlyMap<string, DemoEvent>,
): Received {
  const event = published.get(eventId)
  const subscription = subscriptions.find(({ name }) => pathOf(name) === path)
  const isPayloadSame = event !== undefined && isDeepStrictEqual(payloadOf(body), event.payload)
  return { ...seen, event: event?.id ?? eventId, subscription: subscription?.name ?? path, isPayloadSame }
}

/** It is `payload` in a body of format `bird`, and `data` in one of format `standard`. */
function payloadOf(body: Buffer): unknown {
  const { payload, data } = JSON.parse(body.toString()) as { payload?: unknown; data?: unknown }
  return payload ?? data
}

/** With a query, which is part of what MessageBird-Signature signs. */
function pathOf(name: string): string {
  return `/hooks?subscription=${name}`
}

function filtersOf({ eventFilters }: DemoSubscription): string {
  if (eventFilters.length === 0) return 'all'
  return eventFilters.map(({ key, value }) => `${key} = ${value}`).join(' and ')
}

function secondsSince(startedAtMs: number): string {
  return `${((performance.now() - startedAtMs) / 1_000).toFixed(1)} s`
}
