import { expect } from 'chai'
import { describe, it } from 'mocha'
import { parseDocument, rawPaths } from '#src/domain/json.ts'
import { faultsMax } from '#src/errors.ts'
import { checkReply, validateBody, validateQuery } from '#src/http/validate.ts'

type Case = { what: string; body: unknown; faults: [pointer: string, detail: string][] }

const subscription = { service: 'channels', event: 'sms.outbound', url: 'https://example.com/webhook' }
const event = { service: 'channels', event: 'sms.outbound', payload: { status: 'sent' } }
const issuer = {
  issuer: 'https://auth.example.com',
  audience: 'us',
  algorithms: ['ES256'],
  scopes: ['events:publish'],
}
const key = { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' }

const dateTime = 'must be a date and time with its zone (RFC 3339), such as 2026-03-01T09:30:00Z'
const serviceForm = 'must have this form: a service, in letters, digits, - and _, such as channels'
const eventForm =
  'must have this form: the name of an event, in words of letters, digits, - and _ with dots between them, such as sms.outbound'
const keyForm =
  'must have this form: the key that signs what is sent: 24 to 128 printable ASCII characters, without a space at either end. One is made when it is left out'
const policies = 'must be one of: standard, bird, hourly, none, or an object, or null'

function refuses(schemaName: string, cases: Case[]): void {
  for (const { what, body, faults } of cases) {
    it(`refuses ${what}`, () => {
      expect(validateBody(schemaName, body)).to.deep.equal(
        faults.map(([pointer, detail]) => ({ pointer, detail })),
      )
    })
  }
}

/** A table row for one wrong property of an otherwise good body. */
function wrong<Body extends object>(body: Body) {
  return (property: string, value: unknown, ...faults: [pointer: string, detail: string][]): Case => ({
    what: `${property} as ${JSON.stringify(value).slice(0, 60)}`,
    body: { ...body, [property]: value },
    faults,
  })
}

describe('the body of a new organization', () => {
  it('is taken with a name of 1 to 255 characters, counted as people do', () => {
    for (const name of ['A', 'x'.repeat(255), '🎈'.repeat(255)]) {
      expect(validateBody('organization-create', { name })).to.deep.equal([])
    }
  })

  refuses('organization-create', [
    { what: 'no name', body: {}, faults: [['/name', 'is required']] },
    {
      what: 'an empty name',
      body: { name: '' },
      faults: [['/name', 'must have between 1 and 255 characters']],
    },
    {
      what: 'a long name',
      body: { name: 'x'.repeat(256) },
      faults: [['/name', 'must have between 1 and 255 characters']],
    },
    {
      what: 'other properties, whose names are escaped in pointers',
      body: { name: 'A', 'a/b~c': 1, constructor: 2 },
      faults: [
        ['/a~1b~0c', 'unknown property; known ones are: name'],
        ['/constructor', 'unknown property; known ones are: name'],
      ],
    },
    ...['text', 7, true, null, []].map((body): Case => ({
      what: JSON.stringify(body),
      body,
      faults: [['', 'must be an object']],
    })),
    ...[7, true, null, [], {}].map((name): Case => ({
      what: `the name ${JSON.stringify(name)}`,
      body: { name },
      faults: [['/name', 'must be a string']],
    })),
  ])

  it('may have no prototype', () => {
    expect(
      validateBody('organization-create', Object.assign(Object.create(null), { name: 'A' })),
    ).to.deep.equal([])
    expect(validateBody('organization-create', Object.create(null))).to.deep.equal([
      { pointer: '/name', detail: 'is required' },
    ])
  })

  it('does not get its name from a prototype key', () => {
    const body: unknown = JSON.parse('{"__proto__":{"name":"A"}}')
    expect(validateBody('organization-create', body)).to.deep.equal([
      { pointer: '/name', detail: 'is required' },
      { pointer: '/__proto__', detail: 'unknown property; known ones are: name' },
    ])
  })
})

describe('the changes of an organization', () => {
  refuses('organization-patch', [
    { what: 'that there are none', body: {}, faults: [['', 'must have at least one of: name']] },
  ])
})

describe('the body of a new access key', () => {
  const body = { name: 'Key', scopes: ['events:publish'] }
  const scopes =
    'must be one of: workspaces:write, subscriptions:read, subscriptions:write, events:publish, events:read, deliveries:read, deliveries:write, catalogue:write, keys:write, portal:write'
  const having = wrong(body)

  refuses('access-key-create', [
    having('scopes', [], ['/scopes', 'must have between 1 and 10 items']),
    having('scopes', ['events:read', 'all'], ['/scopes/1', scopes]),
    having(
      'scopes',
      ['events:read', 'keys:write', 'events:read'],
      ['/scopes', 'must not hold the same value twice, as items 0 and 2 do'],
    ),
    having('expiresAt', '2027-01-01', ['/expiresAt', dateTime]),
    having('secret', 'mine', ['/secret', 'unknown property; known ones are: name, scopes, expiresAt']),
  ])
})

describe('a date and time', () => {
  const faultsOf = (expiresAt: string) =>
    validateBody('access-key-create', { name: 'Key', scopes: ['events:read'], expiresAt })

  for (const text of [
    '2026-03-01T09:30:00Z',
    '2026-03-01T09:30:00.123456789Z',
    '2028-02-29T23:59:59+05:45',
    '2026-03-01T09:30:00-00:00',
  ]) {
    it(`is ${text}, which JavaScript can read`, () => {
      expect(faultsOf(text)).to.deep.equal([])
      expect(Number.isNaN(Date.parse(text))).to.equal(false)
    })
  }
  for (const text of [
    '2026-03-01T09:30:00',
    '2026-03-01 09:30:00Z',
    '2026-02-29T09:30:00Z',
    '2026-03-01T24:00:00Z',
    '2016-12-31T23:59:60Z',
    '2026-03-01T09:30:00+0100',
    '+02026-03-01T09:30:00Z',
    '1772357400',
    '',
  ]) {
    it(`is not ${JSON.stringify(text)}`, () => {
      expect(faultsOf(text)).to.deep.equal([{ pointer: '/expiresAt', detail: dateTime }])
    })
  }
})

describe('the body of a new trusted issuer', () => {
  const one = 'must have exactly one of: jwksUrl, jwks'
  const algorithms = 'must be one of: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA'
  const members = 'kty, kid, use, key_ops, alg, n, e, crv, x, y, x5c, x5t, x5t#S256'
  const having = wrong({ ...issuer, jwks: { keys: [key] } })

  it('is taken with either kind of keys', () => {
    expect(validateBody('trusted-issuer-create', { ...issuer, jwks: { keys: [key] } })).to.deep.equal([])
    expect(
      validateBody('trusted-issuer-create', { ...issuer, jwksUrl: 'https://a.example/jwks' }),
    ).to.deep.equal([])
  })

  refuses('trusted-issuer-create', [
    { what: 'no keys', body: issuer, faults: [['', one]] },
    having('jwksUrl', 'https://a.example/jwks', ['', one]),
    ...['HS256', 'HS512', 'none', 'es256'].map(name =>
      having('algorithms', [name], ['/algorithms/0', algorithms]),
    ),
    having('algorithms', [], ['/algorithms', 'must have between 1 and 10 items']),
    having('jwks', { keys: [] }, ['/jwks/keys', 'must have between 1 and 20 items']),
    having('jwks', { keys: [{ ...key, d: 'private' }] }, [
      '/jwks/keys/0/d',
      `unknown property; known ones are: ${members}`,
    ]),
    having(
      'jwks',
      { keys: [key, { kty: 'oct', k: 'shared' }] },
      ['/jwks/keys/1/k', `unknown property; known ones are: ${members}`],
      ['/jwks/keys/1/kty', 'must be one of: RSA, EC, OKP'],
    ),
  ])
})

describe('the body of a new webhook subscription', () => {
  const having = wrong(subscription)

  it('is taken with nothing but what is required', () => {
    expect(validateBody('webhook-subscription-create', subscription)).to.deep.equal([])
  })

  const good: Record<string, unknown[]> = {
    service: ['a', '10dlc', 'my-own_service'],
    event: ['a', '10dlc.brand', 'A.b-c_d.e'],
    eventFilters: [null, [], Array.from({ length: 20 }, (_, i) => ({ key: 'status', value: `${i}` }))],
    name: [null, 'x'.repeat(255)],
    description: [null, '', 'x'.repeat(1024)],
    metadata: [null, {}, { ['x'.repeat(64)]: 'x'.repeat(1024) }],
    signingKey: ['x'.repeat(24), 'x'.repeat(128), 'with spaces between, as some have'],
    signatures: [['bird'], ['bird', 'standard']],
    method: ['POST', 'PUT', 'PATCH', 'GET', 'DELETE'],
    headers: [{}, { 'X-A': '' }, { 'X-A': 'x'.repeat(4096) }],
    params: [{}, { 'a b&c': 'd' }],
    auth: [null, { username: 'u', password: '' }, { username: 'u', password: 'a:b' }],
    timeoutMs: [null, 1000, 60000],
    retryPolicy: [
      null,
      'standard',
      'bird',
      'hourly',
      'none',
      { delays: [0] },
      { delays: Array(50).fill(86400) },
    ],
    successStatus: ['2xx', [200], [200, 404, 599]],
  }
  for (const [property, values] of Object.entries(good)) {
    it(`is taken with any good ${property}`, () => {
      for (const value of values) {
        const faults = validateBody('webhook-subscription-create', { ...subscription, [property]: value })
        expect(faults, JSON.stringify(value)).to.deep.equal([])
      }
    })
  }

  refuses('webhook-subscription-create', [
    {
      what: 'an empty body',
      body: {},
      faults: [
        ['/service', 'is required'],
        ['/event', 'is required'],
        ['/url', 'is required'],
      ],
    },
    having('service', '', ['/service', 'must have between 1 and 255 characters']),
    having('service', 'a.b', ['/service', serviceForm]),
    having('event', 'sms..outbound', ['/event', eventForm]),
    having('event', '.outbound', ['/event', eventForm]),
    having('event', '*', ['/event', eventForm]),
    having('url', '', ['/url', 'must have between 1 and 2,048 characters']),
    having('url', 'https://example.com/'.padEnd(2049, 'x'), [
      '/url',
      'must have between 1 and 2,048 characters',
    ]),
    having('eventFilters', {}, ['/eventFilters', 'must be a list or null']),
    having('eventFilters', Array(21).fill({ key: 'a', value: 'b' }), [
      '/eventFilters',
      'must have at most 20 items',
    ]),
    having(
      'eventFilters',
      [{ key: '', value: 'x'.repeat(257) }, { key: 'a' }, { key: 'a', value: 7, op: 'eq' }, 'a=b'],
      ['/eventFilters/0/key', 'must have between 1 and 64 characters'],
      ['/eventFilters/0/value', 'must have between 1 and 256 characters'],
      ['/eventFilters/1/value', 'is required'],
      ['/eventFilters/2/op', 'unknown property; known ones are: key, value'],
      ['/eventFilters/2/value', 'must be a string'],
      ['/eventFilters/3', 'must be an object'],
    ),
    having('format', 'xml', ['/format', 'must be one of: bird, standard, cloudevents, raw']),
    having('name', '', ['/name', 'must have between 1 and 255 characters']),
    having('name', 7, ['/name', 'must be a string or null']),
    having('description', 'x'.repeat(1025), ['/description', 'must have at most 1,024 characters']),
    having('metadata', [], ['/metadata', 'must be an object or null']),
    having(
      'metadata',
      { a: 1, '': 'b', ['x'.repeat(65)]: 'c', d: { e: 'f' }, g: 'x'.repeat(1025) },
      ['/metadata/', 'the name must have between 1 and 64 characters'],
      [`/metadata/${'x'.repeat(65)}`, 'the name must have between 1 and 64 characters'],
      ['/metadata/a', 'must be a string'],
      ['/metadata/d', 'must be a string'],
      ['/metadata/g', 'must have at most 1,024 characters'],
    ),
    having('metadata', Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`m${i}`, ''])), [
      '/metadata',
      'must have at most 50 members',
    ]),
    having('signingKey', 'x'.repeat(23), ['/signingKey', 'must have between 24 and 128 characters']),
    having('signingKey', 'x'.repeat(129), ['/signingKey', 'must have between 24 and 128 characters']),
    having('signingKey', ` ${'x'.repeat(24)}`, ['/signingKey', keyForm]),
    having('signingKey', 'é'.repeat(24), ['/signingKey', keyForm]),
    having('signatures', [], ['/signatures', 'must have between 1 and 2 items']),
    having(
      'signatures',
      ['bird', 'bird'],
      ['/signatures', 'must not hold the same value twice, as items 0 and 1 do'],
    ),
    having('signatures', ['stripe'], ['/signatures/0', 'must be one of: standard, bird']),
    having('signatures', 'bird', ['/signatures', 'must be a list']),
    having('method', 'post', ['/method', 'must be one of: POST, PUT, PATCH, GET, DELETE']),
    having('headers', null, ['/headers', 'must be an object']),
    having('headers', { 'X-A': ['b'] }, ['/headers/X-A', 'must be a string']),
    having('params', { a: 1 }, ['/params/a', 'must be a string']),
    having('auth', { username: 'u' }, ['/auth/password', 'is required']),
    having(
      'auth',
      { username: 'a:b', password: 7, realm: 'x' },
      ['/auth/realm', 'unknown property; known ones are: username, password'],
      ['/auth/username', 'must have this form: a user name without a colon'],
      ['/auth/password', 'must be a string'],
    ),
    having('timeoutMs', 999, ['/timeoutMs', 'must be between 1,000 and 60,000']),
    having('timeoutMs', 60001, ['/timeoutMs', 'must be between 1,000 and 60,000']),
    having('timeoutMs', 1000.5, ['/timeoutMs', 'must be a whole number or null']),
    having('timeoutMs', '5000', ['/timeoutMs', 'must be a whole number or null']),
    having('retryPolicy', 'often', ['/retryPolicy', policies]),
    having('retryPolicy', 7, ['/retryPolicy', policies]),
    having('retryPolicy', [], ['/retryPolicy', policies]),
    having('retryPolicy', {}, ['/retryPolicy/delays', 'is required']),
    having('retryPolicy', { delays: [] }, ['/retryPolicy/delays', 'must have between 1 and 50 items']),
    having('retryPolicy', { delays: Array(51).fill(0) }, [
      '/retryPolicy/delays',
      'must have between 1 and 50 items',
    ]),
    having(
      'retryPolicy',
      { delays: [-1, 86401, 0.5, '5'] },
      ['/retryPolicy/delays/0', 'must be between 0 and 86,400'],
      ['/retryPolicy/delays/1', 'must be between 0 and 86,400'],
      ['/retryPolicy/delays/2', 'must be a whole number'],
      ['/retryPolicy/delays/3', 'must be a whole number'],
    ),
    having('successStatus', '3xx', ['/successStatus', 'must be 2xx, or a list']),
    having('successStatus', [], ['/successStatus', 'must have between 1 and 50 items']),
    having(
      'successStatus',
      [199, 600],
      ['/successStatus/0', 'must be between 200 and 599'],
      ['/successStatus/1', 'must be between 200 and 599'],
    ),
    ...['status', 'endpointId', 'secret'].map(name =>
      having(name, 'active', [
        `/${name}`,
        'unknown property; known ones are: service, event, url, eventFilters, format, name, description, metadata, signingKey, signatures, method, headers, params, auth, timeoutMs, retryPolicy, successStatus',
      ]),
    ),
  ])
})

