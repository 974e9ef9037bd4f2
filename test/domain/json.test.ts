import { expect } from 'chai'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import {
  envelopeDepthMax,
  envelopeValuesMax,
  parseDocument,
  parseRaw,
  payloadDepthMax,
  rawPaths,
  type RawPaths,
} from '#src/domain/json.ts'
import { AppError } from '#src/errors.ts'

const ofEvent = rawPaths('/payload')
const ofBatch = rawPaths('/events/[]/payload')
const ofWhole = rawPaths('')

describe('reading JSON documents', () => {
  describe('raw parts', () => {
    const payloads = [
      'null',
      '-0',
      '1.0',
      '1e999',
      '12345678901234567890.10',
      '""',
      '"\\u0000 \\ud800 \\/ \\u0061"',
      '"\u007f \u0085 é 🦭"',
      '[]',
      '{}',
      '[ 1 ,\t2 ]',
      '{"b":1,"a":2,"b":3}',
      '{"__proto__":{"isAdmin":true},"constructor":null}',
      '{"payload":{"payload":"}"}}',
      '"\\\\"',
      '"[{\\""',
    ]
    for (const payload of payloads) {
      it(`keeps ${JSON.stringify(payload)} as it came`, () => {
        expect(event(`{"service":"s","payload": ${payload}\n,"id":"1"}`)).to.deep.equal({
          service: 's',
          payload,
          id: '1',
        })
      })
    }

    it('leaves the white space around a raw part out', () => {
      expect(event('{"payload" : \r\n\t [ ] \n}')).to.deep.equal({ payload: '[ ]' })
    })

    it('shares memory with the body instead of copying it', () => {
      const bytes = Buffer.from('{"payload":[1]}')
      const { payload } = parseDocument(bytes, ofEvent) as { payload: Buffer }
      expect(payload.buffer).to.equal(bytes.buffer)
      expect(payload.byteOffset - bytes.byteOffset).to.equal(11)
    })

    it('finds a raw member whose name is escaped', () => {
      expect(event('{"p\\u0061yload":{"a":1,"a":2}}')).to.deep.equal({ payload: '{"a":1,"a":2}' })
    })

    it('takes only the member at the path for raw', () => {
      expect(event('{"subject":{"payload":1},"payloads":[2],"Payload":3}')).to.deep.equal({
        subject: { payload: 1 },
        payloads: [2],
        Payload: 3,
      })
    })

    it('finds the raw part of every element of a batch', () => {
      expect(
        withText(parse('{"events":[{"payload":{"a":1.0}},{"id":"x"},7,{"payload":[ ],"id":"y"}]}', ofBatch)),
      ).to.deep.equal({ events: [{ payload: '{"a":1.0}' }, { id: 'x' }, 7, { payload: '[ ]', id: 'y' }] })
    })

    it('does not take an object for a list', () => {
      expect(parse('{"events":{"0":{"payload":1.0}}}', ofBatch)).to.deep.equal({
        events: { 0: { payload: 1 } },
      })
    })

    it('finds several raw parts in any order', () => {
      const raw = rawPaths('/payloadSchema', '/examples')
      expect(
        withText(parse('{"examples":[1.0],"version":1,"payloadSchema":{"a":"\\n"}}', raw)),
      ).to.deep.equal({
        examples: '[1.0]',
        version: 1,
        payloadSchema: '{"a":"\\n"}',
      })
    })

    it('finds raw parts in a document that is a list', () => {
      expect(withText(parse('[{"data":1.0},{"data":2.0}]', rawPaths('/[]/data')))).to.deep.equal([
        { data: '1.0' },
        { data: '2.0' },
      ])
    })

    it('keeps the outer of two raw parts, one inside the other', () => {
      expect(withText(parse('{"data":{"text":1.0}}', rawPaths('/data', '/data/text')))).to.deep.equal({
        data: '{"text":1.0}',
      })
    })

    it('keeps a whole document raw', () => {
      expect(withText(parse(' {"a":1,"a":1.0}\n', ofWhole))).to.equal('{"a":1,"a":1.0}')
    })

    it('leaves a document without the raw part as it is', () => {
      expect(event('{"service":"s"}')).to.deep.equal({ service: 's' })
      expect(event('[{"payload":1}]')).to.deep.equal([{ payload: 1 }])
      expect(event('"payload"')).to.equal('payload')
    })

    it('gives the value of a raw part on demand', () => {
      const { payload } = parse('{"payload":{"a":1.0,"b":"\\u00e9"}}', ofEvent) as { payload: Buffer }
      expect(parseRaw(payload)).to.deep.equal({ a: 1, b: 'é' })
    })

    it('refuses paths that it would never find', () => {
      for (const pointer of ['payload', '/', '/a~1b', '/events/*/payload', '/a/']) {
        expect(() => rawPaths(pointer), pointer).to.throw('is not a path')
      }
    })
  })

  describe('syntax', () => {
    const faults: [text: string, message: string][] = [
      ['', 'Line 1, column 1 (byte 0): expected a value, found the end of the body.'],
      [' \n ', 'Line 2, column 2 (byte 3): expected a value, found the end of the body.'],
      ['{', 'Line 1, column 2 (byte 1): expected a member name in double quotes, found the end of the body.'],
      ['{"é":1,}', 'Line 1, column 8 (byte 8): expected a member name in double quotes.'],
      ['{\n  "a" 1}', 'Line 2, column 7 (byte 8): expected ":".'],
      ['{"a":1 "b":2}', 'Line 1, column 8 (byte 7): expected "," or "}".'],
      ['[1 2]', 'Line 1, column 4 (byte 3): expected "," or "]".'],
      ['[1}', 'Line 1, column 3 (byte 2): expected "," or "]".'],
      ['[1,]', 'Line 1, column 4 (byte 3): expected a value.'],
      ['{} {}', 'Line 1, column 4 (byte 3): expected the end of the document.'],
      ["{'a':1}", 'Line 1, column 2 (byte 1): expected a member name in double quotes.'],
      ['"a', 'Line 1, column 3 (byte 2): expected a closing double quote, found the end of the body.'],
      ['"a\tb"', 'Line 1, column 3 (byte 2): expected control characters in a string to be escaped.'],
      ['"\\x"', 'Line 1, column 3 (byte 2): expected one of "\\/bfnrtu after a backslash.'],
      ['"\\u12g4"', 'Line 1, column 6 (byte 5): expected four hexadecimal digits after \\u.'],
      ['01', 'Line 1, column 2 (byte 1): expected the end of the document.'],
      ['-', 'Line 1, column 2 (byte 1): expected a digit, found the end of the body.'],
      ['1.', 'Line 1, column 3 (byte 2): expected a digit, found the end of the body.'],
      ['1e+', 'Line 1, column 4 (byte 3): expected a digit, found the end of the body.'],
      ['.5', 'Line 1, column 1 (byte 0): expected a value.'],
      ['+1', 'Line 1, column 1 (byte 0): expected a value.'],
      ['NaN', 'Line 1, column 1 (byte 0): expected a value.'],
      ['nul', 'Line 1, column 1 (byte 0): expected a value.'],
      ['True', 'Line 1, column 1 (byte 0): expected a value.'],
      ['[1]//', 'Line 1, column 4 (byte 3): expected the end of the document.'],
      ['\ufeff{}', 'The body must not start with a byte order mark (RFC 8259 section 8.1).'],
    ]
    for (const [text, message] of faults) {
      it(`refuses ${JSON.stringify(text)}`, () => {
        for (const raw of [rawPaths(), ofWhole]) {
          const error = faultOf(text, raw)
          expect(error.code).to.equal('invalid_json')
          expect(error.message).to.equal(message)
        }
      })
    }

    it('refuses a syntax error inside a raw part', () => {
      expect(faultOf('{"payload":{"a":01}}').message).to.equal(
        'Line 1, column 18 (byte 17): expected "," or "}".',
      )
    })

    const notUtf8: [name: string, bytes: number[], near: number][] = [
      ['a byte of Latin-1', [0x22, 0xe9, 0x22], 1],
      ['an overlong form', [0x22, 0xc0, 0x80, 0x22], 1],
      ['an encoded surrogate', [0x22, 0xed, 0xa0, 0x80, 0x22], 1],
      ['a code point past U+10FFFF', [0x22, 0x61, 0xf4, 0x90, 0x80, 0x80, 0x22], 2],
      ['a sequence that is cut short', [0x22, 0xe2, 0x82], 1],
      ['UTF-16', [0xff, 0xfe, 0x7b, 0x00, 0x7d, 0x00], 0],
    ]
    for (const [name, bytes, near] of notUtf8) {
      it(`refuses ${name}`, () => {
        const error = thrownBy(() => parseDocument(Buffer.from(bytes), ofWhole))
        expect(error.code).to.equal('invalid_utf8')
        expect(error.message).to.equal(`The body must be UTF-8 (RFC 3629); it is broken near byte ${near}.`)
      })
    }
  })

  describe('limits', () => {
    const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)

    it('reads an envelope and a payload of the greatest depth', () => {
      expect(parse(nested(envelopeDepthMax))).to.be.an('array')
      expect(event(`{"payload":${nested(payloadDepthMax)}}`)).to.deep.equal({
        payload: nested(payloadDepthMax),
      })
    })

    it('refuses an envelope and a payload that are one level deeper', () => {
      expect(faultOf(nested(envelopeDepthMax + 1), rawPaths()).message).to.equal(
        'Line 1, column 33 (byte 32): nested deeper than 32 levels.',
      )
      const error = faultOf(`{"payload":${nested(payloadDepthMax + 1)}}`)
      expect(error.code).to.equal('invalid_json')
      expect(error.message).to.equal('Line 1, column 512 (byte 511): nested deeper than 500 levels.')
    })

    it('counts the depth of every payload of a batch anew, and of the envelope behind them', () => {
      const deep = `{"payload":${nested(payloadDepthMax)}}`
      expect(parse(`{"events":[${deep},${deep}],"after":${nested(envelopeDepthMax - 1)}}`, ofBatch)).to.be.an(
        'object',
      )
      expect(faultOf(`{"events":[${deep}],"after":${nested(envelopeDepthMax)}}`, ofBatch).message).to.match(
        /32 levels/,
      )
    })

    for (const opening of ['[', '{"a":', '[{"a":']) {
      it(`answers 256 KiB of ${opening} with an error instead of overflowing the stack`, () => {
        const payload = opening.repeat(Math.ceil((256 * 1024) / opening.length))
        expect(faultOf(`{"payload":${payload}`).message).to.match(/nested deeper than 500 levels/)
        expect(faultOf(payload, rawPaths()).message).to.match(/nested deeper than 32 levels/)
      })
    }

    it('bounds the values of an envelope, not those of a payload', () => {
      const list = (count: number): string => `[${Array(count).fill('1').join()}]`
      expect(parse(list(envelopeValuesMax - 1))).to.have.lengthOf(envelopeValuesMax - 1)
      expect(faultOf(list(envelopeValuesMax), rawPaths()).message).to.match(/more than 20000 values/)
      expect(event(`{"payload":${list(envelopeValuesMax)}}`)).to.have.property('payload')
    })
  })

  describe('repeated members', () => {
    const repeated: [text: string, pointers: string[]][] = [
      ['{"id":1,"id":2}', ['/id']],
      ['{"id":1,"\\u0069d":2}', ['/id']],
      ['{"é":1,"\\u00e9":1}', ['/é']],
      ['{"":1,"":1}', ['/']],
      ['{"payload":1,"payload":1}', ['/payload']],
      ['{"payload":1,"p\\u0061yload":2}', ['/payload']],
      ['{"a/b~c":1,"a/b~c":2}', ['/a~1b~0c']],
      ['{"list":[{},{"a":{"b":1,"b":2}}],"x":1,"x":2,"x":3}', ['/list/1/a/b', '/x', '/x']],
      ['{"a":{"b":1,"c":2},"a":{"b":3}}', ['/a']],
    ]
    for (const [text, pointers] of repeated) {
      it(`refuses ${text}`, () => {
        const error = faultOf(text)
        expect(error.code).to.equal('invalid_json')
        expect(error.faults).to.deep.equal(
          pointers.map(pointer => ({ pointer, detail: 'is given more than once' })),
        )
        expect(error.message).to.equal(`Members must not be repeated: ${pointers.join(', ')}.`)
      })
    }

    it('allows one name in different objects, and names that differ', () => {
      expect(event('{"a":{"id":1},"b":[{"id":1},{"id":1}],"id":1,"ID":1,"é":1,"e\u0301":1}')).to.have.keys([
        'a',
        'b',
        'id',
        'ID',
        'é',
        'e\u0301',
      ])
    })

    it('points into a batch', () => {
      expect(
        faultOf('{"events":[{"id":"1"},{"payload":{},"id":"2","id":"3"}]}', ofBatch).faults,
      ).to.deep.equal([{ pointer: '/events/1/id', detail: 'is given more than once' }])
    })

    it('names at most 20 places, each of bounded length', () => {
      const name = '🦭'.repeat(1000)
      const { faults } = faultOf(`{${Array(100).fill(`"${name}":1`).join()}}`)
      expect(faults).to.have.lengthOf(20)
      expect(faults[0]?.pointer).to.equal(`/${'🦭'.repeat(32)}…`)
    })
  })

  describe('characters and names', () => {
    const forbidden: [text: string, pointer: string, detail: string][] = [
      ['{"id":"\\u0000"}', '/id', 'must not contain the control character U+0000'],
      ['{"id":"a\\nb"}', '/id', 'must not contain the control character U+000A'],
      ['{"id":"\u007f"}', '/id', 'must not contain the control character U+007F'],
      ['{"id":"\u0080"}', '/id', 'must not contain the control character U+0080'],
      ['{"id":"\\u009F"}', '/id', 'must not contain the control character U+009F'],
      ['{"id":"\\ud800"}', '/id', 'must not contain the lone surrogate U+D800'],
      ['{"id":"\\udc00\\ud800"}', '/id', 'must not contain the lone surrogate U+DC00'],
      ['{"a":[1,{"b":["x","\\t"]}]}', '/a/1/b/1', 'must not contain the control character U+0009'],
      ['"\\b"', '', 'must not contain the control character U+0008'],
      ['{"a":{"x\\u0000":1}}', '/a', 'has a member name that must not contain the control character U+0000'],
      ['{"\\udfff":1}', '', 'has a member name that must not contain the lone surrogate U+DFFF'],
      ['{"\\r":{"a":"\\f"}}', '', 'has a member name that must not contain the control character U+000D'],
      ['{"a":{"__proto__":{}}}', '/a/__proto__', 'is not a name that a member can have'],
      ['{"__pr\\u006fto__":1}', '/__proto__', 'is not a name that a member can have'],
    ]
    for (const [text, pointer, detail] of forbidden) {
      it(`refuses ${JSON.stringify(text)}`, () => {
        const error = faultOf(text)
        expect(error.code).to.equal('validation_failed')
        expect(error.faults[0]).to.deep.equal({ pointer, detail })
      })
    }

    it('shows no control character in a pointer', () => {
      expect(faultOf('{"\\r":{"a":"\\f"}}').faults[1]?.pointer).to.equal('/\ufffd/a')
    })

    it('reads every other character, escaped or not', () => {
      const text =
        '{"a":"\\" \\\\ \\/ \\\\n \\u0020 \u00a0 ¢ é \\u00e9 🦭 \\ud83e\\uddad \u2028 \ufffd \uffff __proto__"}'
      expect(event(text)).to.deep.equal(JSON.parse(text))
    })

    it('pollutes no prototype, and keeps other inherited names as plain members', () => {
      const document = event('{"constructor":{"prototype":{"isAdmin":true}},"toString":1,"hasOwnProperty":2}')
      expect(document).to.deep.equal({
        constructor: { prototype: { isAdmin: true } },
        toString: 1,
        hasOwnProperty: 2,
      })
      expect({}).not.to.have.property('isAdmin')
    })
  })

  describe('against JSON.parse', () => {
    it('cuts out exactly the payload, and reads the envelope alike', () => {
      fc.assert(
        fc.property(plainMembers, jsonText(4), fc.nat(), spaces, (members, payload, place, space) => {
          const pieces = members.map(([name, text]) => `${JSON.stringify(name)}:${space}${text}${space}`)
          pieces.splice(place % (pieces.length + 1), 0, `"payload"${space}:${space}${payload}${space}`)
          const text = `${space}{${pieces.join(`,${space}`)}}${space}`

          const document = parse(text, ofEvent) as { payload: Buffer }
          expect(document.payload.toString()).to.equal(payload)
          expect({ ...document, payload: parseRaw(document.payload) }).to.deep.equal(JSON.parse(text))
        }),
      )
    })

    it('cuts out every payload of a batch', () => {
      fc.assert(
        fc.property(fc.array(jsonText(3)), spaces, (payloads, space) => {
          const events = payloads.map(
            (payload, i) => `{"id":"${i}",${space}"payload":${space}${payload}${space}}`,
          )
          const document = withText(parse(`{"events":[${events.join()}]}`, ofBatch))
          expect(document).to.deep.equal({
            events: payloads.map((payload, i) => ({ id: String(i), payload })),
          })
        }),
      )
    })

    it('accepts and refuses the same bytes after any damage', () => {
      fc.assert(
        fc.property(jsonText(4), fc.array(damage, { maxLength: 3 }), (text, damages) => {
          const bytes = damages.reduce(damaged, Buffer.from(text))
          expect(isRead(bytes), bytes.toString('hex')).to.equal(isReadByPlatform(bytes))
        }),
        { numRuns: 2000 },
      )
    })

    it('accepts and refuses the same short texts', () => {
      const piece = fc.constantFrom(
        ...Array.from('{}[]:,"\\-+.0179eEu/tn \n'),
        'true',
        'null',
        'false',
        '\\u00e9',
        '"a"',
        '"a":',
      )
      fc.assert(
        fc.property(fc.array(piece, { maxLength: 8 }), pieces => {
          const bytes = Buffer.from(pieces.join(''))
          expect(isRead(bytes), bytes.toString()).to.equal(isReadByPlatform(bytes))
        }),
        { numRuns: 5000 },
      )
    })

    it('never throws anything but an AppError', () => {
      fc.assert(
        fc.property(jsonText(3), fc.array(damage, { maxLength: 3 }), (text, damages) => {
          const bytes = damages.reduce(damaged, Buffer.from(`{"service":${text},"payload":${text}}`))
          try {
            parseDocument(bytes, ofEvent)
          } catch (error) {
            expect(error).to.be.instanceOf(AppError)
          }
        }),
      )
    })
  })
})

