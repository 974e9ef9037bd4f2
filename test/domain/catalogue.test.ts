import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { expect } from 'chai'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { buildCatalogue, eventTypeFaults, filterValueOf, normaliseFilters } from '#src/domain/catalogue.ts'
import type { CatalogueFile, FilterKey } from '#src/domain/catalogue.ts'
import type { EventFilter } from '#src/domain/subscription.ts'
import channels from '#schemas/catalogue/channels.json' with { type: 'json' }
import conversations from '#schemas/catalogue/conversations.json' with { type: 'json' }
import hookseal from '#schemas/catalogue/hookseal.json' with { type: 'json' }
import numbers from '#schemas/catalogue/numbers.json' with { type: 'json' }
import payments from '#schemas/catalogue/payments.json' with { type: 'json' }

const files: CatalogueFile[] = [channels, numbers, payments, conversations, hookseal]
const catalogue = buildCatalogue(files)
const keysOf = (service: string, event: string): string[] | undefined =>
  catalogue.find(service, event)?.filterKeys.map(({ key }) => key)

describe('the built-in catalogue', () => {
  it('has five services', () => {
    expect(catalogue.services()).to.deep.equal([
      'channels',
      'numbers',
      'payments',
      'conversations',
      'hookseal',
    ])
  })

  const platforms = [
    'sms',
    'whatsapp',
    'email',
    'line',
    'instagram',
    'facebook',
    'viber',
    'linkedin',
    'tiktok',
    'apple-business-chat',
    'telegram',
  ]
  for (const platform of platforms) {
    it(`has what comes in, goes out and is done with messages of ${platform}`, () => {
      expect(keysOf('channels', `${platform}.inbound`)).to.deep.equal(['channelId'])
      expect(keysOf('channels', `${platform}.outbound`)).to.deep.equal(['channelId', 'messageStatus'])
      expect(keysOf('channels', `${platform}.interaction`)).to.deep.equal(['channelId', 'interactionType'])
    })
  }

  it('has calls, whose status may be filtered by several values', () => {
    for (const event of ['voice.inbound', 'voice.outbound']) {
      expect(keysOf('channels', event)).to.deep.equal(['channelId', 'status'])
      expect(repeatableKeys('channels', event)).to.deep.equal(['status'])
    }
    expect(repeatableKeys('channels', 'sms.outbound')).to.deep.equal([])
  })

  it('has nothing else in channels', () => {
    expect(catalogue.eventsOf('channels')).to.have.length(platforms.length * 3 + 2)
    expect(catalogue.find('channels', 'voice.interaction')).to.equal(undefined)
  })

  it('has the events of numbers, which cannot be filtered', () => {
    expect(catalogue.eventsOf('numbers').map(({ name, filterKeys }) => [name, filterKeys])).to.deep.equal([
      ['endpoint', []],
      ['10dlc.brand', []],
      ['10dlc.campaign', []],
      ['10dlc.vetting', []],
      ['tfn.verification', []],
    ])
  })

  it('has the life of conversations, by channel', () => {
    expect(
      catalogue.eventsOf('conversations').map(({ name }) => [name, keysOf('conversations', name)]),
    ).to.deep.equal([
      ['conversation.created', ['channelId']],
      ['conversation.updated', ['channelId']],
      ['conversation.deleted', ['channelId']],
    ])
  })

  it('leaves the events of payments to organizations', () => {
    expect(catalogue.eventsOf('payments')).to.deep.equal([])
  })

  it('has what happens to deliveries', () => {
    expect(catalogue.eventsOf('hookseal').map(({ name }) => name)).to.deep.equal([
      'endpoint.degraded',
      'endpoint.disabled',
      'endpoint.recovered',
      'delivery.failed',
      'webhook.test',
    ])
  })

  it('takes names of the prototype for unknown', () => {
    expect(catalogue.find('constructor', 'toString')).to.equal(undefined)
    expect(catalogue.find('channels', '__proto__')).to.equal(undefined)
    expect(catalogue.eventsOf('__proto__')).to.deep.equal([])
  })

  it('has in every sample a value for every filter key, so that a test event can be matched', () => {
    const lacking = catalogue
      .services()
      .flatMap(service =>
        catalogue
          .eventsOf(service)
          .flatMap(({ name, sample, filterKeys }) =>
            filterKeys
              .filter(({ path }) => filterValueOf(sample, path) === undefined)
              .map(({ key }) => `${name} ${key}`),
          ),
      )
    expect(lacking).to.deep.equal([])
  })

  it('uses every sample and every filter key that it defines', () => {
    for (const file of files) {
      const used = file.events.flatMap(event => event.filterKeys)
      expect(Object.keys(file.filterKeys), file.service).to.have.members([...new Set(used)])
      const samples = file.events.map(event => event.sample)
      expect(Object.keys(file.samples), file.service).to.have.members([...new Set(samples)])
    }
  })
})