describe('the changes of a webhook subscription', () => {
  const cannot = 'cannot be changed: make a new subscription instead'

  it('may be a single property, and null clears', () => {
    for (const patch of [{ status: 'inactive' }, { eventFilters: null }, { auth: null }, { name: null }]) {
      expect(validateBody('webhook-subscription-patch', patch)).to.deep.equal([])
    }
  })

  refuses('webhook-subscription-patch', [
    {
      what: 'that there are none',
      body: {},
      faults: [
        [
          '',
          'must have at least one of: url, eventFilters, format, name, description, metadata, signatures, method, headers, params, auth, timeoutMs, retryPolicy, successStatus, signingKey, status',
        ],
      ],
    },
    {
      what: 'another service and event',
      body: { service: 'channels', event: 'sms.inbound' },
      faults: [
        ['/service', cannot],
        ['/event', cannot],
      ],
    },
    {
      what: 'to be disabled',
      body: { status: 'disabled' },
      faults: [['/status', 'must be one of: active, inactive']],
    },
    { what: 'no URL', body: { url: null }, faults: [['/url', 'must be a string']] },
  ])
})

describe('the rotation of a signing key', () => {
  it('may say nothing at all', () => {
    expect(validateBody('rotate-signing-key', {})).to.deep.equal([])
    expect(validateBody('rotate-signing-key', { overlapSeconds: 0 })).to.deep.equal([])
    expect(validateBody('rotate-signing-key', { overlapSeconds: 604800 })).to.deep.equal([])
  })

  const having = wrong({})
  refuses('rotate-signing-key', [
    having('overlapSeconds', -1, ['/overlapSeconds', 'must be between 0 and 604,800']),
    having('overlapSeconds', 604801, ['/overlapSeconds', 'must be between 0 and 604,800']),
    having('overlapSeconds', null, ['/overlapSeconds', 'must be a whole number']),
  ])
})

