/**
 * Starts planned attempts: writes the flights, then puts them in line. What only has to be written goes straight to
 * the settler.
 */
import type { Deps } from '../deps.ts'
import { scheduled, untouched, type DeliveryState } from '../domain/delivery.ts'
import type { Db } from '../store/db.ts'
import * as flights from '../store/flights.ts'
import { depart, giveBackDelaySeconds, type Departure } from './attempt.ts'
import type { Claim, Claims } from './claims.ts'
import type { Flight, Settler } from './settle.ts'
import type { Slots } from './slots.ts'

export type LaunchDeps = Pick<
  Deps,
  'db' | 'ids' | 'sender' | 'config' | 'keyring' | 'random' | 'log' | 'targetRules' | 'queue'
> & { claims: Claims; slots: Slots; settler: Settler }

/** Attempts of one endpoint that may wait in line; what is beyond waits as rows. */
const waitingPerEndpointMax = 200

/** What is to be done with one delivery: its state written, or an attempt at once. */
export type Planned = ToWrite | ToSend
type ToWrite = { claim: Claim; isNew: boolean; state: DeliveryState }
type ToSend = Omit<Departure, 'flight'>

export async function launch(
  deps: LaunchDeps,
  claims: readonly Claim[],
  planned: readonly Planned[],
): Promise<void> {
  const { writes, leaving } = limitWaiting(deps, planned)
  const departures = leaving.length === 0 ? [] : await writeFlights(deps, leaving)

  for (const { claim } of planned) claim.open++
  for (const write of writes) deps.settler.add(write)
  depart(deps, departures)
  // The handling of the jobs themselves has ended.
  for (const claim of claims) deps.settler.add({ claim })
}

/**
 * Keeps at most so many attempts of an endpoint in line. The other first attempts become rows with a job at once; the
 * other retries come back later, spread so that a backlog does not come back as one crowd.
 */
function limitWaiting(
  deps: LaunchDeps,
  planned: readonly Planned[],
): { writes: ToWrite[]; leaving: ToSend[] } {
  const room = new Map<string, number>()
  const writes: ToWrite[] = []
  const leaving: ToSend[] = []
  for (const entry of planned) {
    if ('state' in entry) {
      writes.push(entry)
      continue
    }
    const { claim, isNew, delivery } = entry
    const { endpointId } = delivery
    const left = room.get(endpointId) ?? waitingPerEndpointMax - deps.slots.waitingFor(endpointId)
    room.set(endpointId, left - 1)
    if (left > 0) leaving.push(entry)
    else {
      const delaySeconds = isNew ? 0 : giveBackDelaySeconds(deps.random)
      writes.push({ claim, isNew, state: scheduled(untouched(delivery), delaySeconds) })
    }
  }
  return { writes, leaving }
}

/** One flight for each workspace, all or none. No byte leaves before they are committed. */
async function writeFlights(deps: LaunchDeps, leaving: readonly ToSend[]): Promise<Departure[]> {
  const groups = [...Map.groupBy(leaving, ({ delivery }) => delivery.workspaceId)].map(
    ([workspaceId, ofWorkspace]) => {
      const flight: Flight = { id: deps.ids.next(), open: ofWorkspace.length, isLost: false }
      return { workspaceId, flight, ofWorkspace }
    },
  )
  const insertAll = async (db: Db) => {
    for (const { workspaceId, flight, ofWorkspace } of groups) {
      const entries = ofWorkspace.map(({ delivery }) => ({
        deliveryId: delivery.id,
        eventId: delivery.eventId,
        subscriptionId: delivery.subscriptionId,
        format: delivery.format,
        number: delivery.attemptsCount + 1,
      }))
      await flights.insert(db, { id: flight.id, workspaceId, startedAt: deps.ids.now(), entries })
    }
  }
  // One statement is a transaction by itself.
  await (groups.length === 1 ? insertAll(deps.db) : deps.db.transaction(insertAll))
  return groups.flatMap(({ flight, ofWorkspace }) =>
    ofWorkspace.map((entry): Departure => Object.assign(entry, { flight })),
  )
}