describe('a file of the catalogue', () => {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true })
  formats.default(ajv)
  for (const name of ['common', 'catalogue']) ajv.addSchema(readSchema(name))
  const validate = ajv.getSchema('catalogue.json')!

  for (const file of files) {
    it(`${file.service} has the form that schemas/catalogue.json describes`, () => {
      expect(validate(file), ajv.errorsText(validate.errors)).to.equal(true)
    })
  }

  it('is refused in another form', () => {
    expect(
      validate({ ...payments, events: [{ name: 'a b', description: 'x', filterKeys: [], sample: 's' }] }),
    ).to.equal(false)
  })

  const event = { name: 'paid', description: 'Paid.', filterKeys: [], sample: 'paid' }
  const file = {
    service: 'shop',
    description: 'A shop.',
    filterKeys: {},
    samples: { paid: {} },
    events: [event],
  }

  it('is built when what its events name is there', () => {
    expect(buildCatalogue([file]).find('shop', 'paid')).to.deep.include({
      service: 'shop',
      name: 'paid',
      sample: {},
    })
  })

  const broken = [
    { what: 'an unknown sample', files: [{ ...file, samples: {} }], message: /unknown sample paid/ },
    {
      what: 'an unknown key',
      files: [{ ...file, events: [{ ...event, filterKeys: ['toString'] }] }],
      message: /toString/,
    },
    { what: 'an event twice', files: [{ ...file, events: [event, event] }], message: /twice/ },
    {
      what: 'a service twice',
      files: [file, file],
      message: /two files/,
    },
  ]
  for (const { what, files: wrong, message } of broken) {
    it(`cannot be built with ${what}`, () => {
      expect(() => buildCatalogue(wrong)).to.throw(message)
    })
  }
})

describe('an event type that is not in the catalogue', () => {
  const services = 'known ones are: channels, numbers, payments, conversations, hookseal'
  const cases = [
    { of: ['channels', 'sms.outbond'], detail: 'is not an event of channels; did you mean sms.outbound?' },
    {
      of: ['channels', 'SMS.inbound'],
      detail: 'is not an event of channels; did you mean sms.inbound or sms.outbound?',
    },
    {
      of: ['conversations', 'conversation.create'],
      detail: 'is not an event of conversations; did you mean conversation.created?',
    },
    {
      of: ['channels', 'endpoint'],
      detail: 'is not an event of channels; did you mean endpoint of numbers?',
    },
    {
      of: ['payments', 'paid'],
      detail: 'is not an event of payments; available-webhooks lists what there is',
    },
    {
      of: ['channels', 'x'.repeat(255)],
      detail: 'is not an event of channels; available-webhooks lists what there is',
    },
  ] as const
  for (const { of, detail } of cases) {
    it(`is explained: ${of.join(' ').slice(0, 60)}`, () => {
      expect(eventTypeFaults(catalogue, of[0], of[1], '')).to.deep.equal([{ pointer: '/event', detail }])
    })
  }

  it('is explained by its service, if that is what is wrong', () => {
    expect(eventTypeFaults(catalogue, 'chanels', 'sms.outbound', '/events/7')).to.deep.equal([
      {
        pointer: '/events/7/service',
        detail: `is not a known service; ${services}; did you mean sms.outbound of channels?`,
      },
    ])
    expect(eventTypeFaults(catalogue, 'x', 'y', '')).to.deep.equal([
      { pointer: '/service', detail: `is not a known service; ${services}` },
    ])
  })

  it('is no fault when it is in the catalogue', () => {
    expect(eventTypeFaults(catalogue, 'channels', 'sms.outbound', '')).to.deep.equal([])
  })

  it('has at most five suggestions, the nearest first', () => {
    const names = catalogue.suggest('numbers', '10dlc.bran').map(({ name }) => name)
    expect(names[0]).to.equal('10dlc.brand')
    const like = (name: string) => ({ name, description: 'd', filterKeys: [], sample: 's' })
    const events = ['aa', 'ab', 'ac', 'ad', 'ae', 'af', 'ag'].map(like)
    const crowded = buildCatalogue([
      { service: 's', description: 'd', filterKeys: {}, samples: { s: 1 }, events },
    ])
    expect(crowded.suggest('s', 'a')).to.have.length(5)
  })
})