describe('the body of a new event', () => {
  for (const payload of [null, false, 0, '', [], {}, { service: 1 }, Buffer.from('{"a":1}')]) {
    it(`may have the payload ${Buffer.isBuffer(payload) ? 'as bytes' : JSON.stringify(payload)}`, () => {
      expect(validateBody('event-publish', { ...event, payload })).to.deep.equal([])
    })
  }

  it('is taken as the reader of requests gives it, the payload as bytes', () => {
    const bytes = Buffer.from(
      '{"service":"channels","event":"sms.outbound","payload":{"a":1.0,"a":"\\u0000"}}',
    )
    expect(validateBody('event-publish', parseDocument(bytes, rawPaths('/payload')))).to.deep.equal([])
  })

  const having = wrong(event)
  const { payload: _, ...withoutPayload } = event
  refuses('event-publish', [
    { what: 'no payload', body: withoutPayload, faults: [['/payload', 'is required']] },
    having('id', '', ['/id', 'must have between 1 and 256 characters']),
    having('id', 'x'.repeat(257), ['/id', 'must have between 1 and 256 characters']),
    having('id', 7, ['/id', 'must be a string']),
    having('occurredAt', 1772357400, ['/occurredAt', 'must be a string']),
    having('occurredAt', 'yesterday', ['/occurredAt', dateTime]),
    having('data', {}, [
      '/data',
      'unknown property; known ones are: service, event, payload, id, occurredAt',
    ]),
  ])
})

