/**
 * Which subscriptions want an event. The subscriptions of a workspace are held in an index, so that the cost
 * of an event grows with how many want it and not with how many there are.
 */
import { filterValueOf } from './catalogue.ts'

/** A condition as the index needs it: the value at `path` of the payload is one of `values`. */
export type Condition = { path: string; values: ReadonlySet<string> }

export type Matchable = {
  id: string
  service: string
  event: string
  conditions: readonly Condition[]
  /** The version of the workspace at which the subscription was made. */
  createdVersion: number
}

export type MatchableEvent = {
  service: string
  event: string
  workspaceVersion: number
  payload: Buffer
}

export type MatchIndex<Item extends Matchable> = {
  /** Adds the subscription, or replaces what is known of it. */
  put(item: Item): void
  remove(id: string): void
  get(id: string): Item | undefined
  /** Every subscription that wants the event, in the order of their ids. */
  match(event: MatchableEvent): Item[]
  readonly size: number
}

export function createMatchIndex<Item extends Matchable>(): MatchIndex<Item> {
  const items = new Map<string, Item>()
  const buckets = new Map<string, Bucket<Item>>()

  function remove(id: string): void {
    const item = items.get(id)
    if (item === undefined) return
    items.delete(id)
    const name = bucketName(item.service, item.event)
    const bucket = buckets.get(name)!
    bucket.remove(item)
    if (bucket.isEmpty()) buckets.delete(name)
  }

  return {
    put(item) {
      remove(item.id)
      items.set(item.id, item)
      const name = bucketName(item.service, item.event)
      let bucket = buckets.get(name)
      if (bucket === undefined) buckets.set(name, (bucket = createBucket()))
      bucket.add(item)
    },
    remove,
    get: id => items.get(id),
    match(event) {
      const bucket = buckets.get(bucketName(event.service, event.event))
      if (bucket === undefined) return []
      const found = bucket.find(event)
      return found.length > 1 ? found.sort((a, b) => (a.id < b.id ? -1 : 1)) : found
    },
    get size() {
      return items.size
    },
  }
}

/** The subscriptions of one event type. */
type Bucket<Item> = {
  add(item: Item): void
  remove(item: Item): void
  find(event: MatchableEvent): Item[]
  isEmpty(): boolean
}

function createBucket<Item extends Matchable>(): Bucket<Item> {
  const unconditional = new Set<Item>()
  /** path -> value -> the subscriptions that are filed under it. */
  const byPath = new Map<string, Map<string, Set<Item>>>()
  const filedUnder = new Map<string, Condition>()

  /** The condition that leaves the fewest neighbours to look at. */
  function mostSelective(conditions: readonly Condition[]): Condition {
    let best = conditions[0]!
    let bestSize = Infinity
    for (const condition of conditions) {
      let size = 0
      for (const value of condition.values) size += byPath.get(condition.path)?.get(value)?.size ?? 0
      if (size < bestSize) [best, bestSize] = [condition, size]
    }
    return best
  }

  return {
    add(item) {
      if (item.conditions.length === 0) {
        unconditional.add(item)
        return
      }
      const condition = mostSelective(item.conditions)
      filedUnder.set(item.id, condition)
      let byValue = byPath.get(condition.path)
      if (byValue === undefined) byPath.set(condition.path, (byValue = new Map()))
      for (const value of condition.values) {
        const list = byValue.get(value)
        if (list === undefined) byValue.set(value, new Set([item]))
        else list.add(item)
      }
    },
    remove(item) {
      unconditional.delete(item)
      const condition = filedUnder.get(item.id)
      if (condition === undefined) return
      filedUnder.delete(item.id)
      const byValue = byPath.get(condition.path)!
      for (const value of condition.values) {
        const list = byValue.get(value)!
        list.delete(item)
        if (list.size === 0) byValue.delete(value)
      }
      if (byValue.size === 0) byPath.delete(condition.path)
    },
    find(event) {
      const found: Item[] = []
      for (const item of unconditional) {
        if (item.createdVersion <= event.workspaceVersion) found.push(item)
      }
      if (byPath.size === 0) return found

      // Parsed only here: an event that nobody filters is never parsed at all.
      const payload: unknown = JSON.parse(event.payload.toString())
      for (const [path, byValue] of byPath) {
        const value = filterValueOf(payload, path)
        const candidates = value === undefined ? undefined : byValue.get(value)
        if (candidates === undefined) continue
        for (const item of candidates) {
          if (item.createdVersion <= event.workspaceVersion && holds(item.conditions, payload))
            found.push(item)
        }
      }
      return found
    },
    isEmpty: () => unconditional.size === 0 && byPath.size === 0,
  }
}

function holds(conditions: readonly Condition[], payload: unknown): boolean {
  if (conditions.length === 1) return true // It was found by its only condition.
  return conditions.every(condition => {
    const value = filterValueOf(payload, condition.path)
    return value !== undefined && condition.values.has(value)
  })
}

function bucketName(service: string, event: string): string {
  return `${service}\n${event}`
}
