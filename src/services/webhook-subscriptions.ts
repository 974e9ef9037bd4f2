/** Webhook subscriptions with the endpoints and signing keys that belong to them. */
import { randomBytes } from 'node:crypto'
import type { Deps } from '../deps.ts'
import type { BodyFormat } from '../domain/body.ts'
import { eventTypeFaults, normaliseFilters } from '../domain/catalogue.ts'
import type { SuccessStatus } from '../domain/outcome.ts'
import { retryPolicyFaults, type RetryPolicy } from '../domain/retry.ts'
import type { SignatureScheme } from '../domain/sign.ts'
import { newSigningKey, signingKeyFaults } from '../domain/signing-key.ts'
import type {
  EndpointSecrets,
  EventFilter,
  Method,
  Subscription,
  SubscriptionStatus,
} from '../domain/subscription.ts'
import { checkHeaders, checkParams, parseTargetUrl } from '../domain/target.ts'
import { AppError, invalid, notFound, type Fault } from '../errors.ts'
import type { Db, Page, PageQuery } from '../store/db.ts'
import * as endpoints from '../store/endpoints.ts'
import * as signingKeys from '../store/signing-keys.ts'
import * as subscriptions from '../store/webhook-subscriptions.ts'
import * as workspaces from '../store/workspaces.ts'
import { decryptEndpointSecrets, encryptEndpointSecrets, encryptSigningKey } from './endpoint-secrets.ts'

/** What an owner sets; anything left out keeps its value, or takes its default in a new subscription. */
type SubscriptionFields = {
  url?: string
  eventFilters?: EventFilter[] | null
  format?: BodyFormat
  name?: string | null
  description?: string | null
  metadata?: Record<string, string> | null
  signatures?: SignatureScheme[]
  method?: Method
  headers?: Record<string, string>
  params?: Record<string, string>
  auth?: { username: string; password: string } | null
  timeoutMs?: number | null
  retryPolicy?: RetryPolicy | null
  successStatus?: SuccessStatus
  signingKey?: string
}

export type NewSubscriptionInput = SubscriptionFields & { service: string; event: string; url: string }

export type SubscriptionPatch = SubscriptionFields & { status?: 'active' | 'inactive' }

/** How long a replaced signing key goes on signing where the caller does not say. */
const overlapSecondsDefault = 86_400

/** Keys that sign for one endpoint at once: each adds a signature, and receivers limit their headers. */
const signingKeysMax = 10

/** A secret that a reply hides; a request that sends it back keeps the old value. */
export const hidden = '***'

/** Creates a subscription. The signing key is in the reply and can never be read again. */
export async function createSubscription(
  deps: Deps,
  workspaceId: string,
  input: NewSubscriptionInput,
): Promise<{ subscription: Subscription; signingKey: string }> {
  const faults = eventTypeFaults(deps.catalogue, input.service, input.event, '')
  if (faults.length > 0) throw invalid(faults)
  const checked = checkFields(deps, input.service, input.event, input)
  const secrets = withNewSecrets({ headers: {} }, input)
  const ids = { subscription: deps.ids.next(), endpoint: deps.ids.next(), signingKey: deps.ids.next() }
  const signingKey = input.signingKey ?? newSigningKey(randomBytes)
  const encryptedKey = await encryptSigningKey(deps, workspaceId, ids.endpoint, ids.signingKey, signingKey)
  const encryptedSecrets = await encryptEndpointSecrets(deps, workspaceId, ids.endpoint, secrets)

  const subscription = await deps.db.transaction(async trx => {
    const version = await bumpVersion(trx, workspaceId)
    await limitIdentical(deps, trx, workspaceId, {
      ...input,
      filtersKey: checked.filters.key,
      exceptId: ids.subscription,
    })
    await endpoints.insert(trx, workspaceId, ids.endpoint, {
      url: checked.url!,
      method: input.method ?? 'POST',
      params: input.params ?? {},
      headerNames: Object.keys(secrets.headers),
      authUsername: input.auth?.username ?? null,
      secrets: encryptedSecrets,
      signatures: input.signatures ?? ['standard', 'bird'],
      timeoutMs: input.timeoutMs ?? null,
      retryPolicy: input.retryPolicy ?? null,
      successStatus: input.successStatus ?? '2xx',
    })
    await signingKeys.insert(trx, workspaceId, {
      id: ids.signingKey,
      endpointId: ids.endpoint,
      encrypted: encryptedKey,
    })
    await subscriptions.insert(trx, workspaceId, version, {
      id: ids.subscription,
      endpointId: ids.endpoint,
      service: input.service,
      event: input.event,
      eventFilters: checked.filters.filters,
      filtersKey: checked.filters.key,
      format: input.format ?? 'bird',
      name: input.name ?? null,
      description: input.description ?? null,
      metadata: input.metadata ?? null,
    })
    return (await subscriptions.find(trx, workspaceId, ids.subscription))!
  })
  return { subscription, signingKey }
}

