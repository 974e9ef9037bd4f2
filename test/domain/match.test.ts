import { expect } from 'chai'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { createMatchIndex, type Matchable, type MatchableEvent } from '#src/domain/match.ts'

const subscription = (id: string, fields: Partial<Matchable> = {}): Matchable => ({
  id,
  service: 'channels',
  event: 'sms.outbound',
  conditions: [],
  createdVersion: 1,
  ...fields,
})

const event = (payload: unknown, fields: Partial<MatchableEvent> = {}): MatchableEvent => ({
  service: 'channels',
  event: 'sms.outbound',
  workspaceVersion: 1,
  payload: Buffer.from(JSON.stringify(payload)),
  ...fields,
})

const condition = (path: string, ...values: string[]) => ({ path, values: new Set(values) })

function matched(subscriptions: Matchable[], published: MatchableEvent): string[] {
  const index = createMatchIndex<Matchable>()
  for (const each of subscriptions) index.put(each)
  return index.match(published).map(({ id }) => id)
}

describe('the match index', () => {
  const cases: { name: string; subscriptions: Matchable[]; event: MatchableEvent; expected: string[] }[] = [
    {
      name: 'finds what has no conditions',
      subscriptions: [subscription('a')],
      event: event(null),
      expected: ['a'],
    },
    {
      name: 'gives them in the order of their ids',
      subscriptions: [
        subscription('c'),
        subscription('a', { conditions: [condition('/k', 'v')] }),
        subscription('b'),
      ],
      event: event({ k: 'v' }),
      expected: ['a', 'b', 'c'],
    },
    {
      name: 'knows no other service',
      subscriptions: [subscription('a')],
      event: event({}, { service: 'numbers' }),
      expected: [],
    },
    {
      name: 'knows no other event',
      subscriptions: [subscription('a')],
      event: event({}, { event: 'sms.inbound' }),
      expected: [],
    },
    {
      name: 'wants every condition met',
      subscriptions: [subscription('a', { conditions: [condition('/k', 'v'), condition('/l', 'w')] })],
      event: event({ k: 'v', l: 'other' }),
      expected: [],
    },
    {
      name: 'takes any value of a condition',
      subscriptions: [subscription('a', { conditions: [condition('/k', 'v', 'w')] })],
      event: event({ k: 'w' }),
      expected: ['a'],
    },
    {
      name: 'leaves out what was made after the event, with conditions',
      subscriptions: [subscription('a', { createdVersion: 6, conditions: [condition('/k', 'v')] })],
      event: event({ k: 'v' }, { workspaceVersion: 5 }),
      expected: [],
    },
    {
      name: 'leaves out what was made after the event, without conditions',
      subscriptions: [subscription('a', { createdVersion: 6 }), subscription('b', { createdVersion: 5 })],
      event: event({}, { workspaceVersion: 5 }),
      expected: ['b'],
    },
    {
      name: 'does not take what every object inherits for a value',
      subscriptions: [subscription('a', { conditions: [condition('/constructor/name', 'Object')] })],
      event: event({}),
      expected: [],
    },
  ]
  for (const { name, subscriptions, event: published, expected } of cases) {
    it(name, () => expect(matched(subscriptions, published)).to.deep.equal(expected))
  }

  it('never parses an event that nobody filters', () => {
    const broken = event({}, { payload: Buffer.from('{') })

    expect(matched([subscription('a')], broken)).to.deep.equal(['a'])
    expect(() => matched([subscription('a', { conditions: [condition('/k', 'v')] })], broken)).to.throw(
      SyntaxError,
    )
  })

  it('knows a subscription by its last put, and none that was removed', () => {
    const index = createMatchIndex<Matchable>()
    index.put(subscription('a', { conditions: [condition('/k', 'old')] }))
    index.put(subscription('b'))
    index.put(subscription('a', { conditions: [condition('/k', 'new')], event: 'sms.inbound' }))
    index.remove('b')
    index.remove('b')
    index.remove('never there')

    expect(index.match(event({ k: 'old' }))).to.deep.equal([])
    expect(index.match(event({ k: 'new' }))).to.deep.equal([])
    expect(index.match(event({ k: 'new' }, { event: 'sms.inbound' })).map(({ id }) => id)).to.deep.equal([
      'a',
    ])
    expect([index.size, index.get('a')?.event, index.get('b')]).to.deep.equal([1, 'sms.inbound', undefined])
  })

  it('finds what a look at every subscription would find, after any puts and removals', () => {
    // Few of each, so that subscriptions share paths and values and most events meet some.
    const id = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f')
    const names = { service: fc.constantFrom('s', 't'), event: fc.constantFrom('x', 'y') }
    const value = fc.constantFrom('1', 'true', 'red', '')
    const anyCondition = fc.record({
      path: fc.constantFrom('/p', '/q', '/q/r', '/list/0'),
      values: fc.uniqueArray(value, { minLength: 1, maxLength: 3 }).map(values => new Set(values)),
    })
    const put = fc.record({
      id,
      ...names,
      conditions: fc.uniqueArray(anyCondition, { maxLength: 3, selector: ({ path }) => path }),
      createdVersion: fc.integer({ min: 0, max: 3 }),
    })
    const scalar = fc.constantFrom<unknown>('1', 1, true, 'true', 'red', '', null, 1.5)
    const payload = fc.oneof(
      scalar,
      fc.record(
        {
          p: scalar,
          q: fc.oneof(scalar, fc.record({ r: scalar })),
          list: fc.array(scalar, { maxLength: 2 }),
        },
        { requiredKeys: [] },
      ),
    )
    const anyEvent = fc.record({ ...names, payload, workspaceVersion: fc.integer({ min: 0, max: 3 }) })
    const step = fc.oneof(
      { weight: 4, arbitrary: put.map(item => ({ put: item })) },
      { weight: 1, arbitrary: id.map(removed => ({ remove: removed })) },
      { weight: 4, arbitrary: anyEvent.map(published => ({ publish: published })) },
    )

    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const index = createMatchIndex<Matchable>()
        const all = new Map<string, Matchable>()
        for (const each of steps) {
          if ('put' in each) {
            index.put(each.put)
            all.set(each.put.id, each.put)
          } else if ('remove' in each) {
            index.remove(each.remove)
            all.delete(each.remove)
          } else {
            const published = { ...each.publish, payload: Buffer.from(JSON.stringify(each.publish.payload)) }
            expect(index.match(published).map(found => found.id)).to.deep.equal(lookAtEvery(all, published))
          }
          expect(index.size).to.equal(all.size)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

function lookAtEvery(all: ReadonlyMap<string, Matchable>, published: MatchableEvent): string[] {
  const wanted = [...all.values()].filter(
    item =>
      item.service === published.service &&
      item.event === published.event &&
      item.createdVersion <= published.workspaceVersion &&
      item.conditions.every(({ path, values }) => {
        const found = valueAt(JSON.parse(published.payload.toString()), path.split('/').slice(1))
        const isComparable = ['string', 'number', 'boolean'].includes(typeof found)
        return isComparable && values.has(String(found))
      }),
  )
  return wanted.map(({ id }) => id).toSorted()
}

function valueAt(value: unknown, names: readonly string[]): unknown {
  const [name, ...rest] = names
  if (name === undefined) return value
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return valueAt((value as Record<string, unknown>)[name], rest)
}
