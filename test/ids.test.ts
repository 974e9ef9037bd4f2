import { expect } from 'chai'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { createIdSource, deliveryIdOf, firstIdAt, hashedId, isUuid, timeOfId } from '#src/ids.ts'

const moment = Date.UTC(2026, 2, 1, 9, 30, 0, 123)

/** RFC 9562 §4: version in the 13th digit, variant 10 in the 17th. */
const shapeOf = (id: string) => [id[14], '89ab'.includes(id[19]!)]

describe('an id source', () => {
  it('makes UUIDs of version 7 that carry the time', () => {
    const id = createIdSource(() => moment).next()

    expect(isUuid(id)).to.equal(true)
    expect(shapeOf(id)).to.deep.equal(['7', true])
    expect(timeOfId(id)).to.deep.equal(new Date(moment))
  })

  it('makes ids that rise strictly: within one millisecond, beyond what it has room for, and when the clock goes back', () => {
    const clocks: { name: string; clock: (call: number) => number }[] = [
      { name: 'standing', clock: () => moment },
      { name: 'going back', clock: call => moment - call },
      { name: 'jumping to and fro', clock: call => moment + (call % 7) * 1_000 },
      { name: 'with fractions', clock: call => moment + call / 3 },
    ]
    for (const { name, clock } of clocks) {
      let calls = 0
      const ids = createIdSource(() => clock(calls++))
      const made = Array.from({ length: 20_000 }, () => ids.next())

      expect(made, name).to.deep.equal(made.toSorted())
      expect(new Set(made), name).to.have.lengthOf(made.length)
      expect(made.every(isUuid), name).to.equal(true)
    }
  })

  it("goes by the database's clock once it knows it", () => {
    const ids = createIdSource(() => moment)
    ids.setClockOffset(-90_000)

    expect(ids.now()).to.deep.equal(new Date(moment - 90_000))
    expect(timeOfId(ids.next())).to.deep.equal(new Date(moment - 90_000))
  })

  it('makes other ids than another source at the same moment', () => {
    const [one, other] = [createIdSource(() => moment), createIdSource(() => moment)]
    const made = Array.from({ length: 1_000 }, () => [one.next(), other.next()]).flat()

    expect(new Set(made)).to.have.lengthOf(2_000)
  })
})

describe('the first id of a moment', () => {
  it('is not after any id of that moment, and after every id of the one before', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 47 }), ms => {
        const [id, earlier] = [createIdSource(() => ms + 1).next(), createIdSource(() => ms).next()]
        const first = firstIdAt(new Date(ms + 1))
        expect(first <= id && earlier < first).to.equal(true)
        expect(timeOfId(first).getTime()).to.equal(ms + 1)
      }),
    )
  })
})

describe('the id of a delivery', () => {
  const eventId = '019ca8f0-1234-7abc-8def-0123456789ab'
  const subscriptionId = '019ca8f0-0000-7000-8000-000000000001'

  it('follows from event and subscription, in the time of the event', () => {
    const id = deliveryIdOf(eventId, subscriptionId)

    expect(id).to.equal(deliveryIdOf(eventId, subscriptionId))
    expect(isUuid(id)).to.equal(true)
    expect(shapeOf(id)).to.deep.equal(['7', true])
    expect(id.slice(0, 13)).to.equal(eventId.slice(0, 13))
  })

  it('differs where either differs', () => {
    fc.assert(
      fc.property(fc.uuid({ version: 7 }), fc.uuid({ version: 7 }), fc.uuid({ version: 7 }), (a, b, c) => {
        fc.pre(a !== b && b !== c && a !== c)
        expect(new Set([deliveryIdOf(a, b), deliveryIdOf(a, c), deliveryIdOf(c, b)])).to.have.lengthOf(3)
      }),
    )
  })
})

describe('an id that follows from a name', () => {
  it('is the same for the same name and another for another, and a UUID of version 5', () => {
    const id = hashedId('attempt/1/1')

    expect(id).to.equal(hashedId('attempt/1/1'))
    expect(id).not.to.equal(hashedId('attempt/1/2'))
    expect(isUuid(id)).to.equal(true)
    expect(shapeOf(id)).to.deep.equal(['5', true])
  })
})

describe('isUuid', () => {
  const cases: [text: string, expected: boolean][] = [
    ['019ca8f0-1234-7abc-8def-0123456789ab', true],
    ['019CA8F0-1234-7ABC-8DEF-0123456789AB', true],
    ['00000000-0000-0000-0000-000000000000', true],
    ['', false],
    ['019ca8f0-1234-7abc-8def-0123456789a', false],
    ['019ca8f0-1234-7abc-8def-0123456789abc', false],
    ['019ca8f012347abc8def0123456789ab', false],
    ['{019ca8f0-1234-7abc-8def-0123456789ab}', false],
    ['019ca8f0-1234-7abc-8def-0123456789ag', false],
    ['019ca8f0-1234-7abc-8def-0123456789ab\n', false],
    ["019ca8f0-1234-7abc-8def-0123456789ab' or 1=1", false],
  ]
  for (const [text, expected] of cases) {
    it(`is ${expected} for ${JSON.stringify(text)}`, () => expect(isUuid(text)).to.equal(expected))
  }
})
