/**
 * One attempt: make the request, send it, judge the answer. Nothing here touches the database, so nothing of it is
 * held while the request is on the wire.
 */
import type { Deps } from '../deps.ts'
import { scheduled, stateAfterAttempt, untouched, type PendingDelivery } from '../domain/delivery.ts'
import { judge, type Judgement, type SendResult } from '../domain/outcome.ts'
import { makeRequest, type DeliveryRequest, type RenderableEvent } from '../domain/request.ts'
import { parseTargetUrl } from '../domain/target.ts'
import { SecretUnavailable } from '../keyring.ts'
import type { Claim } from './claims.ts'
import type { Ended, Flight, Settler } from './settle.ts'
import type { Slots } from './slots.ts'
import { makeReady, type ReadyTarget, type Target } from './targets.ts'

/** An attempt that may start as soon as it gets a slot. */
export type Departure = {
  claim: Claim
  delivery: PendingDelivery
  event: RenderableEvent
  target: Target
  flight: Flight
  isNew: boolean
}

/** When a busy endpoint's overflow comes back, spread so that it does not come back as one crowd. */
export function giveBackDelaySeconds(random: () => number): number {
  return 1 + random() * 3
}

type AttemptDeps = Pick<Deps, 'sender' | 'config' | 'ids' | 'keyring' | 'random' | 'log' | 'targetRules'> & {
  slots: Slots
  settler: Settler
}

/** Puts attempts in line; each ends in the settler, whatever happens to it. */
export function depart(deps: AttemptDeps, departures: readonly Departure[]): void {
  for (const departure of departures) {
    deps.slots.add({
      isRetry: !departure.isNew,
      endpointId: departure.delivery.endpointId,
      origin: departure.target.origin,
      start: () => makeAttempt(deps, departure).catch((error: unknown) => failedByUs(deps, departure, error)),
      giveBack: () => deps.settler.add(givenBack(deps, departure)),
    })
  }
}

async function makeAttempt(deps: AttemptDeps, departure: Departure): Promise<void> {
  const { target, claim, delivery } = departure
  const { endpoint } = target.subscription
  const startedAt = deps.ids.now()
  const ready = readyAt(target, startedAt) ?? (await tryMakeReady(deps, target, startedAt))
  if ('outcome' in ready) return deps.settler.add(toEnded(deps, departure, startedAt, undefined, ready))

  const { id, format, attemptsCount } = delivery
  const shape = { id, format, attemptNumber: attemptsCount + 1 }
  const request = makeRequest(ready.template, ready.material, departure.event, shape, startedAt)
  const deadlineMs = endpoint.timeoutMs ?? deps.config.deliveryTimeoutMs
  const result = await deps.sender.send({ ...request, deadlineMs }, { signal: claim.abort.signal })
  const judgement = judge(result, endpoint.successStatus, deps.ids.now())
  deps.settler.add(toEnded(deps, departure, startedAt, request, { ...judgement, result }))
}

/**
 * A fault of ours in the making of an attempt: not charged to the endpoint, and tried again after a pause, since the
 * process and the other deliveries must not suffer from it.
 */
function failedByUs(deps: AttemptDeps, departure: Departure, error: unknown): void {
  deps.log.error({ err: error, deliveryId: departure.delivery.id }, 'attempt.failed_by_us')
  const detail = 'The attempt failed by a fault of the service; the operator has its log.'
  const ending = { outcome: 'interrupted', retryAfterMs: undefined, isLocal: true, detail } as const
  deps.settler.add(toEnded(deps, departure, deps.ids.now(), undefined, ending))
}

/** How an attempt ended; without a result nothing was sent, and `detail` says why. */
type Ending = Judgement & ({ result: SendResult } | { detail: string })

/** What was made ready before, unless one of its signing keys has ended since. */
function readyAt({ ready }: Target, now: Date): ReadyTarget | undefined {
  return ready !== undefined && ready.validUntilMs > now.getTime() ? ready : undefined
}

/** What the endpoint needs before anything can be sent to it, or why nothing can be. */
async function tryMakeReady(deps: AttemptDeps, target: Target, now: Date): Promise<ReadyTarget | Ending> {
  const notSent = { retryAfterMs: undefined, isLocal: false }
  // Checked again, since the rules may have changed since the URL was stored.
  const checked = parseTargetUrl(target.subscription.endpoint.url, deps.targetRules)
  if ('fault' in checked) return { ...notSent, outcome: 'blocked_destination', detail: checked.fault }
  try {
    return (target.ready = await makeReady(deps, target, now.getTime()))
  } catch (error) {
    if (!(error instanceof SecretUnavailable)) throw error
    deps.log.error({ err: error, endpointId: target.subscription.endpoint.id }, 'endpoint.secret_unavailable')
    const detail = 'A signing key or header of the endpoint could not be decrypted; nothing is sent unsigned.'
    return { ...notSent, outcome: 'secret_unavailable', detail }
  }
}

function toEnded(
  deps: AttemptDeps,
  { claim, delivery, target, flight, isNew }: Departure,
  startedAt: Date,
  request: DeliveryRequest | undefined,
  ending: Ending,
): Ended {
  const { endpoint } = target.subscription
  const result = 'result' in ending ? ending.result : undefined
  const response = result?.kind === 'response' ? result : undefined
  const policy = endpoint.retryPolicy ?? deps.config.retryPolicy
  return {
    claim,
    flight,
    isNew,
    state: stateAfterAttempt(delivery, { ...ending, status: response?.status }, policy, deps.random),
    attempt: {
      workspaceId: delivery.workspaceId,
      deliveryId: delivery.id,
      number: delivery.attemptsCount + 1,
      outcome: ending.outcome,
      startedAt,
      durationMs: result?.durationMs ?? 0,
      requestsCount: result?.requestsCount ?? 0,
      remoteAddress: result?.remoteAddress ?? null,
      error: 'detail' in ending ? ending.detail : result?.kind === 'fault' ? result.detail : null,
      method: endpoint.method,
      url: request?.url ?? endpoint.url,
      requestHeaders: request?.headerLines ?? '',
      response: response ?? null,
    },
  }
}

/** An attempt that did not start: the delivery waits as a row, as if it had not been taken up. */
function givenBack(deps: AttemptDeps, { claim, delivery, flight, isNew }: Departure): Ended {
  const state = scheduled(untouched(delivery), giveBackDelaySeconds(deps.random))
  return { claim, flight, isNew, state }
}