describe('a batch of events', () => {
  it('may hold 1 to 1,000', () => {
    expect(validateBody('event-batch', { events: [event] })).to.deep.equal([])
    expect(validateBody('event-batch', { events: Array(1000).fill(event) })).to.deep.equal([])
  })

  refuses('event-batch', [
    { what: 'no event', body: { events: [] }, faults: [['/events', 'must have between 1 and 1,000 items']] },
    {
      what: '1,001 events',
      body: { events: Array(1001).fill(event) },
      faults: [['/events', 'must have between 1 and 1,000 items']],
    },
    {
      what: 'wrong events, each with its place',
      body: { events: [event, { ...event, service: '' }, 7, { ...event, extra: 1 }] },
      faults: [
        ['/events/1/service', 'must have between 1 and 255 characters'],
        ['/events/2', 'must be an object'],
        ['/events/3/extra', 'unknown property; known ones are: service, event, payload, id, occurredAt'],
      ],
    },
  ])

  it('names the first faults of many', () => {
    const faults = validateBody('event-batch', { events: Array(1000).fill({ event: 'a', payload: 1 }) })
    expect(faults.map(({ pointer }) => pointer)).to.deep.equal(
      Array.from({ length: faultsMax }, (_, i) => `/events/${i}/service`),
    )
  })

  it('names one fault of a flood, and looks for no more', () => {
    for (const flood of [
      { events: Array(1_000_000).fill({}) },
      { x: 1, events: Array(1_000_000).fill({}) },
      { events: [Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`x${i}`, i]))] },
    ]) {
      expect(validateBody('event-batch', flood)).to.have.length(1)
    }
  })
})

