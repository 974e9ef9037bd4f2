/** Publishing events and reading them back. */
import { hash } from 'node:crypto'
import type { Deps } from '../deps.ts'
import { eventTypeFaults } from '../domain/catalogue.ts'
import type { EventSummary, NewEvent, StoredEvent } from '../domain/event.ts'
import { AppError, invalid, notFound, type Fault } from '../errors.ts'
import { timeOfId } from '../ids.ts'
import type { Page, PageQuery } from '../store/db.ts'
import * as events from '../store/events.ts'
import type { RequestKey } from './publisher.ts'

export type EventInput = {
  service: string
  event: string
  /** One JSON value in the bytes that were published. */
  payload: Buffer
  /** The caller's own id; also the idempotency key where the request has none. */
  id?: string
  occurredAt?: string
}

export type AcceptedEvent = { id: string; service: string; event: string; createdAt: Date }

/** Publishes one event. Resolves after the commit: from then on it reaches every subscription that wants it. */
export async function publishEvent(
  deps: Deps,
  workspaceId: string,
  input: EventInput,
  idempotencyKey: string | undefined,
): Promise<AcceptedEvent> {
  const faults = inputFaults(deps, input, '')
  if (faults.length > 0) throw invalid(faults)
  const [accepted] = await publish(deps, workspaceId, [input], idempotencyKey)
  return accepted!
}

/** Publishes all events of a batch or none, in their order. */
export async function publishBatch(
  deps: Deps,
  workspaceId: string,
  inputs: readonly EventInput[],
  idempotencyKey: string | undefined,
): Promise<AcceptedEvent[]> {
  const faults = inputs.flatMap((input, i) => inputFaults(deps, input, `/events/${i}`))
  if (idempotencyKey === undefined) faults.push(...repeatedIdFaults(inputs))
  if (faults.length > 0) throw invalid(faults)
  return publish(deps, workspaceId, inputs, idempotencyKey)
}

/** Events, newest first, each with the number of its deliveries. */
export async function listEvents(
  deps: Deps,
  workspaceId: string,
  query: PageQuery & events.EventSearch,
): Promise<Page<EventSummary & { deliveriesCount: number }>> {
  const { results, ...rest } = await events.list(deps.db, workspaceId, query)
  const counts = await events.countDeliveries(
    deps.db,
    workspaceId,
    results.map(({ id }) => id),
  )
  return {
    ...rest,
    results: results.map(event => ({ ...event, deliveriesCount: counts.get(event.id) ?? 0 })),
  }
}

export async function getEvent(
  deps: Deps,
  workspaceId: string,
  id: string,
): Promise<StoredEvent & { deliveriesCount: number }> {
  const event = await events.find(deps.db, workspaceId, id)
  if (event === undefined) throw notFound('event')
  const counts = await events.countDeliveries(deps.db, workspaceId, [id])
  return { ...event, deliveriesCount: counts.get(id) ?? 0 }
}

async function publish(
  deps: Deps,
  workspaceId: string,
  inputs: readonly EventInput[],
  idempotencyKey: string | undefined,
): Promise<AcceptedEvent[]> {
  const fresh = inputs.map((input): NewEvent => toNewEvent(deps, input))
  const keys = idempotencyKey === undefined ? keysOfIds(inputs) : [keyOfRequest(idempotencyKey, inputs)]
  const ids = await deps.publisher.publish({ workspaceId, events: fresh, keys })
  return inputs.map(({ service, event }, i) => ({
    id: ids[i]!,
    service,
    event,
    createdAt: timeOfId(ids[i]!),
  }))
}

function inputFaults(deps: Deps, input: EventInput, pointer: string): Fault[] {
  if (input.payload.length > deps.config.eventBytesMax) {
    throw new AppError(
      'payload_too_large',
      `${pointer}/payload has ${input.payload.length} bytes; at most ${deps.config.eventBytesMax} are taken.`,
    )
  }
  return eventTypeFaults(deps.catalogue, input.service, input.event, pointer)
}

function toNewEvent(deps: Deps, input: EventInput): NewEvent {
  return {
    id: deps.ids.next(),
    service: input.service,
    event: input.event,
    payload: input.payload,
    ...(input.id === undefined ? {} : { externalId: input.id }),
    ...(input.occurredAt === undefined ? {} : { occurredAt: new Date(input.occurredAt) }),
  }
}

function repeatedIdFaults(inputs: readonly EventInput[]): Fault[] {
  const seen = new Set<string>()
  return inputs.flatMap(({ id }, i) => {
    if (id === undefined) return []
    if (seen.has(id))
      return [{ pointer: `/events/${i}/id`, detail: 'is the id of an event before it in this batch' }]
    seen.add(id)
    return []
  })
}

function keysOfIds(inputs: readonly EventInput[]): RequestKey[] {
  return inputs.flatMap((input, i) =>
    input.id === undefined ? [] : [{ key: input.id, bodySha256: digestOf([input]), eventIndexes: [i] }],
  )
}

function keyOfRequest(key: string, inputs: readonly EventInput[]): RequestKey {
  return { key, bodySha256: digestOf(inputs), eventIndexes: inputs.map((_, i) => i) }
}

/** What two requests must share to be the same one: everything of the events, the payload byte for byte. */
function digestOf(inputs: readonly EventInput[]): Buffer {
  const parts = inputs.flatMap(({ payload, ...rest }) => {
    const envelope = JSON.stringify([
      rest.service,
      rest.event,
      rest.id ?? null,
      rest.occurredAt ?? null,
      payload.length,
    ])
    return [Buffer.from(envelope), payload]
  })
  return hash('sha256', Buffer.concat(parts), 'buffer')
}
