/**
 * The key sets (JWKS, RFC 7517) of trusted issuers, fetched by the same guarded client as deliveries and kept for a
 * while. Anyone can send tokens, so no token, however it is made, may cause more than one fetch of a URL in 30 seconds.
 */
import { createLocalJWKSet, type JSONWebKeySet } from 'jose'
import type { Deps } from '../deps.ts'
import { parseTargetUrl } from '../domain/target.ts'
import { fetchDocument } from '../sending/fetch-document.ts'
import { isYounger } from './cache.ts'

export type KeySet = ReturnType<typeof createLocalJWKSet>

export type KeySets = {
  /** The key set at this URL, fetched within the last 5 minutes; undefined when it cannot be had. */
  get(url: string): Promise<KeySet | undefined>
  /**
   * A key set that is newer than the known one, for a token whose key is not in that; undefined when there is none,
   * or when the URL was asked within the last 30 seconds.
   */
  getNewer(url: string, known: KeySet): Promise<KeySet | undefined>
}

export function createKeySets(deps: Deps): KeySets {
  const entries = new Map<string, Entry>()
  const nowMs = () => deps.ids.now().getTime()

  function entryOf(url: string): Entry {
    const entry = entries.get(url) ?? { askedMs: -Infinity, fetchedMs: -Infinity }
    entries.delete(url)
    entries.set(url, entry)
    if (entries.size > entriesMax) entries.delete(entries.keys().next().value!)
    return entry
  }

  async function ask(url: string, entry: Entry): Promise<void> {
    entry.askedMs = nowMs()
    const keySet = await fetchKeySet(deps, url)
    // A set that was good a moment ago outlasts a fetch that fails: tokens with unknown keys must not take it away.
    if (keySet !== undefined) Object.assign(entry, { keySet, fetchedMs: entry.askedMs })
  }

  function askOnce(url: string, entry: Entry): Promise<void> {
    return (entry.asking ??= ask(url, entry).finally(() => (entry.asking = undefined)))
  }

  return {
    async get(url) {
      const entry = entryOf(url)
      const isFresh = () => isYounger(entry.fetchedMs, nowMs(), keepMs)
      const hasJustFailed = isYounger(entry.askedMs, nowMs(), keepFailureMs) && entry.asking === undefined
      if (!isFresh() && !hasJustFailed) await askOnce(url, entry)
      return isFresh() ? entry.keySet : undefined
    },

    async getNewer(url, known) {
      const entry = entryOf(url)
      const wasJustAsked = isYounger(entry.askedMs, nowMs(), askAgainMs) && entry.asking === undefined
      if (entry.keySet === known && !wasJustAsked) await askOnce(url, entry)
      return entry.keySet === known ? undefined : entry.keySet
    },
  }
}

type Entry = {
  keySet?: KeySet
  fetchedMs: number
  askedMs: number
  asking?: Promise<void> | undefined
}

const entriesMax = 1_000
const keepMs = 300_000
const keepFailureMs = 10_000
const askAgainMs = 30_000

async function fetchKeySet(deps: Deps, url: string): Promise<KeySet | undefined> {
  const { host } = new URL(url)
  // The rules may have become stricter since the URL was stored.
  const target = parseTargetUrl(url, deps.targetRules)
  if ('fault' in target) return warn(deps, host, 'refused_url', target.fault)

  const fetched = await fetchDocument(deps.sender, target.url)
  if (fetched.kind === 'fault') return warn(deps, host, fetched.fault, fetched.detail)
  try {
    return createLocalJWKSet(fetched.document as JSONWebKeySet)
  } catch (error) {
    return warn(deps, host, 'invalid_key_set', (error as Error).message)
  }
}

/** Only the host: a path or a query may hold a secret. */
function warn(deps: Deps, host: string, fault: string, detail: string): undefined {
  deps.log.warn({ host, fault, detail }, 'key_set.unavailable')
}
