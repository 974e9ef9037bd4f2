/**
 * What the scenarios share: a tenant of its own for each test, with the calls that the tests make, and waiting for
 * what the service does in its own time.
 */
import { expect } from 'chai'
import { setTimeout as delay } from 'node:timers/promises'
import { createClient, type Client } from '#test/support/api-client.ts'

type Subscription = {
  id: string
  endpointId: string
  signingKey: string
  status: string
  statusReason?: string
  headers: Record<string, string>
  auth?: { username: string; password: string }
}

export type AcceptedEvent = { id: string; service: string; event: string; createdAt: string }

export type Delivery = {
  id: string
  eventId: string
  subscriptionId: string
  status: string
  statusReason?: string
  heldBy?: string
  attemptsCount: number
  nextAttemptAt?: string
  lastOutcome?: string
  lastResponseStatus?: number
  updatedAt: string
}

export type Attempt = {
  deliveryId: string
  number: number
  outcome: string
  requestsCount: number
  error?: string
  startedAt: string
  request: { method: string; url: string; headers: Record<string, string>; body: string | null } | null
  response: { status: number; headers: Record<string, string>; body: string; isTruncated: boolean } | null
}

export type Tenant = {
  workspaceId: string
  organizationId: string
  client: Client
  /** The path of its workspace. */
  path: string
  /** Its subscription to `sms.outbound` of channels, unless the fields say otherwise. */
  subscribe(url: string, fields?: Record<string, unknown>): Promise<Subscription>
  change(subscription: Subscription, fields: Record<string, unknown>): Promise<Subscription>
  find(subscription: Subscription): Promise<Subscription>
  remove(subscription: Subscription): Promise<void>
  /** Publishes an `sms.outbound` of channels, unless the fields say otherwise. */
  publish(payload: unknown, fields?: Record<string, unknown>): Promise<AcceptedEvent>
  /** Publishes `payloads` in one batch. */
  publishAll(payloads: readonly unknown[]): Promise<AcceptedEvent[]>
  /** All deliveries, newest first; or those that `query` selects, such as `eventId=…`. */
  deliveries(query?: string): Promise<Delivery[]>
  attempts(delivery: { id: string }): Promise<Attempt[]>
  /** The one delivery of the event, once it meets the condition. */
  delivery(
    event: { id: string },
    condition: (delivery: Delivery) => boolean,
    deadlineMs?: number,
  ): Promise<Delivery>
  /** The same tenant as a client of another process sees it. */
  through(client: Client): Tenant
}

/** A new organization with one workspace, made through the API by the operator. */
export async function createTenant(client: Client): Promise<Tenant> {
  const organization = await client.post<{ id: string }>('/organizations', { name: 'Acme' })
  expect(organization.status).to.equal(201)
  const workspace = await client.post<{ id: string }>(`/organizations/${organization.body.id}/workspaces`, {
    name: 'production',
  })
  expect(workspace.status).to.equal(201)
  return tenantOf(client, organization.body.id, workspace.body.id)
}

function tenantOf(client: Client, organizationId: string, workspaceId: string): Tenant {
  const path = `/workspaces/${workspaceId}`

  async function listAll<Item>(listPath: string, query: string): Promise<Item[]> {
    const items: Item[] = []
    let pageToken: string | undefined
    do {
      const page = pageToken === undefined ? '' : `&pageToken=${pageToken}`
      const reply = await client.get<{ results: Item[]; nextPageToken?: string }>(
        `${listPath}?limit=100${query === '' ? '' : `&${query}`}${page}`,
      )
      expect(reply.status, JSON.stringify(reply.body)).to.equal(200)
      items.push(...reply.body.results)
      pageToken = reply.body.nextPageToken
    } while (pageToken !== undefined)
    return items
  }

  const tenant: Tenant = {
    workspaceId,
    organizationId,
    client,
    path,
    async subscribe(url, fields = {}) {
      const body = { service: 'channels', event: 'sms.outbound', url, ...fields }
      return expectStatus(201, await client.post<Subscription>(`${path}/webhook-subscriptions`, body))
    },
    async change({ id }, fields) {
      return expectStatus(
        200,
        await client.patch<Subscription>(`${path}/webhook-subscriptions/${id}`, fields),
      )
    },
    async find({ id }) {
      return expectStatus(200, await client.get<Subscription>(`${path}/webhook-subscriptions/${id}`))
    },
    async remove({ id }) {
      expectStatus(204, await client.delete(`${path}/webhook-subscriptions/${id}`))
    },
    async publish(payload, fields = {}) {
      const body = { service: 'channels', event: 'sms.outbound', payload, ...fields }
      return expectStatus(202, await client.post<AcceptedEvent>(`${path}/events`, body))
    },
    async publishAll(payloads) {
      const events = payloads.map(payload => ({ service: 'channels', event: 'sms.outbound', payload }))
      const reply = await client.post<{ results: AcceptedEvent[] }>(`${path}/events/batch`, { events })
      return expectStatus(202, reply).results
    },
    deliveries: (query = '') => listAll(`${path}/deliveries`, query),
    async attempts({ id }) {
      const reply = await client.get<{ results: Attempt[] }>(`${path}/deliveries/${id}/attempts`)
      return expectStatus(200, reply).results
    },
    async delivery({ id }, condition, deadlineMs) {
      const found = await until(
        () => tenant.deliveries(`eventId=${id}`),
        ([delivery]) => delivery !== undefined && condition(delivery),
        deadlineMs,
      )
      expect(found).to.have.lengthOf(1)
      return found[0]!
    },
    through: other => tenantOf(other, organizationId, workspaceId),
  }
  return tenant
}

/** The operator's client of the service at `baseUrl`. */
export function createOperator(baseUrl: string, env: { OPERATOR_KEY: string }): Client {
  return createClient(baseUrl, env.OPERATOR_KEY)
}

function expectStatus<Body>(status: number, reply: { status: number; body: Body }): Body {
  expect(reply.status, JSON.stringify(reply.body)).to.equal(status)
  return reply.body
}

const lookIntervalMs = 20

/** What `read` gives as soon as it meets the condition. Fails with the last of it when the deadline (10 s) passes. */
export async function until<Value>(
  read: () => Promise<Value>,
  condition: (value: Value) => boolean,
  deadlineMs = 10_000,
): Promise<Value> {
  const endMs = performance.now() + deadlineMs
  for (;;) {
    const value = await read()
    if (condition(value)) return value
    if (performance.now() > endMs) {
      const seen = JSON.stringify(value)?.slice(0, 2_000)
      throw new Error(`The condition was not met within ${deadlineMs} ms; the last value was ${seen}`)
    }
    await delay(lookIntervalMs)
  }
}

export const isDelivered = ({ status }: { status: string }): boolean => status === 'delivered'
