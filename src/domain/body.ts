/**
 * The body of a delivery in the format of its subscription. The payload's own bytes are spliced in as they were
 * published, never parsed: parsing would change numbers, key order and escapes. Nothing else goes in but what is stored
 * with the event, so every attempt has the same bytes.
 */

export const bodyFormats = ['bird', 'standard', 'cloudevents', 'raw'] as const

export type BodyFormat = (typeof bodyFormats)[number]

/** What a body is made of. */
export type BodyEvent = {
  /** The event's id. */
  id: string
  service: string
  event: string
  occurredAt: Date
  /** One JSON value, in the bytes that were published. */
  payload: Buffer
  /** Who emitted the event: a URI-reference (RFC 3986). Used by `cloudevents`; default is `/services/{service}`. */
  source?: string | undefined
}

export type Body = { contentType: string; body: Buffer }

/**
 * The body of `event` in one of four formats:
 * - `bird`: `{"service","event","payload"}`;
 * - `standard`: `{"type","timestamp","data"}`, the body that Standard Webhooks 1.0.0 recommends; type is
 *   `{service}.{event}`, the timestamp is that of the event;
 * - `cloudevents`: CloudEvents 1.0 in structured mode (HTTP Protocol Binding section 3.2);
 * - `raw`: the payload alone. The body is then the same Buffer, not a copy.
 */
export function renderBody(format: BodyFormat, event: BodyEvent): Body {
  return renderers[format](event)
}

const json = 'application/json'

const renderers: Record<BodyFormat, (event: BodyEvent) => Body> = {
  bird: event => ({
    contentType: json,
    body: splice({ service: event.service, event: event.event }, 'payload', event.payload),
  }),
  standard: event => ({
    contentType: json,
    body: splice({ type: typeOf(event), timestamp: event.occurredAt.toISOString() }, 'data', event.payload),
  }),
  cloudevents: event => ({
    contentType: 'application/cloudevents+json; charset=UTF-8',
    body: splice(
      {
        specversion: '1.0',
        id: event.id,
        source: event.source ?? `/services/${encodeURIComponent(event.service)}`,
        type: typeOf(event),
        time: event.occurredAt.toISOString(),
        datacontenttype: json,
      },
      'data',
      event.payload,
    ),
  }),
  raw: event => ({ contentType: json, body: event.payload }),
}

function typeOf(event: BodyEvent): string {
  return `${event.service}.${event.event}`
}

/** The JSON object of `members`, in their order, with `payload` as its last member, `name`. */
function splice(members: Record<string, string>, name: string, payload: Buffer): Buffer {
  const head = `${JSON.stringify(members).slice(0, -1)},"${name}":`
  return Buffer.concat([Buffer.from(head), payload, closingBrace])
}

const closingBrace = Buffer.from('}')
