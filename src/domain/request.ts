/**
 * The request of an attempt: made anew each time from the event, the endpoint and the moment.
 */
import { renderBody, type Body, type BodyFormat } from './body.ts'
import type { StoredEvent } from './event.ts'
import { signatureHeaders, type SigningMaterial } from './sign.ts'
import type { Endpoint, EndpointSecrets } from './subscription.ts'
import { applyParams } from './target.ts'

/** An event with the bodies that were made of it: all its deliveries in one format share the bytes. */
export type RenderableEvent = StoredEvent & { createdAt: Date; bodies: Partial<Record<BodyFormat, Body>> }

/** What is the same in every request to an endpoint until it changes. */
export type RequestTemplate = {
  method: Endpoint['method']
  url: string
  signatures: Endpoint['signatures']
  headers: Record<string, string>
  /** The headers as they may be shown: values that are secrets are hidden. */
  headerLines: string
  hasContentType: boolean
}

export type DeliveryRequest = {
  method: Endpoint['method']
  url: string
  headers: Record<string, string>
  body: Buffer | undefined
  /** The headers as they may be kept and shown. */
  headerLines: string
}

export const userAgent = 'Hookseal/0.1'

const hiddenValue = '***'

export function makeTemplate(endpoint: Endpoint, secrets: EndpointSecrets): RequestTemplate {
  const fixed = { 'user-agent': userAgent, accept: '*/*', 'accept-encoding': 'identity' }
  const custom = Object.fromEntries(
    Object.entries(secrets.headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
  const headers: Record<string, string> = { ...fixed, ...custom }
  if (endpoint.authUsername !== null) {
    // RFC 7617 §2; the user name was checked to be without a colon.
    const credentials = `${endpoint.authUsername}:${secrets.password ?? ''}`
    headers['authorization'] = `Basic ${Buffer.from(credentials, 'utf8').toString('base64')}`
  }
  // A custom header may have the name of one of ours, or of a property that every object inherits.
  const isOwn = (name: string) => Object.hasOwn(fixed, name) && !Object.hasOwn(custom, name)
  const shown = Object.entries(headers).map(
    ([name, value]) => `${name}: ${isOwn(name) ? value : hiddenValue}\n`,
  )
  return {
    method: endpoint.method,
    url: applyParams(endpoint.url, endpoint.params),
    signatures: endpoint.signatures,
    headers,
    headerLines: shown.join(''),
    hasContentType: 'content-type' in custom,
  }
}

export function makeRequest(
  template: RequestTemplate,
  material: SigningMaterial,
  event: RenderableEvent,
  delivery: { id: string; format: BodyFormat; attemptNumber: number },
  now: Date,
): DeliveryRequest {
  const { body, contentType } = bodyOf(event, delivery.format)
  // RFC 9110 §9.3.1: content in a GET has no meaning and is refused by some servers.
  const sentBody = template.method === 'GET' ? emptyBody : body
  const signed = signatureHeaders(template.signatures, material, {
    id: event.id,
    timestampSeconds: Math.floor(now.getTime() / 1_000),
    url: template.url,
    body: sentBody,
  })
  signed['hookseal-delivery'] = delivery.id
  signed['hookseal-attempt'] = String(delivery.attemptNumber)
  if (sentBody !== emptyBody && !template.hasContentType) signed['content-type'] = contentType

  let headerLines = template.headerLines
  for (const name in signed) headerLines += `${name.toLowerCase()}: ${signed[name]}\n`
  return {
    method: template.method,
    url: template.url,
    headers: Object.assign(signed, template.headers),
    body: sentBody === emptyBody ? undefined : sentBody,
    headerLines,
  }
}

const emptyBody = Buffer.alloc(0)

function bodyOf(event: RenderableEvent, format: BodyFormat): Body {
  return (event.bodies[format] ??= renderBody(format, {
    ...event,
    occurredAt: event.occurredAt ?? event.createdAt,
  }))
}
