/** Publishing events, and reading them back. */
import { rawPaths } from '../../domain/json.ts'
import { invalid } from '../../errors.ts'
import { listDeliveriesOfEvent } from '../../services/deliveries.ts'
import * as events from '../../services/events.ts'
import type { PageQuery } from '../../store/db.ts'
import {
  eventText,
  presentAcceptedEvent,
  presentDelivery,
  presentEventSummary,
  presentPage,
} from '../present.ts'
import type { Route, RouteRequest } from '../route.ts'

const publish = { level: 'workspace', scope: 'events:publish' } as const
const read = { level: 'workspace', scope: 'events:read' } as const

/** What an event may have around its payload. */
const envelopeBytesMax = 65_536

export const publishEvent: Route = {
  method: 'post',
  path: '/events',
  operationId: 'publishEvent',
  summary: 'Publish an event',
  access: publish,
  body: 'event-publish',
  rawPaths: rawPaths('/payload'),
  bodyBytesMax: ({ eventBytesMax }) => eventBytesMax + envelopeBytesMax,
  replies: { 202: 'event-accepted' },
  async handle(request) {
    const { deps, workspaceId, body } = request
    const input = body as events.EventInput
    const accepted = await events.publishEvent(deps, workspaceId, input, idempotencyKey(request))
    return { status: 202, body: presentAcceptedEvent(accepted) }
  },
}

export const publishBatch: Route = {
  method: 'post',
  path: '/events/batch',
  operationId: 'publishEvents',
  summary: 'Publish up to 1,000 events, all or none',
  access: publish,
  body: 'event-batch',
  rawPaths: rawPaths('/events/[]/payload'),
  bodyBytesMax: ({ batchBytesMax }) => batchBytesMax,
  replies: { 202: 'event-batch-accepted' },
  async handle(request) {
    const { deps, workspaceId, body } = request
    const inputs = (body as { events: events.EventInput[] }).events
    const accepted = await events.publishBatch(deps, workspaceId, inputs, idempotencyKey(request))
    return { status: 202, body: { results: accepted.map(presentAcceptedEvent) } }
  },
}

export const listEvents: Route = {
  method: 'get',
  path: '/events',
  operationId: 'listEvents',
  summary: 'List events',
  access: read,
  query: 'events-query',
  replies: { 200: 'events-page' },
  async handle({ deps, workspaceId, query }) {
    const { since, until, ...search } = query as PageQuery & Record<string, string | undefined>
    const page = await events.listEvents(deps, workspaceId, {
      ...(search as PageQuery),
      ...moments(since, until),
    })
    return { status: 200, body: presentPage(page, presentEventSummary) }
  },
}

export const getEvent: Route = {
  method: 'get',
  path: '/events/:id',
  operationId: 'getEvent',
  summary: 'Get an event with its payload as it was published',
  access: read,
  replies: { 200: 'event' },
  async handle({ deps, workspaceId, id }) {
    return { status: 200, text: eventText(await events.getEvent(deps, workspaceId, id)) }
  },
}

export const listEventDeliveries: Route = {
  method: 'get',
  path: '/events/:id/deliveries',
  operationId: 'listEventDeliveries',
  summary: 'List the deliveries of an event',
  access: { level: 'workspace', scope: 'deliveries:read' },
  query: 'page-query',
  replies: { 200: 'deliveries-page' },
  async handle({ deps, workspaceId, id, query }) {
    const page = await listDeliveriesOfEvent(deps, workspaceId, id, query as PageQuery)
    return { status: 200, body: presentPage(page, presentDelivery) }
  },
}

export function moments(
  since: string | undefined,
  until: string | undefined,
): { since?: Date; until?: Date } {
  return {
    ...(since === undefined ? {} : { since: moment(since) }),
    ...(until === undefined ? {} : { until: moment(until) }),
  }
}

/** Ids hold no time before 1970 (RFC 9562 §5.7): nothing is older, so an earlier moment stands for that one. */
function moment(text: string): Date {
  return new Date(Math.max(0, Date.parse(text)))
}

/** `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header §2.1): a structured string, its quotes optional. */
function idempotencyKey({ header }: RouteRequest): string | undefined {
  const given = header('idempotency-key')
  if (given === undefined) return undefined
  const key = /^"(.*)"$/.exec(given)?.[1] ?? given
  if (/^[\x20-\x7e]{1,255}$/.test(key)) return key
  throw invalid([{ pointer: 'Idempotency-Key', detail: 'must be 1 to 255 printable ASCII characters' }])
}