export async function listSubscriptions(
  deps: Deps,
  workspaceId: string,
  query: PageQuery & { service?: string; event?: string; status?: SubscriptionStatus; url?: string },
): Promise<Page<Subscription>> {
  const target = query.url === undefined ? undefined : parseTargetUrl(query.url, deps.targetRules)
  // URLs are stored normalised: the spelling that a subscription was created with finds it too.
  const search = target !== undefined && 'href' in target ? { ...query, url: target.href } : query
  return subscriptions.list(deps.db, workspaceId, search)
}

export async function getSubscription(deps: Deps, workspaceId: string, id: string): Promise<Subscription> {
  return found(await subscriptions.find(deps.db, workspaceId, id))
}

/** Changes a subscription and its endpoint. Setting it active also takes it out of our own `disabled`. */
export async function updateSubscription(
  deps: Deps,
  workspaceId: string,
  id: string,
  patch: SubscriptionPatch,
): Promise<Subscription> {
  const changed = await deps.db.transaction(async trx => {
    const version = await bumpVersion(trx, workspaceId)
    const before = found(await subscriptions.find(trx, workspaceId, id))
    const eventFilters = patch.eventFilters === undefined ? before.eventFilters : patch.eventFilters
    const checked = checkFields(deps, before.service, before.event, { ...patch, eventFilters })
    await limitIdentical(deps, trx, workspaceId, { ...before, filtersKey: checked.filters.key, exceptId: id })
    await changeEndpoint(deps, trx, workspaceId, before, patch, checked.url)
    await subscriptions.update(trx, workspaceId, version, id, {
      eventFilters: checked.filters.filters,
      filtersKey: checked.filters.key,
      format: patch.format ?? before.format,
      name: patch.name === undefined ? before.name : patch.name,
      description: patch.description === undefined ? before.description : patch.description,
      metadata: patch.metadata === undefined ? before.metadata : patch.metadata,
      status: patch.status ?? before.status,
    })
    if (patch.signingKey !== undefined) {
      await replaceSigningKey(
        deps,
        trx,
        workspaceId,
        before.endpoint.id,
        patch.signingKey,
        overlapSecondsDefault,
      )
    }
    if (patch.status === 'active') {
      await endpoints.setStatus(trx, workspaceId, before.endpoint.id, 'active', null)
      await deps.queue.enqueueRelease(trx, { workspaceId, subscriptionId: id })
    }
    return found(await subscriptions.find(trx, workspaceId, id))
  })
  deps.wake.notify()
  return changed
}

/** Removes a subscription; its pending deliveries are cancelled soon after, its history stays readable. */
export async function removeSubscription(deps: Deps, workspaceId: string, id: string): Promise<void> {
  await deps.db.transaction(async trx => {
    const version = await bumpVersion(trx, workspaceId)
    if (!(await subscriptions.remove(trx, workspaceId, version, id))) throw notFound('webhook subscription')
    await deps.queue.enqueueRelease(trx, { workspaceId, subscriptionId: id })
  })
  deps.wake.notify()
}

