/**
 * The catalogue: which event types a service has, by which keys they can be filtered, and what a payload of each
 * looks like. The built-in ones are data (`schemas/catalogue/`); here is what can be asked of them.
 */
import assert from 'node:assert/strict'
import type { Fault } from '../errors.ts'
import type { EventFilter } from './subscription.ts'

export type FilterKey = {
  key: string
  /** Where the value stands in the payload: a JSON Pointer (RFC 6901). */
  path: string
  description: string
  /** The key may come more than once in a subscription; its values are then alternatives. */
  repeatable: boolean
  /** The only values there are; absent when others may come. */
  enum?: readonly string[]
  /** Some values that occur, for people. */
  examples?: readonly string[]
}

export type EventType = {
  service: string
  name: string
  description: string
  filterKeys: readonly FilterKey[]
  /** A payload to test with. */
  sample: unknown
}

export type Catalogue = {
  find(service: string, event: string): EventType | undefined
  /** In the order of the files; a service without event types is one too. */
  services(): readonly string[]
  /** In the order of the file; none for an unknown service. */
  eventsOf(service: string): readonly EventType[]
  /** What may have been meant by a pair that is not in the catalogue, the most likely first; at most five. */
  suggest(service: string, event: string): EventType[]
}

/** A file of `schemas/catalogue/`, as `schemas/catalogue.json` describes it. */
export type CatalogueFile = {
  service: string
  description: string
  filterKeys: Readonly<Record<string, Omit<FilterKey, 'key' | 'repeatable'> & { repeatable?: boolean }>>
  samples: Readonly<Record<string, unknown>>
  events: readonly { name: string; description: string; filterKeys: readonly string[]; sample: string }[]
}

export function buildCatalogue(files: readonly CatalogueFile[]): Catalogue {
  const services = new Map<string, ReadonlyMap<string, EventType>>()
  for (const file of files) {
    const types = new Map(typesOf(file).map(type => [type.name, type]))
    assert(!services.has(file.service), `${file.service} has two files`)
    assert.equal(types.size, file.events.length, `${file.service} has an event type twice`)
    services.set(file.service, types)
  }

  return {
    find: (service, event) => services.get(service)?.get(event),
    services: () => [...services.keys()],
    eventsOf: service => [...(services.get(service)?.values() ?? [])],
    suggest: (service, event) =>
      nearest(
        [...services.values()].flatMap(types => [...types.values()]),
        service,
        event,
      ),
  }
}

/** The fault of a service and event that are not in the catalogue, below `pointer` of the request's body; else none. */
export function eventTypeFaults(
  catalogue: Catalogue,
  service: string,
  event: string,
  pointer: string,
): Fault[] {
  if (catalogue.find(service, event) !== undefined) return []

  const meant = catalogue
    .suggest(service, event)
    .map(type => (type.service === service ? type.name : `${type.name} of ${type.service}`))
  if (catalogue.services().includes(service)) {
    const hint =
      meant.length > 0 ? `did you mean ${orList(meant)}?` : 'available-webhooks lists what there is'
    return [{ pointer: `${pointer}/event`, detail: `is not an event of ${service}; ${hint}` }]
  }
  const hint = meant.length > 0 ? `; did you mean ${orList(meant)}?` : ''
  const detail = `is not a known service; known ones are: ${catalogue.services().join(', ')}${hint}`
  return [{ pointer: `${pointer}/service`, detail }]
}

/**
 * What a filter compares: the value at `path` (JSON Pointer, RFC 6901) if it is a string, or the JSON text of a
 * number or boolean. Nothing else can meet a filter. A number has the text that JavaScript writes for it, so a
 * payload's `1.0` is met by `1`, and digits beyond the precision of a double are lost.
 */
export function filterValueOf(payload: unknown, path: string): string | undefined {
  assert(path === '' || path.startsWith('/'), `${path} is not a JSON Pointer`)
  let value = payload
  for (const token of path.split('/').slice(1)) value = step(value, token)

  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return undefined
}

/**
 * Filters in the one form that equal ones share (sorted, without repetition), and that form as text: subscriptions
 * to the same events with equal keys are identical. Or the faults, with pointers from the request's body.
 */