describe('the query of a list', () => {
  const query = (text: string, schemaName = 'webhook-subscriptions-query') =>
    validateQuery(schemaName, new URLSearchParams(text))

  it('has ten results unless it says otherwise', () => {
    expect(query('')).to.deep.equal({ value: { limit: 10 } })
  })

  it('has its number as a number, and its text as it was before it was encoded', () => {
    expect(query('limit=100&service=channels&url=https%3A%2F%2Fexample.com%2F%3Fa%3D1')).to.deep.equal({
      value: { limit: 100, service: 'channels', url: 'https://example.com/?a=1' },
    })
  })

  it('leaves text that looks like a number alone', () => {
    expect(query('service=10')).to.deep.equal({ value: { limit: 10, service: '10' } })
  })

  const known = 'known ones are: limit, pageToken, service, event, status, url'
  const cases: { text: string; schemaName?: string; faults: [pointer: string, detail: string][] }[] = [
    { text: 'limit=0', faults: [['?limit', 'must be between 1 and 100']] },
    { text: 'limit=101', faults: [['?limit', 'must be between 1 and 100']] },
    { text: 'limit=ten', faults: [['?limit', 'must be a whole number']] },
    { text: 'limit=1.5', faults: [['?limit', 'must be a whole number']] },
    { text: 'limit=0x10', faults: [['?limit', 'must be written in digits only']] },
    { text: 'limit=1e1', faults: [['?limit', 'must be written in digits only']] },
    { text: 'limit=+5', faults: [['?limit', 'must be written in digits only']] },
    { text: 'limit=010', faults: [['?limit', 'must be written in digits only']] },
    { text: 'limit=', faults: [['?limit', 'must not be empty; leave it out instead']] },
    { text: 'limit', faults: [['?limit', 'must not be empty; leave it out instead']] },
    { text: 'limit=5&limit=5', faults: [['?limit', 'must be given only once']] },
    { text: 'limit=0x10&url=a%00b', faults: [['?url', 'must not contain control characters']] },
    { text: 'status=on', faults: [['?status', 'must be one of: active, inactive, disabled']] },
    { text: 'page=2', faults: [['?page', `unknown parameter; ${known}`]] },
    { text: 'a%2Fb~c=2', faults: [['?a/b~c', `unknown parameter; ${known}`]] },
    { text: '__proto__=2', faults: [['?__proto__', `unknown parameter; ${known}`]] },
    { text: '=2', faults: [['?', `unknown parameter; ${known}`]] },
    {
      text: 'Limit=5&filter[service]=a',
      faults: [
        ['?Limit', `unknown parameter; ${known}`],
        ['?filter[service]', `unknown parameter; ${known}`],
      ],
    },
    { text: '', schemaName: 'log-details-query', faults: [['?requestId', 'is required']] },
    { text: 'requestId=1', schemaName: 'log-details-query', faults: [['?requestId', 'must be a UUID']] },
    {
      text: 'requestId=urn:uuid:019a3c52-0b4e-7f63-a2d8-914c5e7b3f06',
      schemaName: 'log-details-query',
      faults: [['?requestId', 'must be a UUID']],
    },
    { text: 'since=2026-03-01', schemaName: 'events-query', faults: [['?since', dateTime]] },
    {
      text: 'limit=5',
      schemaName: 'available-webhooks-query',
      faults: [['?limit', 'unknown parameter; known ones are: service']],
    },
  ]
  for (const { text, schemaName, faults } of cases) {
    it(`cannot be ${JSON.stringify(text)}${schemaName ? ` in ${schemaName}` : ''}`, () => {
      expect(query(text, schemaName)).to.deep.equal(faults.map(([pointer, detail]) => ({ pointer, detail })))
    })
  }

  it('names the first faults of many', () => {
    const text = Array.from({ length: 100 }, (_, i) => `x${i}=`).join('&')
    expect(query(text)).to.have.length(faultsMax)
  })
})