const spaces = fc.stringMatching(/^[ \t\r\n]{0,3}$/)

/** Texts of JSON values in all the spellings that a serialiser may choose: white space, escapes, number forms, repeats. */
function jsonText(depthMax: number): fc.Arbitrary<string> {
  const digits = fc.stringMatching(/^-?(0|[1-9]\d{0,20})(\.\d{1,20})?([eE][+-]?\d{1,3})?$/)
  const plain = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 1 })
    .filter(text => text >= ' ' && text !== '"' && text !== '\\')
  const string = fc
    .array(fc.oneof(plain, fc.stringMatching(/^\\(["\\/bfnrt]|u[\da-fA-F]{4})$/)))
    .map(characters => `"${characters.join('')}"`)
  const scalar = fc.oneof(digits, string, fc.constantFrom('true', 'false', 'null', '"payload"', '"\u007f"'))
  if (depthMax === 0) return scalar

  const below = fc.tuple(spaces, jsonText(depthMax - 1), spaces).map(parts => parts.join(''))
  const member = fc
    .tuple(spaces, string, spaces, below)
    .map(([a, name, b, value]) => `${a}${name}${b}:${value}`)
  return fc.oneof(
    scalar,
    fc.array(below, { maxLength: 4 }).map(elements => `[${elements.join()}]`),
    fc.array(member, { maxLength: 4 }).map(members => `{${members.join()}}`),
  )
}

/** Members of an envelope that breaks no rule: distinct names, no control characters. */
const plainMembers = fc.uniqueArray(
  fc.tuple(
    fc.constantFrom('service', 'event', 'id', 'é', 'constructor', 'payloads', 'a"b\\c'),
    fc.oneof(
      fc.integer().map(String),
      fc.string({ unit: 'binary' }).map(text => JSON.stringify(text.replace(/\p{Cc}/gu, ''))),
    ),
  ),
  { selector: ([name]) => name },
)

type Damage = { place: number; byte: number; kind: 'set' | 'insert' | 'remove' | 'cut' }

const damage: fc.Arbitrary<Damage> = fc.record({
  place: fc.nat(),
  byte: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('{}[]:,"\\-+.019eutfn \n'))),
  kind: fc.constantFrom('set', 'insert', 'remove', 'cut'),
})

function damaged(bytes: Buffer, { place, byte, kind }: Damage): Buffer {
  const at = place % (bytes.length + 1)
  const before = bytes.subarray(0, at)
  if (kind === 'cut') return before
  const between = kind === 'remove' ? [] : [byte]
  return Buffer.concat([before, Buffer.from(between), bytes.subarray(kind === 'insert' ? at : at + 1)])
}

function isRead(bytes: Buffer): boolean {
  try {
    parseDocument(bytes, ofWhole)
    return true
  } catch {
    return false
  }
}

function isReadByPlatform(bytes: Buffer): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
    return true
  } catch {
    return false
  }
}

function parse(text: string, raw?: RawPaths): unknown {
  return parseDocument(Buffer.from(text), raw)
}

/** An event's document with its raw parts as text. */
function event(text: string): unknown {
  return withText(parse(text, ofEvent))
}

function withText(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString()
  if (Array.isArray(value)) return value.map(withText)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withText(member)]))
}

function faultOf(text: string, raw: RawPaths = ofEvent): AppError {
  return thrownBy(() => parse(text, raw))
}

function thrownBy(action: () => unknown): AppError {
  try {
    action()
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
