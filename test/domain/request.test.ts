import { expect } from 'chai'
import { describe, it } from 'mocha'
import { makeRequest, makeTemplate, userAgent, type RenderableEvent } from '#src/domain/request.ts'
import { prepareKeys, signatureHeaders } from '#src/domain/sign.ts'
import type { Endpoint, EndpointSecrets } from '#src/domain/subscription.ts'

const material = prepareKeys([`whsec_${Buffer.alloc(32, 1).toString('base64')}`])
const now = new Date('2026-03-01T09:30:00.999Z')
const delivery = { id: 'delivery-1', format: 'bird', attemptNumber: 3 } as const

function endpoint(fields: Partial<Endpoint> = {}): Endpoint {
  return {
    id: 'endpoint',
    url: 'https://example.com/hook?kept=1',
    method: 'POST',
    params: {},
    headerNames: [],
    authUsername: null,
    signatures: ['standard', 'bird'],
    timeoutMs: null,
    retryPolicy: null,
    successStatus: '2xx',
    status: 'active',
    statusReason: null,
    ...fields,
  }
}

function event(): RenderableEvent {
  return {
    id: '019ca8f0-1234-7abc-8def-0123456789ab',
    workspaceId: 'workspace',
    workspaceVersion: 1,
    service: 'channels',
    event: 'sms.outbound',
    externalId: null,
    occurredAt: null,
    payload: Buffer.from('{"n":1.0}'),
    createdAt: new Date('2026-03-01T09:00:00.000Z'),
    bodies: {},
  }
}

function request(fields: Partial<Endpoint> = {}, secrets: EndpointSecrets = { headers: {} }) {
  return makeRequest(makeTemplate(endpoint(fields), secrets), material, event(), delivery, now)
}

function linesOf(headerLines: string): string[] {
  return headerLines.split('\n').slice(0, -1)
}

describe('the request of an attempt', () => {
  it('names its delivery and attempt, and is signed for the URL and the second of this attempt', () => {
    const { headers, body, url, method } = request()

    expect({ url, method }).to.deep.equal({ url: 'https://example.com/hook?kept=1', method: 'POST' })
    expect(body!.toString()).to.equal('{"service":"channels","event":"sms.outbound","payload":{"n":1.0}}')
    expect(headers).to.deep.equal({
      'user-agent': userAgent,
      accept: '*/*',
      'accept-encoding': 'identity',
      'content-type': 'application/json',
      'hookseal-delivery': 'delivery-1',
      'hookseal-attempt': '3',
      ...signatureHeaders(['standard', 'bird'], material, {
        id: event().id,
        timestampSeconds: 1_772_357_400,
        url,
        body: body!,
      }),
    })
  })

  it('adds the parameters to the URL before that is signed', () => {
    const { url, headers } = request({ params: { 'a b': 'ü&' } })

    expect(new URL(url).searchParams.get('a b')).to.equal('ü&')
    expect(new URL(url).searchParams.get('kept')).to.equal('1')
    expect(headers['MessageBird-Signature']).not.to.equal(request().headers['MessageBird-Signature'])
  })

  it('has custom headers in lower case, and a content type of the owner in the place of ours', () => {
    const { headers } = request({}, { headers: { 'X-Key': 'k', 'Content-Type': 'text/plain' } })

    expect(headers).to.include({ 'x-key': 'k', 'content-type': 'text/plain' })
  })

  it('has basic credentials in UTF-8, also with an empty password', () => {
    const credentials = (secrets: EndpointSecrets) =>
      Buffer.from(
        request({ authUsername: 'jürgen' }, secrets).headers['authorization']!.slice(6),
        'base64',
      ).toString()

    expect(credentials({ headers: {}, password: 'pä:ss' })).to.equal('jürgen:pä:ss')
    expect(credentials({ headers: {} })).to.equal('jürgen:')
  })

  it('keeps every value that its owner gave out of what is kept and shown', () => {
    const { headerLines, headers } = request(
      { authUsername: 'user' },
      { headers: { 'X-Key': 'very secret', 'Content-Type': 'text/plain' }, password: 'pass' },
    )
    const lines = linesOf(headerLines)

    expect(lines).to.include.members(['x-key: ***', 'authorization: ***', 'content-type: ***'])
    expect(lines).to.include.members([
      `user-agent: ${userAgent}`,
      'hookseal-attempt: 3',
      `webhook-id: ${event().id}`,
    ])
    expect(headerLines).not.to.match(/very secret|dXNlcjpwYXNz|text\/plain/)
    expect(lines.map(line => line.split(': ')[0]!).toSorted()).to.deep.equal(
      Object.keys(headers)
        .map(name => name.toLowerCase())
        .toSorted(),
    )
  })

  it('has no body and no content type as a GET, and is signed over nothing', () => {
    const { body, headers, url } = request({ method: 'GET' })

    expect(body).to.equal(undefined)
    expect(headers).not.to.have.property('content-type')
    expect(headers).to.include(
      signatureHeaders(['standard', 'bird'], material, {
        id: event().id,
        timestampSeconds: 1_772_357_400,
        url,
        body: Buffer.alloc(0),
      }),
    )
  })

  it('shares the bytes of its body with every delivery of the event in the same format', () => {
    const shared = event()
    const template = makeTemplate(endpoint(), { headers: {} })
    const bodyIn = (format: 'bird' | 'standard') =>
      makeRequest(template, material, shared, { ...delivery, format }, now).body

    expect(bodyIn('bird')).to.equal(bodyIn('bird'))
    expect(bodyIn('standard')).not.to.equal(bodyIn('bird'))
  })

  it('has the time of the event as it was given, or else as it was published, in every attempt', () => {
    const bodyAt = (occurredAt: Date | null) =>
      makeRequest(
        makeTemplate(endpoint(), { headers: {} }),
        material,
        { ...event(), occurredAt },
        { ...delivery, format: 'standard' },
        now,
      ).body!.toString()

    expect(bodyAt(new Date(0))).to.include('"timestamp":"1970-01-01T00:00:00.000Z"')
    expect(bodyAt(null)).to.include('"timestamp":"2026-03-01T09:00:00.000Z"')
  })
})
