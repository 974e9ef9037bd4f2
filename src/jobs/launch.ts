/**
 * Starts planned attempts: writes the flights, then puts them in line. What only has to be written goes straight to
 * the settler.
 */
import type { Deps } from '../deps.ts'
import type { DeliveryState } from '../domain/delivery.ts'
import type { Db } from '../store/db.ts'
import * as flights from '../store/flights.ts'
import { depart, type Departure } from './attempt.ts'
import type { Claim, Claims } from './claims.ts'
import type { Flight, Settler } from './settle.ts'
import type { Slots } from './slots.ts'

export type LaunchDeps = Pick<
  Deps,
  'db' | 'ids' | 'sender' | 'config' | 'keyring' | 'random' | 'log' | 'targetRules' | 'queue'
> & { claims: Claims; slots: Slots; settler: Settler }

/** What is to be done with one delivery: an attempt at once, or only its state written. */
export type Planned = {
  claim: Claim
  state: DeliveryState
  isNew: boolean
  departure?: Omit<Departure, 'flight'>
}

export async function launch(
  deps: LaunchDeps,
  claims: readonly Claim[],
  planned: readonly Planned[],
): Promise<void> {
  const leaving = planned.flatMap(({ departure }) => (departure === undefined ? [] : [departure]))
  const departures = leaving.length === 0 ? [] : await writeFlights(deps, deps.db, leaving)

  for (const { claim } of planned) claim.open++
  for (const { claim, state, isNew, departure } of planned) {
    if (departure === undefined) deps.settler.add({ claim, state, isNew })
  }
  depart(deps, departures)
  // The handling of the jobs themselves has ended.
  for (const claim of claims) deps.settler.add({ claim })
}

/** One flight for each workspace. No byte leaves before this is committed. */
async function writeFlights(
  deps: LaunchDeps,
  db: Db,
  leaving: readonly Omit<Departure, 'flight'>[],
): Promise<Departure[]> {
  const departures: Departure[] = []
  for (const [workspaceId, ofWorkspace] of Map.groupBy(leaving, ({ delivery }) => delivery.workspaceId)) {
    const flight: Flight = { id: deps.ids.next(), open: ofWorkspace.length }
    await flights.insert(db, {
      id: flight.id,
      workspaceId,
      startedAt: deps.ids.now(),
      entries: ofWorkspace.map(({ delivery }) => ({
        deliveryId: delivery.id,
        eventId: delivery.eventId,
        subscriptionId: delivery.subscriptionId,
        format: delivery.format,
        number: delivery.attemptsCount + 1,
      })),
    })
    for (const departure of ofWorkspace) departures.push({ ...departure, flight })
  }
  return departures
}
