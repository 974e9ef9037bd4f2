/** Deliveries and their attempts. */
import * as deliveries from '../../services/deliveries.ts'
import type { PageQuery } from '../../store/db.ts'
import { presentAttempt, presentDelivery, presentPage } from '../present.ts'
import type { Route } from '../route.ts'
import { moments } from './events.ts'

const read = { level: 'workspace', scope: 'deliveries:read' } as const

export const listDeliveries: Route = {
  method: 'get',
  path: '/deliveries',
  operationId: 'listDeliveries',
  summary: 'List deliveries',
  access: read,
  query: 'deliveries-query',
  replies: { 200: 'deliveries-page' },
  async handle({ deps, workspaceId, query }) {
    const { since, until, ...search } = query as PageQuery & Record<string, string | undefined>
    const page = await deliveries.listDeliveries(deps, workspaceId, {
      ...(search as PageQuery),
      ...moments(since, until),
    })
    return { status: 200, body: presentPage(page, presentDelivery) }
  },
}

export const getDelivery: Route = {
  method: 'get',
  path: '/deliveries/:id',
  operationId: 'getDelivery',
  summary: 'Get a delivery',
  access: read,
  replies: { 200: 'delivery' },
  async handle({ deps, workspaceId, id }) {
    return { status: 200, body: presentDelivery(await deliveries.getDelivery(deps, workspaceId, id)) }
  },
}

export const listAttempts: Route = {
  method: 'get',
  path: '/deliveries/:id/attempts',
  operationId: 'listAttempts',
  summary: 'List every attempt of a delivery, with its request and response',
  access: read,
  replies: { 200: 'attempts-page' },
  async handle({ deps, workspaceId, id }) {
    const attempts = await deliveries.listAttempts(deps, workspaceId, id)
    return { status: 200, body: { results: attempts.map(presentAttempt) } }
  },
}
