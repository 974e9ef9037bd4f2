/**
 * An event: what was published, immutable, its payload kept as the bytes that came.
 */
export type NewEvent = {
  id: string
  service: string
  event: string
  externalId?: string
  occurredAt?: Date
  payload: Buffer
}

export type StoredEvent = {
  id: string
  workspaceId: string
  /** The workspace's version when the event was committed: later subscriptions do not get it. */
  workspaceVersion: number
  service: string
  event: string
  externalId: string | null
  occurredAt: Date | null
  payload: Buffer
}

export type EventSummary = Omit<StoredEvent, 'payload' | 'workspaceVersion'>
