/**
 * The subscriptions of each workspace as the worker holds them in memory: indexed for matching, with what is needed
 * to send to their endpoints. Read again from the version on where the workspace has changed, never on a timer: a
 * batch of work first reads the versions, so a subscription that was there before an event is always seen.
 */
import type { Deps } from '../deps.ts'
import { createMatchIndex, type Condition, type Matchable, type MatchIndex } from '../domain/match.ts'
import { makeTemplate, type RequestTemplate } from '../domain/request.ts'
import { prepareKeys, type SigningMaterial } from '../domain/sign.ts'
import type { Subscription } from '../domain/subscription.ts'
import { decryptEndpointSecrets, decryptSigningKey } from '../services/endpoint-secrets.ts'
import * as signingKeys from '../store/signing-keys.ts'
import * as subscriptions from '../store/webhook-subscriptions.ts'
import * as workspaces from '../store/workspaces.ts'

/** A subscription as the worker needs it. */
export type Target = Matchable & {
  subscription: Subscription
  origin: string
  /** Everything for a request, decrypted; made at the first delivery. */
  ready: ReadyTarget | undefined
  secrets: string | null
  keys: signingKeys.StoredSigningKey[]
}

export type ReadyTarget = {
  template: RequestTemplate
  material: SigningMaterial
  /** When the next of its signing keys ends; then it is made again. */
  validUntilMs: number
}

export type TargetIndex = MatchIndex<Target>

export type Targets = {
  /** The indexes of these workspaces as they are now; a removed workspace has none. */
  load(workspaceIds: readonly string[]): Promise<Map<string, TargetIndex>>
}

/** Subscriptions held in memory at most, over all workspaces; beyond it the least used workspaces are dropped. */
const targetsMax = 500_000

type Held = { version: number; index: TargetIndex }

/** For one caller at a time, which the worker's loop is. */
export function createTargets(deps: Pick<Deps, 'db' | 'catalogue'>): Targets {
  const held = new Map<string, Held>()

  async function readChanges(workspaceId: string, entry: Held, version: number): Promise<void> {
    const changed = await subscriptions.listChangedSince(deps.db, workspaceId, entry.version)
    const live = changed.filter(subscription => !subscription.isDeleted)
    const keys = await signingKeys.listUsable(
      deps.db,
      workspaceId,
      live.map(({ endpoint }) => endpoint.id),
    )
    const keysByEndpoint = Map.groupBy(keys, key => key.endpointId)
    for (const subscription of changed) {
      if (subscription.isDeleted) entry.index.remove(subscription.id)
      else entry.index.put(toTarget(deps, subscription, keysByEndpoint.get(subscription.endpoint.id) ?? []))
    }
    entry.version = version
  }

  function dropLeastUsed(): void {
    let total = 0
    // A workspace without subscriptions takes room too.
    for (const { index } of held.values()) total += index.size + 1
    for (const [workspaceId, { index }] of held) {
      if (total <= targetsMax || held.size === 1) return
      held.delete(workspaceId)
      total -= index.size + 1
    }
  }

  return {
    async load(workspaceIds) {
      const versions = await workspaces.listVersions(deps.db, workspaceIds)
      const indexes = new Map<string, TargetIndex>()
      for (const { id, version, isDeleted } of versions) {
        const entry = held.get(id) ?? { version: 0, index: createMatchIndex<Target>() }
        held.delete(id)
        if (isDeleted) continue
        held.set(id, entry) // Last in the map means used last.
        if (entry.version < version) await readChanges(id, entry, version)
        indexes.set(id, entry.index)
      }
      dropLeastUsed()
      return indexes
    },
  }
}

function toTarget(
  { catalogue }: Pick<Deps, 'catalogue'>,
  changed: subscriptions.ChangedSubscription,
  keys: signingKeys.StoredSigningKey[],
): Target {
  const { createdVersion, secrets, ...subscription } = changed
  const { id, service, event, endpoint } = subscription
  return {
    id,
    service,
    event,
    createdVersion,
    conditions: toConditions(catalogue, subscription),
    subscription,
    origin: new URL(endpoint.url).origin,
    ready: undefined,
    secrets,
    keys,
  }
}

function toConditions(
  catalogue: Deps['catalogue'],
  { service, event, eventFilters }: Subscription,
): Condition[] {
  const keys = catalogue.find(service, event)?.filterKeys ?? []
  const byKey = Map.groupBy(eventFilters, filter => filter.key)
  return [...byKey].map(([key, filters]) => ({
    // A key that the catalogue no longer knows matches nothing, which is what a filter on it would have meant.
    path: keys.find(known => known.key === key)?.path ?? `/${key}`,
    values: new Set(filters.map(filter => filter.value)),
  }))
}

/** What keeps deliveries to this target from being attempted now. Our own decision outranks the owner's. */
export function holderOf({ subscription }: Target): 'endpoint' | 'paused' | undefined {
  if (subscription.endpoint.status === 'disabled') return 'endpoint'
  return subscription.status === 'inactive' ? 'paused' : undefined
}

/** What is needed for a request, decrypted. Throws SecretUnavailable. */
export async function makeReady(
  deps: Pick<Deps, 'keyring'>,
  { subscription: { workspaceId, endpoint }, keys, secrets }: Target,
  nowMs: number,
): Promise<ReadyTarget> {
  const usable = keys.filter(({ expiresAt }) => expiresAt === null || expiresAt.getTime() > nowMs)
  const plain = await Promise.all(
    usable.map(key => decryptSigningKey(deps, workspaceId, endpoint.id, key.id, key.encrypted)),
  )
  return {
    template: makeTemplate(endpoint, await decryptEndpointSecrets(deps, workspaceId, endpoint.id, secrets)),
    material: prepareKeys(plain),
    validUntilMs: Math.min(
      Infinity,
      ...usable.flatMap(({ expiresAt }) => (expiresAt === null ? [] : [expiresAt.getTime()])),
    ),
  }
}
