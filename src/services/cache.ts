/**
 * What a process keeps in memory for a moment, so that a hot path does not ask the database each time. Other
 * processes change the database meanwhile, so how long an answer is kept is also how long a change goes unnoticed.
 */
import type { Deps } from '../deps.ts'

export type Cache<Value> = {
  /**
   * The value of a key: the kept one, or what `read` gives. Concurrent calls share one read. `undefined` (there is no
   * such thing) and failures are not kept: what was just made is found at once, and made-up keys push nothing out.
   */
  get(key: string, nowMs: number, read: () => Promise<Value | undefined>): Promise<Value | undefined>
}

/** A cache of at most `entriesMax` values, each kept `ttlMs`; what was not used for longest goes first. */
export function createCache<Value>(limits: { ttlMs: number; entriesMax: number }): Cache<Value> {
  const { ttlMs, entriesMax } = limits
  // A Map keeps the order of insertion: entries are put back at the end when used, so the first is the coldest.
  const entries = new Map<string, Entry<Value>>()

  function readAndKeep(key: string, nowMs: number, read: () => Promise<Value | undefined>) {
    // The age counts from before the read: a change made while the read is under way must not live longer.
    const entry = { value: read(), sinceMs: nowMs }
    entries.set(key, entry)
    if (entries.size > entriesMax) entries.delete(entries.keys().next().value!)
    const forget = () => {
      if (entries.get(key) === entry) entries.delete(key)
    }
    entry.value.then(value => value === undefined && forget(), forget)
    return entry.value
  }

  return {
    get(key, nowMs, read) {
      const entry = entries.get(key)
      if (entry === undefined) return readAndKeep(key, nowMs, read)

      entries.delete(key)
      if (!isYounger(entry.sinceMs, nowMs, ttlMs)) return readAndKeep(key, nowMs, read)
      entries.set(key, entry)
      return entry.value
    },
  }
}

/**
 * Whether less than `ageMs` has passed. A moment in the future (the clock was set back) counts as long ago, so a
 * clock that jumps makes nothing stay for longer than twice its time.
 */
export function isYounger(sinceMs: number, nowMs: number, ageMs: number): boolean {
  return sinceMs <= nowMs && nowMs - sinceMs < ageMs
}

/** State that lives as long as the service it belongs to: two services in one process (a test) share nothing. */
export function perDeps<State>(create: (deps: Deps) => State): (deps: Deps) => State {
  const states = new WeakMap<Deps, State>()
  return deps => {
    let state = states.get(deps)
    if (state === undefined) states.set(deps, (state = create(deps)))
    return state
  }
}

type Entry<Value> = { value: Promise<Value | undefined>; sinceMs: number }