/**
 * Replaces the signing key. For `overlapSeconds` the old one signs too, so that receivers can change over; 0
 * switches at once.
 */
export async function rotateSigningKey(
  deps: Deps,
  workspaceId: string,
  id: string,
  input: { overlapSeconds?: number; signingKey?: string },
): Promise<{ signingKey: string; overlapEndsAt: Date | undefined }> {
  const faults = input.signingKey === undefined ? [] : signingKeyFaults(input.signingKey, '/signingKey')
  if (faults.length > 0) throw invalid(faults)
  const signingKey = input.signingKey ?? newSigningKey(randomBytes)
  const overlapSeconds = input.overlapSeconds ?? overlapSecondsDefault

  return deps.db.transaction(async trx => {
    const version = await bumpVersion(trx, workspaceId)
    const { endpoint } = found(await subscriptions.find(trx, workspaceId, id))
    const overlapEndsAt = await replaceSigningKey(
      deps,
      trx,
      workspaceId,
      endpoint.id,
      signingKey,
      overlapSeconds,
    )
    await subscriptions.touchByEndpoint(trx, workspaceId, version, endpoint.id)
    return { signingKey, overlapEndsAt: overlapSeconds === 0 ? undefined : overlapEndsAt }
  })
}

async function replaceSigningKey(
  deps: Deps,
  trx: Db,
  workspaceId: string,
  endpointId: string,
  signingKey: string,
  overlapSeconds: number,
): Promise<Date> {
  const signing = await signingKeys.listUsable(trx, workspaceId, [endpointId])
  if (overlapSeconds > 0 && signing.length >= signingKeysMax) {
    throw new AppError(
      'conflict',
      `${signingKeysMax} keys sign for this endpoint already; rotate with overlapSeconds 0 to end them, or wait until one has ended.`,
    )
  }
  const overlapEndsAt = new Date(deps.ids.now().getTime() + overlapSeconds * 1_000)
  await signingKeys.retire(trx, workspaceId, endpointId, overlapEndsAt)
  const id = deps.ids.next()
  const encrypted = await encryptSigningKey(deps, workspaceId, endpointId, id, signingKey)
  await signingKeys.insert(trx, workspaceId, { id, endpointId, encrypted })
  return overlapEndsAt
}

async function changeEndpoint(
  deps: Deps,
  trx: Db,
  workspaceId: string,
  { endpoint }: Subscription,
  patch: SubscriptionPatch,
  url: string | undefined,
): Promise<void> {
  const stored = await subscriptions.findSecrets(trx, workspaceId, endpoint.id)
  const before = await decryptEndpointSecrets(deps, workspaceId, endpoint.id, stored)
  const secrets = withNewSecrets(before, patch)
  await endpoints.update(trx, workspaceId, endpoint.id, {
    url: url ?? endpoint.url,
    method: patch.method ?? endpoint.method,
    params: patch.params ?? endpoint.params,
    headerNames: Object.keys(secrets.headers),
    authUsername: patch.auth === undefined ? endpoint.authUsername : (patch.auth?.username ?? null),
    secrets: await encryptEndpointSecrets(deps, workspaceId, endpoint.id, secrets),
    signatures: patch.signatures ?? endpoint.signatures,
    timeoutMs: patch.timeoutMs === undefined ? endpoint.timeoutMs : patch.timeoutMs,
    retryPolicy: patch.retryPolicy === undefined ? endpoint.retryPolicy : patch.retryPolicy,
    successStatus: patch.successStatus ?? endpoint.successStatus,
  })
}

