/** Webhook subscriptions, their logs, and the catalogue of what can be subscribed to. */
import type { DeliveryStatus } from '../../domain/delivery.ts'
import type { SubscriptionStatus } from '../../domain/subscription.ts'
import { listLogDetails, listLogs } from '../../services/deliveries.ts'
import { sendTestDelivery } from '../../services/test-delivery.ts'
import * as subscriptions from '../../services/webhook-subscriptions.ts'
import type { PageQuery } from '../../store/db.ts'
import {
  presentAttempt,
  presentAvailableWebhooks,
  presentLogEntry,
  presentPage,
  presentSubscription,
  presentTestDelivery,
} from '../present.ts'
import type { Route } from '../route.ts'

const read = { level: 'workspace', scope: 'subscriptions:read' } as const
const write = { level: 'workspace', scope: 'subscriptions:write' } as const

export const createSubscription: Route = {
  method: 'post',
  path: '/webhook-subscriptions',
  operationId: 'createWebhookSubscription',
  summary: 'Create a webhook subscription; its signing key is shown this once',
  access: write,
  body: 'webhook-subscription-create',
  replies: { 201: 'webhook-subscription-created' },
  async handle({ deps, workspaceId, body }) {
    const input = body as subscriptions.NewSubscriptionInput
    const { subscription, signingKey } = await subscriptions.createSubscription(deps, workspaceId, input)
    return {
      status: 201,
      headers: { location: `/workspaces/${workspaceId}/webhook-subscriptions/${subscription.id}` },
      body: { ...presentSubscription(deps.config, subscription), signingKey },
    }
  },
}

export const listSubscriptions: Route = {
  method: 'get',
  path: '/webhook-subscriptions',
  operationId: 'listWebhookSubscriptions',
  summary: 'List webhook subscriptions',
  access: read,
  query: 'webhook-subscriptions-query',
  replies: { 200: 'webhook-subscriptions-page' },
  async handle({ deps, workspaceId, query }) {
    const search = query as PageQuery & {
      service?: string
      event?: string
      status?: SubscriptionStatus
      url?: string
    }
    const page = await subscriptions.listSubscriptions(deps, workspaceId, search)
    return { status: 200, body: presentPage(page, item => presentSubscription(deps.config, item)) }
  },
}

export const getSubscription: Route = {
  method: 'get',
  path: '/webhook-subscriptions/:id',
  operationId: 'getWebhookSubscription',
  summary: 'Get a webhook subscription',
  access: read,
  replies: { 200: 'webhook-subscription' },
  async handle({ deps, workspaceId, id }) {
    const subscription = await subscriptions.getSubscription(deps, workspaceId, id)
    return { status: 200, body: presentSubscription(deps.config, subscription) }
  },
}

export const updateSubscription: Route = {
  method: 'patch',
  path: '/webhook-subscriptions/:id',
  operationId: 'updateWebhookSubscription',
  summary: 'Change a webhook subscription',
  access: write,
  body: 'webhook-subscription-patch',
  replies: { 200: 'webhook-subscription' },
  async handle({ deps, workspaceId, id, body }) {
    const patch = body as subscriptions.SubscriptionPatch
    const subscription = await subscriptions.updateSubscription(deps, workspaceId, id, patch)
    return { status: 200, body: presentSubscription(deps.config, subscription) }
  },
}

export const deleteSubscription: Route = {
  method: 'delete',
  path: '/webhook-subscriptions/:id',
  operationId: 'deleteWebhookSubscription',
  summary: 'Delete a webhook subscription; its pending deliveries are cancelled',
  access: write,
  replies: { 204: null },
  async handle({ deps, workspaceId, id }) {
    await subscriptions.removeSubscription(deps, workspaceId, id)
    return { status: 204 }
  },
}

export const rotateSigningKey: Route = {
  method: 'post',
  path: '/webhook-subscriptions/:id/rotate-signing-key',
  operationId: 'rotateSigningKey',
  summary: 'Replace the signing key; the old one signs too for the overlap',
  access: write,
  body: 'rotate-signing-key',
  isBodyOptional: true,
  replies: { 200: 'signing-key-rotated' },
  async handle({ deps, workspaceId, id, body }) {
    const input = body as { overlapSeconds?: number; signingKey?: string }
    const { signingKey, overlapEndsAt } = await subscriptions.rotateSigningKey(deps, workspaceId, id, input)
    return { status: 200, body: { signingKey, ...(overlapEndsAt === undefined ? {} : { overlapEndsAt }) } }
  },
}

export const testSubscription: Route = {
  method: 'post',
  path: '/webhook-subscriptions/:id/test',
  operationId: 'testWebhookSubscription',
  summary: 'Send a sample event to this subscription and wait for its first attempt',
  access: write,
  replies: { 200: 'test-result', 202: 'test-result' },
  async handle({ deps, workspaceId, id }) {
    const result = await sendTestDelivery(deps, workspaceId, id)
    return { status: result.attempt === undefined ? 202 : 200, body: presentTestDelivery(result) }
  },
}

export const listSubscriptionLogs: Route = {
  method: 'get',
  path: '/webhook-subscriptions/:id/logs',
  operationId: 'listWebhookSubscriptionLogs',
  summary: 'List what was delivered to a subscription, or was not',
  access: { level: 'workspace', scope: 'deliveries:read' },
  query: 'logs-query',
  replies: { 200: 'logs-page' },
  async handle({ deps, workspaceId, id, query }) {
    const page = await listLogs(
      deps,
      workspaceId,
      id,
      query as PageQuery & { executionStatus?: DeliveryStatus },
    )
    return { status: 200, body: presentPage(page, presentLogEntry) }
  },
}

export const listSubscriptionLogDetails: Route = {
  method: 'get',
  path: '/webhook-subscriptions/:id/logs/details',
  operationId: 'listWebhookSubscriptionLogDetails',
  summary: 'List every attempt of one event for a subscription',
  access: { level: 'workspace', scope: 'deliveries:read' },
  query: 'log-details-query',
  replies: { 200: 'log-details-page' },
  async handle({ deps, workspaceId, id, query }) {
    const { requestId } = query as { requestId: string }
    const attempts = await listLogDetails(deps, workspaceId, id, requestId)
    return {
      status: 200,
      body: { results: attempts.map(attempt => ({ requestId, attempt: presentAttempt(attempt) })) },
    }
  },
}

export const listAvailableWebhooks: Route = {
  method: 'get',
  path: '/available-webhooks',
  operationId: 'listAvailableWebhooks',
  summary: 'List the event types that can be subscribed to, with their filter keys',
  access: read,
  query: 'available-webhooks-query',
  replies: { 200: 'available-webhooks' },
  async handle({ deps, query }) {
    return {
      status: 200,
      body: presentAvailableWebhooks(deps.catalogue, (query as { service?: string }).service),
    }
  },
}
