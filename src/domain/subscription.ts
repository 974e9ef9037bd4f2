/**
 * A webhook subscription and its endpoint, as the rules and the readers see them.
 */
import type { BodyFormat } from './body.ts'
import type { SuccessStatus } from './outcome.ts'
import type { RetryPolicy } from './retry.ts'
import type { SignatureScheme } from './sign.ts'

/** One condition on an event; values of the same key are alternatives, different keys must all hold. */
export type EventFilter = { key: string; value: string }

export const methods = ['POST', 'PUT', 'PATCH', 'GET', 'DELETE'] as const
export type Method = (typeof methods)[number]

export type SubscriptionStatus = 'active' | 'inactive' | 'disabled'

export type Endpoint = {
  id: string
  url: string
  method: Method
  params: Record<string, string>
  headerNames: string[]
  authUsername: string | null
  signatures: SignatureScheme[]
  /** Null takes the service's default, as it is at each attempt. */
  timeoutMs: number | null
  retryPolicy: RetryPolicy | null
  successStatus: SuccessStatus
  status: 'active' | 'disabled'
  statusReason: string | null
}

export type Subscription = {
  id: string
  workspaceId: string
  organizationId: string
  service: string
  event: string
  eventFilters: EventFilter[]
  format: BodyFormat
  name: string | null
  description: string | null
  metadata: Record<string, string> | null
  status: 'active' | 'inactive'
  createdAt: Date
  updatedAt: Date
  endpoint: Endpoint
}

/** What cannot be read again once stored: it is kept encrypted and shown as `***`. */
export type EndpointSecrets = {
  headers: Record<string, string>
  password?: string
}

/** The status a reader sees: ours (`disabled`, with its reason) outranks the owner's. */
export function shownStatus(subscription: Subscription): {
  status: SubscriptionStatus
  statusReason?: string
} {
  const { endpoint } = subscription
  if (endpoint.status === 'active') return { status: subscription.status }
  return {
    status: 'disabled',
    ...(endpoint.statusReason === null ? {} : { statusReason: endpoint.statusReason }),
  }
}