describe('the value a filter compares', () => {
  const payload: unknown = JSON.parse(
    '{"s":"text","empty":"","n":7,"f":1.50,"big":1e21,"t":true,"no":false,"nil":null,"o":{"p":{"q":"deep"}},"l":["a",{"b":"c"}],"a/b":"slash","m~n":"tilde","~1":"both","":"nameless","__proto__":"own"}',
  )
  const cases = [
    { path: '/s', value: 'text' },
    { path: '/empty', value: '' },
    { path: '/n', value: '7' },
    { path: '/f', value: '1.5' },
    { path: '/big', value: '1e+21' },
    { path: '/t', value: 'true' },
    { path: '/no', value: 'false' },
    { path: '/nil', value: undefined },
    { path: '/o', value: undefined },
    { path: '/o/p/q', value: 'deep' },
    { path: '/l', value: undefined },
    { path: '/l/0', value: 'a' },
    { path: '/l/1/b', value: 'c' },
    { path: '/l/2', value: undefined },
    { path: '/l/00', value: undefined },
    { path: '/l/-', value: undefined },
    { path: '/l/length', value: undefined },
    { path: '/a~1b', value: 'slash' },
    { path: '/m~0n', value: 'tilde' },
    { path: '/~01', value: 'both' },
    { path: '/', value: 'nameless' },
    { path: '/__proto__', value: 'own' },
    { path: '/toString', value: undefined },
    { path: '/s/length', value: undefined },
    { path: '/nil/x', value: undefined },
    { path: '/missing/x', value: undefined },
    { path: '', value: undefined },
  ]
  for (const { path, value } of cases) {
    it(`at ${JSON.stringify(path)} is ${JSON.stringify(value)}`, () => {
      expect(filterValueOf(payload, path)).to.equal(value)
    })
  }

  it('is the payload itself for the empty pointer', () => {
    expect(filterValueOf('whole', '')).to.equal('whole')
    expect(filterValueOf(null, '')).to.equal(undefined)
  })

  it('cannot be asked for by what is no pointer', () => {
    expect(() => filterValueOf(payload, 's')).to.throw(/not a JSON Pointer/)
  })
})

