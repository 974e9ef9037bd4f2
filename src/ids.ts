/**
 * Every id of the product is made here. Ids sort by time (UUIDv7, RFC 9562 §5.7), because events,
 * deliveries and attempts are partitioned by ranges of their ids and listed newest first.
 */
import { hash, randomFillSync } from 'node:crypto'

export type IdSource = {
  /** A new UUIDv7; ids of one source rise strictly, so a batch keeps its order. */
  next(): string
  /** The moment by the database's clock, which ids and schedules go by. */
  now(): Date
  /** Sets how far the database's clock is ahead of this machine's, in milliseconds. */
  setClockOffset(offsetMs: number): void
}

export function createIdSource(clock: () => number = Date.now): IdSource {
  let offsetMs = 0
  let lastMs = 0
  let sequence = 0

  return {
    next() {
      const ms = Math.max(lastMs, Math.floor(clock() + offsetMs))
      if (ms > lastMs) {
        lastMs = ms
        // Start low in the 12 bits, so that a burst within one millisecond has room to count up.
        sequence = randomUint16() & 0x1ff
      } else if (++sequence > 0xfff) {
        lastMs++
        sequence = 0
      }
      return uuidV7(lastMs, sequence, randomHex16())
    },
    now: () => new Date(clock() + offsetMs),
    setClockOffset(ms) {
      offsetMs = ms
    },
  }
}

/** The moment an id was made at, to the millisecond. */
export function timeOfId(id: string): Date {
  return new Date(parseInt(id.slice(0, 8) + id.slice(9, 13), 16))
}

/** The smallest id of a moment: `id >= firstIdAt(since)` selects by time through the primary key. */
export function firstIdAt(moment: Date): string {
  const hex = moment.getTime().toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`
}

/**
 * The id of the delivery of an event for a subscription: the event's time, then a hash of both. A match
 * that runs twice makes the same id, so the second insert is a conflict and not a second delivery.
 */
export function deliveryIdOf(eventId: string, subscriptionId: string): string {
  const digest = hash('sha256', eventId + subscriptionId, 'hex')
  return `${eventId.slice(0, 13)}-7${digest.slice(0, 3)}-${variantDigit(digest[3]!)}${digest.slice(4, 7)}-${digest.slice(7, 19)}`
}

/** An id that follows from a name (RFC 9562 §5.5, in the shape of a UUIDv5). */
export function hashedId(name: string): string {
  const digest = hash('sha1', `hookseal/${name}`, 'hex')
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-5${digest.slice(13, 16)}-${variantDigit(digest[16]!)}${digest.slice(17, 20)}-${digest.slice(20, 32)}`
}

const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export function isUuid(text: string): boolean {
  return uuidPattern.test(text)
}

function uuidV7(ms: number, sequence: number, random: string): string {
  const time = ms.toString(16).padStart(12, '0')
  const tail = sequence.toString(16).padStart(3, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${tail}-${variantDigit(random[0]!)}${random.slice(1, 4)}-${random.slice(4, 16)}`
}

/** RFC 9562 §4.1: the two top bits of the variant octet are 10. */
function variantDigit(hexDigit: string): string {
  return '89ab'[parseInt(hexDigit, 16) & 3]!
}

// One call for random bytes serves many ids: a call per id costs more than the rest of the id together.
const pool = Buffer.alloc(8192)
let poolOffset = pool.length

function takeRandom(bytes: number): number {
  if (poolOffset + bytes > pool.length) {
    randomFillSync(pool)
    poolOffset = 0
  }
  poolOffset += bytes
  return poolOffset - bytes
}

function randomHex16(): string {
  const start = takeRandom(8)
  return pool.toString('hex', start, start + 8)
}

function randomUint16(): number {
  return pool.readUInt16BE(takeRandom(2))
}