describe('a reply', () => {
  const organization = {
    id: '823fbfaf-f14e-4693-b55a-8ec1c17d649e',
    name: 'Acme',
    createdAt: '2026-03-01T09:30:00.000Z',
    updatedAt: '2026-03-01T09:30:00.000Z',
  }
  const shown = {
    id: '019a3c51-7d20-7b31-9c54-6f0e2a1b8d47',
    organizationId: organization.id,
    workspaceId: 'a1405560-c8d3-4b1a-877d-3f449ad95352',
    endpointId: '019a3c51-7d20-7c02-8e1a-35d94b7c6a10',
    ...subscription,
    eventFilters: [],
    format: 'bird',
    signatures: ['bird'],
    method: 'POST',
    headers: {},
    params: {},
    timeoutMs: 15000,
    retryPolicy: { delays: [0, 5] },
    successStatus: '2xx',
    status: 'active',
    createdAt: organization.createdAt,
    updatedAt: organization.updatedAt,
  }
  const cases = [
    { what: 'fits', schemaName: 'organization', reply: organization, differences: [] },
    {
      what: 'is not there',
      schemaName: 'organization',
      reply: undefined,
      differences: ['the reply: must be an object'],
    },
    {
      what: 'has a column more than it should',
      schemaName: 'organization',
      reply: { ...organization, deletedAt: null },
      differences: ['/deletedAt: unknown property; known ones are: id, name, createdAt, updatedAt'],
    },
    { what: 'shows a subscription', schemaName: 'webhook-subscription', reply: shown, differences: [] },
    {
      what: 'gives the value of a header away',
      schemaName: 'webhook-subscription',
      reply: { ...shown, headers: { 'X-A': 'secret' } },
      differences: ['/headers/X-A: must be ***'],
    },
    {
      what: 'gives a password away',
      schemaName: 'webhook-subscription',
      reply: { ...shown, auth: { username: 'u', password: 'secret' } },
      differences: ['/auth/password: must be ***'],
    },
    {
      what: 'has a wrong result on a page',
      schemaName: 'organizations-page',
      reply: { results: [organization, { ...organization, id: 7 }] },
      differences: ['/results/1/id: must be a string'],
    },
    {
      what: 'has a code with the status of another',
      schemaName: 'problem',
      reply: {
        type: 'about:blank',
        title: 'T',
        status: 404,
        detail: 'D.',
        code: 'forbidden',
        requestId: 'r',
      },
      differences: ['the reply: must be of another form'],
    },
  ]
  for (const { what, schemaName, reply, differences } of cases) {
    it(`that ${what} ${differences.length === 0 ? 'passes' : 'is told apart'}`, () => {
      expect(checkReply(schemaName, reply)).to.deep.equal(differences)
    })
  }

  it('cannot be checked against a schema that does not exist', () => {
    expect(() => checkReply('organisation', organization)).to.throw('there is no schema organisation')
  })
})
