/**
 * Resources as the API shows them. Every member is named here, so that a new column cannot leak.
 */
import type { Catalogue } from '../domain/catalogue.ts'
import type { Delivery } from '../domain/delivery.ts'
import type { EventSummary, StoredEvent } from '../domain/event.ts'
import { shownStatus, type Subscription } from '../domain/subscription.ts'
import type { AccessKey, Organization, TrustedIssuer, Workspace } from '../domain/tenancy.ts'
import { hashedId, timeOfId } from '../ids.ts'
import type { ShownAttempt } from '../services/deliveries.ts'
import type { AcceptedEvent } from '../services/events.ts'
import type { TestDelivery } from '../services/test-delivery.ts'
import { hidden } from '../services/webhook-subscriptions.ts'
import type { Config } from '../config.ts'
import type { Page } from '../store/db.ts'

export function presentPage<Item, Shown>(page: Page<Item>, present: (item: Item) => Shown) {
  return { ...page, results: page.results.map(present) }
}

export function presentOrganization({ id, name, createdAt, updatedAt }: Organization) {
  return { id, name, createdAt, updatedAt }
}

export function presentWorkspace({ id, organizationId, name, createdAt, updatedAt }: Workspace) {
  return { id, organizationId, name, createdAt, updatedAt }
}

export function presentAccessKey({
  id,
  organizationId,
  workspaceId,
  name,
  scopes,
  hint,
  expiresAt,
  createdAt,
}: AccessKey) {
  return {
    id,
    organizationId,
    ...given({ workspaceId }),
    name,
    scopes,
    hint,
    ...given({ expiresAt }),
    createdAt,
  }
}

export function presentTrustedIssuer(trusted: TrustedIssuer) {
  const {
    id,
    organizationId,
    workspaceId,
    issuer,
    audience,
    jwksUrl,
    jwks,
    algorithms,
    scopes,
    scopeClaim,
    createdAt,
  } = trusted
  return {
    id,
    organizationId,
    ...given({ workspaceId }),
    issuer,
    audience,
    ...given({ jwksUrl, jwks }),
    algorithms,
    scopes,
    scopeClaim,
    createdAt,
  }
}

export function presentAvailableWebhooks(catalogue: Catalogue, service: string | undefined) {
  const services = catalogue.services().filter(name => service === undefined || name === service)
  return {
    results: services.map(name => ({
      service: name,
      events: catalogue.eventsOf(name).map(eventType => ({
        name: eventType.name,
        description: eventType.description,
        filterKeys: eventType.filterKeys.map(({ key }) => key),
        filters: eventType.filterKeys,
      })),
    })),
  }
}

/** A subscription with what its endpoint really does: settings it leaves open are shown as the service's. */
export function presentSubscription(config: Config, subscription: Subscription) {
  const { endpoint } = subscription
  return {
    id: subscription.id,
    organizationId: subscription.organizationId,
    workspaceId: subscription.workspaceId,
    endpointId: endpoint.id,
    service: subscription.service,
    event: subscription.event,
    url: endpoint.url,
    eventFilters: subscription.eventFilters,
    format: subscription.format,
    ...given({
      name: subscription.name,
      description: subscription.description,
      metadata: subscription.metadata,
    }),
    signatures: endpoint.signatures,
    method: endpoint.method,
    headers: Object.fromEntries(endpoint.headerNames.map(name => [name, hidden])),
    params: endpoint.params,
    ...given({
      auth: endpoint.authUsername === null ? null : { username: endpoint.authUsername, password: hidden },
    }),
    timeoutMs: endpoint.timeoutMs ?? config.deliveryTimeoutMs,
    retryPolicy: endpoint.retryPolicy ?? config.retryPolicy,
    successStatus: endpoint.successStatus,
    ...shownStatus(subscription),
    createdAt: subscription.createdAt,
    updatedAt: subscription.updatedAt,
  }
}

export function presentAcceptedEvent({ id, service, event, createdAt }: AcceptedEvent) {
  return { id, service, event, createdAt }
}

export function presentEventSummary(summary: EventSummary & { deliveriesCount: number }) {
  const { id, externalId, service, event, occurredAt, deliveriesCount } = summary
  const createdAt = timeOfId(id)
  return {
    id,
    ...given({ externalId }),
    service,
    event,
    occurredAt: occurredAt ?? createdAt,
    createdAt,
    deliveriesCount,
  }
}

/** The single read of an event as JSON text: the payload stands in it byte for byte as it was published. */
export function eventText(event: StoredEvent & { deliveriesCount: number }): string {
  return `${JSON.stringify(presentEventSummary(event)).slice(0, -1)},"payload":${event.payload.toString()}}`
}

export function presentDelivery(delivery: Delivery) {
  const { id, eventId, subscriptionId, endpointId, service, event, status, attemptsCount, updatedAt } =
    delivery
  const { statusReason, heldBy, nextAttemptAt, lastOutcome, lastResponseStatus } = delivery
  return {
    id,
    eventId,
    subscriptionId,
    endpointId,
    service,
    event,
    status,
    ...given({ statusReason, heldBy }),
    attemptsCount,
    ...given({ nextAttemptAt, lastOutcome, lastResponseStatus }),
    createdAt: timeOfId(id),
    updatedAt,
  }
}

export function presentAttempt(attempt: ShownAttempt) {
  const { deliveryId, number, outcome, startedAt } = attempt
  const start = { id: hashedId(`attempt-of/${deliveryId}/${number}`), deliveryId, number, outcome, startedAt }
  if (!('request' in attempt)) return { ...start, requestsCount: 1, request: null, response: null }
  const { durationMs, requestsCount, remoteAddress, error, request, requestBody, response } = attempt
  return {
    ...start,
    durationMs,
    requestsCount,
    ...given({ remoteAddress, error }),
    request: {
      method: request.method,
      url: request.url,
      headers: presentHeaders(request.headers),
      body: requestBody,
    },
    response: response && {
      status: response.status,
      headers: presentHeaders(response.headers),
      body: response.body.toString(),
      isTruncated: response.isTruncated,
    },
  }
}

export function presentLogEntry(delivery: Delivery) {
  const { id, eventId, service, event, status, attemptsCount, updatedAt, lastOutcome, lastResponseStatus } =
    delivery
  return {
    requestId: eventId,
    deliveryId: id,
    service,
    event,
    executionStatus: status,
    attemptsCount,
    ...given({ lastOutcome, lastResponseStatus }),
    createdAt: timeOfId(id),
    updatedAt,
  }
}

export function presentTestDelivery({ eventId, delivery, attempt }: TestDelivery) {
  return {
    eventId,
    ...(delivery === undefined ? {} : { delivery: presentDelivery(delivery) }),
    ...(attempt === undefined ? {} : { attempt: presentAttempt(attempt) }),
  }
}

/** Names come in lower case; one that came more than once has a list of values. */
function presentHeaders(headers: readonly [string, string][]): Record<string, string | string[]> {
  const byName = Map.groupBy(headers, ([name]) => name)
  return Object.fromEntries(
    [...byName].map(([name, pairs]) => [
      name,
      pairs.length === 1 ? pairs[0]![1] : pairs.map(([, value]) => value),
    ]),
  )
}

/** Only the members that have a value: what is not there is left out, never null. */
function given<Members extends Record<string, unknown>>(
  members: Members,
): { [Name in keyof Members]?: NonNullable<Members[Name]> } {
  const entries = Object.entries(members).filter(([, value]) => value !== null && value !== undefined)
  return Object.fromEntries(entries) as { [Name in keyof Members]?: NonNullable<Members[Name]> }
}