export function normaliseFilters(
  eventType: Pick<EventType, 'service' | 'name' | 'filterKeys'>,
  filters: readonly EventFilter[] | null | undefined,
): { filters: EventFilter[]; key: string } | Fault[] {
  const given = filters ?? []
  const faults = given.flatMap((filter, i) => faultsOfFilter(eventType, given, filter, i))
  if (faults.length > 0) return faults

  const distinct = new Map(given.map(({ key, value }) => [JSON.stringify([key, value]), { key, value }]))
  const sorted = [...distinct.values()].sort((a, b) => compare(a.key, b.key) || compare(a.value, b.value))
  return { filters: sorted, key: JSON.stringify(sorted.map(({ key, value }) => [key, value])) }
}

function typesOf(file: CatalogueFile): EventType[] {
  return file.events.map(({ name, description, filterKeys, sample }) => {
    assert(Object.hasOwn(file.samples, sample), `${file.service}: ${name} names the unknown sample ${sample}`)
    return {
      service: file.service,
      name,
      description,
      filterKeys: filterKeys.map(key => filterKeyOf(file, key)),
      sample: file.samples[sample],
    }
  })
}

function filterKeyOf(file: CatalogueFile, key: string): FilterKey {
  const definition = Object.hasOwn(file.filterKeys, key) ? file.filterKeys[key] : undefined
  assert(definition, `${file.service}: the filter key ${key} is not defined`)
  return { ...definition, key, repeatable: definition.repeatable ?? false }
}

const suggestionsMax = 5

/** Slips of the keyboard that a suggestion forgives. */
const slipsMax = 3

/** Event types whose service and name are a few slips away, or whose name is right and only the service is not. */
function nearest(types: readonly EventType[], service: string, event: string): EventType[] {
  return types
    .map(type => ({ type, slips: slipsBetween(event, type.name) + serviceSlips(type, service, event) }))
    .filter(({ slips }) => slips <= slipsMax)
    .sort((a, b) => a.slips - b.slips)
    .slice(0, suggestionsMax)
    .map(({ type }) => type)
}

function serviceSlips(type: EventType, service: string, event: string): number {
  return event === type.name ? 1 : slipsBetween(service, type.service)
}

/** How many characters must be added, dropped or replaced, without case; `Infinity` if it is plainly too many. */
function slipsBetween(a: string, b: string): number {
  // A batch can hold 1,000 long unknown names: they must not be compared character by character.
  if (Math.abs(a.length - b.length) > slipsMax) return Infinity

  const from = a.toLowerCase()
  const to = b.toLowerCase()
  let previous = Array.from({ length: to.length + 1 }, (_, i) => i)
  for (let i = 0; i < from.length; i++) {
    const current = [i + 1]
    for (let j = 0; j < to.length; j++) {
      const replaced = previous[j]! + (from[i] === to[j] ? 0 : 1)
      current.push(Math.min(replaced, previous[j + 1]! + 1, current[j]! + 1))
    }
    previous = current
  }
  return previous[to.length]!
}

function orList(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
}

/** One reference token of a JSON Pointer; array indexes are digits without leading zeros (RFC 6901 section 4). */
function step(value: unknown, token: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  if (Array.isArray(value)) return /^(0|[1-9]\d*)$/.test(token) ? value[Number(token)] : undefined
  const name = token.includes('~') ? token.replaceAll('~1', '/').replaceAll('~0', '~') : token
  return Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined
}

function faultsOfFilter(
  { service, name, filterKeys }: Pick<EventType, 'service' | 'name' | 'filterKeys'>,
  filters: readonly EventFilter[],
  { key, value }: EventFilter,
  i: number,
): Fault[] {
  const known = filterKeys.find(filterKey => filterKey.key === key)
  if (known === undefined) {
    const valid = filterKeys.map(filterKey => filterKey.key)
    const hint = valid.length === 0 ? 'it has none' : `valid ones are: ${valid.join(', ')}`
    return [
      { pointer: `/eventFilters/${i}/key`, detail: `is not a filter key of ${service} ${name}; ${hint}` },
    ]
  }
  if (!known.repeatable && filters.findIndex(filter => filter.key === key) < i) {
    const detail = `${key} can come only once; make a subscription for each value`
    return [{ pointer: `/eventFilters/${i}/key`, detail }]
  }
  if (known.enum !== undefined && !known.enum.includes(value)) {
    return [{ pointer: `/eventFilters/${i}/value`, detail: `must be one of: ${known.enum.join(', ')}` }]
  }
  return []
}

/** By code units, not by language: the order must be the same on every machine. */
function compare(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