describe('filters in their normal form', () => {
  const voice = catalogue.find('channels', 'voice.inbound')!
  const sms = catalogue.find('channels', 'sms.outbound')!
  const brand = catalogue.find('numbers', '10dlc.brand')!

  for (const nothing of [null, undefined, []]) {
    it(`are none for ${JSON.stringify(nothing)}`, () => {
      expect(normaliseFilters(sms, nothing)).to.deep.equal({ filters: [], key: '[]' })
    })
  }

  it('are sorted, and told apart by their key', () => {
    const filters = [
      { key: 'messageStatus', value: 'sent' },
      { key: 'channelId', value: 'c' },
    ]
    expect(normaliseFilters(sms, filters)).to.deep.equal({
      filters: [
        { key: 'channelId', value: 'c' },
        { key: 'messageStatus', value: 'sent' },
      ],
      key: '[["channelId","c"],["messageStatus","sent"]]',
    })
  })

  it('lose what is said twice, where a key may be repeated', () => {
    const filters = ['busy', 'failed', 'busy'].map(value => ({ key: 'status', value }))
    expect(normaliseFilters(voice, filters)).to.deep.include({
      key: '[["status","busy"],["status","failed"]]',
    })
  })

  it('do not change the list that was given', () => {
    const filters = Object.freeze([
      { key: 'messageStatus', value: 'sent' },
      { key: 'channelId', value: 'c' },
    ])
    normaliseFilters(sms, filters)
    expect(filters.map(({ key }) => key)).to.deep.equal(['messageStatus', 'channelId'])
  })

  const closed = { service: 's', name: 'e', filterKeys: [filterKey('size', { enum: ['small', 'large'] })] }
  const wrong = [
    {
      what: 'an unknown key',
      type: sms,
      filters: [{ key: 'channelid', value: 'c' }],
      faults: [
        [
          '/eventFilters/0/key',
          'is not a filter key of channels sms.outbound; valid ones are: channelId, messageStatus',
        ],
      ],
    },
    {
      what: 'any key where there are none',
      type: brand,
      filters: [{ key: 'status', value: 'PENDING' }],
      faults: [['/eventFilters/0/key', 'is not a filter key of numbers 10dlc.brand; it has none']],
    },
    {
      what: 'a key of the prototype',
      type: sms,
      filters: [{ key: 'constructor', value: 'c' }],
      faults: [
        [
          '/eventFilters/0/key',
          'is not a filter key of channels sms.outbound; valid ones are: channelId, messageStatus',
        ],
      ],
    },
    {
      what: 'a key twice, even with the same value',
      type: sms,
      filters: ['c', 'c', 'd'].map(value => ({ key: 'channelId', value })),
      faults: [
        ['/eventFilters/1/key', 'channelId can come only once; make a subscription for each value'],
        ['/eventFilters/2/key', 'channelId can come only once; make a subscription for each value'],
      ],
    },
    {
      what: 'a value that cannot come',
      type: closed,
      filters: [{ key: 'size', value: 'medium' }],
      faults: [['/eventFilters/0/value', 'must be one of: small, large']],
    },
  ]
  for (const { what, type, filters, faults } of wrong) {
    it(`cannot have ${what}`, () => {
      expect(normaliseFilters(type, filters)).to.deep.equal(
        faults.map(([pointer, detail]) => ({ pointer, detail })),
      )
    })
  }

  it('take a value from a closed list', () => {
    expect(normaliseFilters(closed, [{ key: 'size', value: 'large' }])).to.deep.include({
      key: '[["size","large"]]',
    })
  })

  const anyKeys = {
    service: 's',
    name: 'e',
    filterKeys: ['a', 'b', 'c'].map(key => filterKey(key, { repeatable: true })),
  }
  const filtersOf = fc.array(
    fc.record({ key: fc.constantFrom('a', 'b', 'c'), value: fc.string({ maxLength: 3 }) }),
    {
      maxLength: 20,
    },
  )
  const keyOf = (filters: readonly EventFilter[]): string => {
    const result = normaliseFilters(anyKeys, filters)
    if (Array.isArray(result)) throw new Error(JSON.stringify(result))
    return result.key
  }

  it('do not depend on the order', () => {
    const shuffled = filtersOf.chain(filters =>
      fc.tuple(fc.constant(filters), fc.shuffledSubarray(filters, { minLength: filters.length })),
    )
    fc.assert(fc.property(shuffled, ([one, other]) => keyOf(one) === keyOf(other)))
  })

  it('have equal keys exactly when they are the same set of pairs', () => {
    const pairsOf = (filters: EventFilter[]) =>
      JSON.stringify([...new Set(filters.map(({ key, value }) => key + value))].sort())
    fc.assert(
      fc.property(filtersOf, filtersOf, (one, other) => {
        const isSame = pairsOf(one) === pairsOf(other)
        return (keyOf(one) === keyOf(other)) === isSame
      }),
    )
  })

  it('are their own normal form', () => {
    fc.assert(
      fc.property(filtersOf, filters => {
        const once = normaliseFilters(anyKeys, filters)
        if (Array.isArray(once)) return false
        expect(normaliseFilters(anyKeys, once.filters)).to.deep.equal(once)
        return true
      }),
    )
  })
})

function repeatableKeys(service: string, event: string): string[] | undefined {
  return catalogue
    .find(service, event)
    ?.filterKeys.filter(({ repeatable }) => repeatable)
    .map(({ key }) => key)
}

function filterKey(key: string, more: Partial<FilterKey>): FilterKey {
  return { key, path: `/${key}`, description: 'A key.', repeatable: false, ...more }
}

function readSchema(name: string): object {
  return JSON.parse(readFileSync(new URL(`../../schemas/${name}.json`, import.meta.url), 'utf8'))
}