/** The secrets after a change; a hidden value that comes back unchanged keeps what it stands for. */
function withNewSecrets(before: EndpointSecrets, fields: SubscriptionFields): EndpointSecrets {
  const faults: Fault[] = []
  const headers: Record<string, string> = {}
  const oldValues = new Map(
    Object.entries(before.headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
  for (const [name, value] of Object.entries(fields.headers ?? before.headers)) {
    const kept = value === hidden ? oldValues.get(name.toLowerCase()) : value
    if (kept === undefined)
      faults.push({
        pointer: headerPointer(name),
        detail: `has no earlier value that "${hidden}" could keep`,
      })
    else headers[name] = kept
  }
  const isPasswordKept = fields.auth === undefined || fields.auth?.password === hidden
  const password = isPasswordKept ? before.password : fields.auth?.password
  if (fields.auth?.password === hidden && password === undefined) {
    faults.push({ pointer: '/auth/password', detail: `has no earlier value that "${hidden}" could keep` })
  }
  if (faults.length > 0) throw invalid(faults)
  return { headers, ...(password === undefined ? {} : { password }) }
}

type CheckedFields = { url: string | undefined; filters: { filters: EventFilter[]; key: string } }

function checkFields(deps: Deps, service: string, event: string, fields: SubscriptionFields): CheckedFields {
  const faults: Fault[] = []
  let url: string | undefined
  if (fields.url !== undefined) {
    const target = parseTargetUrl(fields.url, deps.targetRules)
    if ('fault' in target) faults.push({ pointer: '/url', detail: target.fault })
    else url = target.href
  }
  for (const { name, detail } of checkHeaders(fields.headers ?? {}))
    faults.push({ pointer: headerPointer(name), detail })
  for (const { name, detail } of checkParams(fields.params ?? {})) {
    faults.push({ pointer: name === '' ? '/params' : `/params/${escapePointer(name)}`, detail })
  }
  if (
    fields.auth != null &&
    Object.keys(fields.headers ?? {}).some(name => name.toLowerCase() === 'authorization')
  ) {
    faults.push({
      pointer: '/auth',
      detail: 'makes the Authorization header, which headers sets too; give one of them',
    })
  }
  if (fields.auth?.username.includes(':')) {
    faults.push({ pointer: '/auth/username', detail: 'must not contain a colon (RFC 7617 §2)' })
  }
  if (fields.signingKey !== undefined) faults.push(...signingKeyFaults(fields.signingKey, '/signingKey'))
  if (fields.retryPolicy != null) faults.push(...retryPolicyFaults(fields.retryPolicy, '/retryPolicy'))
  const filters = normaliseFilters(deps.catalogue.find(service, event)!, fields.eventFilters ?? [])
  if (Array.isArray(filters)) faults.push(...filters)
  if (faults.length > 0 || Array.isArray(filters)) throw invalid(faults)
  return { url, filters }
}

function headerPointer(name: string): string {
  return name === '' ? '/headers' : `/headers/${escapePointer(name)}`
}

function escapePointer(token: string): string {
  return token.replaceAll('~', '~0').replaceAll('/', '~1')
}

/** Exact, because every change of the workspace's subscriptions bumps its version first and waits for that row. */
async function limitIdentical(
  deps: Deps,
  trx: Db,
  workspaceId: string,
  wanted: { service: string; event: string; filtersKey: string; exceptId: string },
): Promise<void> {
  const { service, event, filtersKey, exceptId } = wanted
  const count = await subscriptions.countIdentical(trx, workspaceId, { service, event, filtersKey, exceptId })
  const max = deps.config.identicalSubscriptionsMax
  if (count >= max) {
    throw new AppError(
      'too_many_identical_subscriptions',
      `${max} subscriptions of this workspace already ask for ${service} ${event} with the same filters; change or delete one of them.`,
    )
  }
}

async function bumpVersion(trx: Db, workspaceId: string): Promise<number> {
  const version = await workspaces.bumpVersion(trx, workspaceId)
  if (version === undefined) throw notFound('workspace')
  return version
}

function found(subscription: Subscription | undefined): Subscription {
  if (subscription === undefined) throw notFound('webhook subscription')
  return subscription
}
