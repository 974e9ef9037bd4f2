/**
 * What the benchmark publishes, who subscribes to it, and who must therefore receive it. Every event is an
 * `sms.outbound` of `channels` with a payload of exactly 1 KiB of JSON.
 */

import assert from 'node:assert/strict'

export type BenchEvent = { service: string; event: string; payload: Payload }
type Payload = { sequence: number; channelId: string; status: string; text: string }
type Subscription = { path: string; eventFilters: { key: FilterKey; value: string }[] }

/** A number of events and the subscriptions they meet; `eventAt` gives the event with a sequence number. */
export type Plan = {
  eventsCount: number
  subscriptions: Subscription[]
  eventAt(sequence: number): BenchEvent
}

/** Fan-out 1: a hundred endpoints, each with a channel of its own; the channels take turns. */
export const drain1Plan: Plan = {
  eventsCount: 20_000,
  subscriptions: Array.from({ length: 100 }, (_, n) => ({
    path: `/hook/${n}`,
    eventFilters: [{ key: 'channelId', value: `channel-${n}` }],
  })),
  eventAt: sequence => createEvent(sequence, `channel-${sequence % 100}`, 'delivered'),
}

/**
 * Fan-out 10 of 100 endpoints, although no more than five subscriptions may have the same filters: ten channels
 * and ten statuses have five subscriptions each, and every event has one channel (5) and one status (5). The
 * hundred pairs of channel and status take turns, so that each endpoint gets a tenth of all events.
 */
export const drain10Plan: Plan = {
  eventsCount: 5_000,
  subscriptions: Array.from({ length: 100 }, (_, n) => ({
    path: `/hook/${n}`,
    eventFilters: [
      n < 50
        ? { key: 'channelId', value: `channel-${n % 10}` }
        : { key: 'messageStatus', value: `status-${n % 10}` },
    ],
  })),
  eventAt: sequence =>
    createEvent(sequence, `channel-${sequence % 10}`, `status-${Math.floor(sequence / 10) % 10}`),
}

/** One endpoint, which wants everything: fifteen seconds at fifty events a second, and two to warm up. */
export const latencyPlan: Plan = {
  eventsCount: 850,
  subscriptions: [{ path: '/hook/0', eventFilters: [] }],
  eventAt: sequence => createEvent(sequence, 'channel-0', 'delivered'),
}

/** The paths that must receive an event, by the words of the API: all filters of a subscription must hold. */
export function pathsOf(plan: Plan, { payload }: BenchEvent): string[] {
  const values = { channelId: payload.channelId, messageStatus: payload.status }
  return plan.subscriptions
    .filter(subscription => subscription.eventFilters.every(({ key, value }) => values[key] === value))
    .map(subscription => subscription.path)
}

/** An event whose payload is 1 KiB of JSON text. */
export function createEvent(sequence: number, channelId: string, status: string): BenchEvent {
  const payload = { sequence, channelId, status, text: '' }
  payload.text = 'Your parcel is on its way. '
    .repeat(40)
    .slice(0, payloadBytes - JSON.stringify(payload).length)
  assert.equal(JSON.stringify(payload).length, payloadBytes)
  return { service: 'channels', event: 'sms.outbound', payload }
}

type FilterKey = 'channelId' | 'messageStatus'

const payloadBytes = 1_024
