import { expect } from 'chai'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { bodyFormats, renderBody, type BodyEvent } from '#src/domain/body.ts'

const event: BodyEvent = {
  id: '0198f3c2-7d1e-7abc-8def-0123456789ab',
  service: 'channels',
  event: 'sms.outbound',
  occurredAt: new Date('2026-11-20T21:44:03.125Z'),
  payload: Buffer.from('{"n": 1.0,  "big":12345678901234567890, "a":"\\u00e9", "a":"é"}'),
}
const payload = event.payload.toString()

describe('the body of a delivery', () => {
  const cases: [format: (typeof bodyFormats)[number], contentType: string, body: string][] = [
    ['bird', 'application/json', `{"service":"channels","event":"sms.outbound","payload":${payload}}`],
    [
      'standard',
      'application/json',
      `{"type":"channels.sms.outbound","timestamp":"2026-11-20T21:44:03.125Z","data":${payload}}`,
    ],
    [
      'cloudevents',
      'application/cloudevents+json; charset=UTF-8',
      `{"specversion":"1.0","id":"0198f3c2-7d1e-7abc-8def-0123456789ab","source":"/services/channels",` +
        `"type":"channels.sms.outbound","time":"2026-11-20T21:44:03.125Z","datacontenttype":"application/json",` +
        `"data":${payload}}`,
    ],
    ['raw', 'application/json', payload],
  ]
  for (const [format, contentType, body] of cases) {
    it(`has the members of ${format}, and the payload as it was published`, () => {
      const rendered = renderBody(format, event)
      expect(rendered.contentType).to.equal(contentType)
      expect(rendered.body.toString()).to.equal(body)
    })
  }

  it('names the source of an event that has one, in CloudEvents', () => {
    const { body } = renderBody('cloudevents', { ...event, source: 'https://shop.example/orders' })
    expect(JSON.parse(body.toString())).to.have.property('source', 'https://shop.example/orders')
  })

  it('does not name the source in the other formats', () => {
    for (const format of ['bird', 'standard', 'raw'] as const) {
      const { body } = renderBody(format, { ...event, source: 'https://shop.example/orders' })
      expect(body.toString()).not.to.contain('shop.example')
    }
  })

  it('keeps bytes that are not text, since it never reads the payload', () => {
    const bytes = Buffer.from([0x22, 0xff, 0x00, 0x22])
    const { body } = renderBody('bird', { ...event, payload: bytes })
    expect(body.indexOf(bytes)).to.equal('{"service":"channels","event":"sms.outbound","payload":'.length)
  })

  it('escapes what would break out of its own members', () => {
    const { body } = renderBody('bird', { ...event, event: 'a","payload":{"forged":true},"x":"' })
    expect(JSON.parse(body.toString())).to.have.property('event', 'a","payload":{"forged":true},"x":"')
  })

  it('parses to the members of its format, holds the payload verbatim, and is the same each time', () => {
    const events = fc.record({
      id: fc.uuid(),
      service: fc.string({ minLength: 1 }),
      event: fc.string({ minLength: 1 }),
      occurredAt: fc.date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true }),
      payload: fc.json().map(json => Buffer.from(json)),
    })
    fc.assert(
      fc.property(events, fc.constantFrom(...bodyFormats), (given, format) => {
        const { body } = renderBody(format, given)
        const data: unknown = JSON.parse(given.payload.toString())
        const type = `${given.service}.${given.event}`
        const time = given.occurredAt.toISOString()
        const expected = {
          bird: { service: given.service, event: given.event, payload: data },
          standard: { type, timestamp: time, data },
          cloudevents: {
            specversion: '1.0',
            id: given.id,
            source: `/services/${encodeURIComponent(given.service)}`,
            type,
            time,
            datacontenttype: 'application/json',
            data,
          },
          raw: data,
        }
        expect(JSON.parse(body.toString())).to.deep.equal(expected[format])

        const tail = format === 'raw' ? '' : '}'
        expect(body.subarray(-tail.length - given.payload.length).toString()).to.equal(
          given.payload.toString() + tail,
        )
        expect(renderBody(format, given).body.equals(body)).to.equal(true)
      }),
    )
  })
})
