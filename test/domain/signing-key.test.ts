import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import {
  newSigningKey,
  signingKeyFaults,
  standardKeyBytes,
  standardLibrarySecret,
  verbatimKeyBytes,
} from '#src/domain/signing-key.ts'

const pointer = '/signingKey'
const base64Of = (bytesCount: number) => Buffer.alloc(bytesCount, 7).toString('base64')

describe('the rule of a signing key that a caller gives', () => {
  const good: [why: string, key: string][] = [
    ['24 characters', 'a'.repeat(24)],
    ['128 characters', 'a'.repeat(128)],
    ['base64, as Bird shows it', 'KeV+/HGoIQrxuE5YPCRR6AuQOJveldYNNhbVi1i22qk='],
    ['the form of Standard Webhooks', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    ['a sentence, with spaces inside', `It's a Secret to Everybody`],
    ['both ends of printable ASCII', `!${'~'.repeat(23)}`],
  ]
  for (const [why, key] of good) {
    it(`takes ${why}`, () => {
      expect(signingKeyFaults(key, pointer)).to.deep.equal([])
    })
  }

  const bad: [why: string, key: unknown, advice: RegExp][] = [
    ['23 characters', 'a'.repeat(23), /^Use 24 to 128 characters/],
    ['129 characters', 'a'.repeat(129), /^Use 24 to 128 characters/],
    ['a newline at the end, as files have', `${'a'.repeat(32)}\n`, /^Use printable ASCII/],
    ['a space at the end', `${'a'.repeat(32)} `, /without a space at either end/],
    ['a space at the start', ` ${'a'.repeat(32)}`, /without a space at either end/],
    ['a control character', `${'a'.repeat(32)}\u0000b`, /^Use printable ASCII/],
    ['DEL', `${'a'.repeat(32)}\u007fb`, /^Use printable ASCII/],
    [
      'a letter that is two bytes in one encoding and one in another',
      `é${'a'.repeat(32)}`,
      /^Use printable ASCII/,
    ],
    ['a lone surrogate', `\ud800${'a'.repeat(32)}`, /^Use printable ASCII/],
    ['an empty string', '', /^Use printable ASCII/],
    ['null', null, /^Give the signing key as a string/],
    ['a number', 123456789, /^Give the signing key as a string/],
    ['a list', ['a'.repeat(24)], /^Give the signing key as a string/],
  ]
  for (const [why, key, advice] of bad) {
    it(`refuses ${why}, and says what to do`, () => {
      const faults = signingKeyFaults(key, pointer)
      expect(faults).to.have.length(1)
      expect(faults[0]?.pointer).to.equal(pointer)
      expect(faults[0]?.detail).to.match(advice)
    })
  }

  it('does not repeat the key in what it says', () => {
    expect(JSON.stringify(signingKeyFaults('hunter2', pointer))).not.to.contain('hunter2')
  })
})

describe('a key made here', () => {
  it('is whsec_ and the base64 of the 32 bytes that it was given', () => {
    const asked: number[] = []
    const key = newSigningKey(count => {
      asked.push(count)
      return Buffer.alloc(count, 0xab)
    })
    expect(asked).to.deep.equal([32])
    expect(key).to.equal('whsec_q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=')
  })

  it('keeps to the rule of a key that a caller gives, and is read as its 32 bytes', () => {
    const key = newSigningKey(randomBytes)
    expect(signingKeyFaults(key, pointer)).to.deep.equal([])
    expect(standardKeyBytes(key)).to.have.length(32)
  })
})

describe('the bytes of a key', () => {
  const decoded: [why: string, key: string, bytesCount: number][] = [
    ['base64 of 24 bytes', base64Of(24), 24],
    ['base64 of 24 bytes after whsec_', `whsec_${base64Of(24)}`, 24],
    ['base64 of 64 bytes', base64Of(64), 64],
    ['base64 of 32 bytes, one pad character', base64Of(32), 32],
    ['base64 of 25 bytes, two pad characters', base64Of(25), 25],
  ]
  for (const [why, key, bytesCount] of decoded) {
    it(`are decoded for standard: ${why}`, () => {
      expect(standardKeyBytes(key)).to.deep.equal(Buffer.alloc(bytesCount, 7))
    })
  }

  const verbatim: [why: string, key: string][] = [
    ['base64 of 23 bytes', base64Of(23)],
    ['base64 of 65 bytes', base64Of(65)],
    ['base64 without its padding', base64Of(32).slice(0, -1)],
    ['the other base64 alphabet', `${'-_'.repeat(21)}-=`],
    ['a sentence', `It's a Secret to Everybody`],
    ['a prefix with text that is not base64', 'whsec_this is no base64 at all'],
    ['a prefix alone', 'whsec_'],
    ['another prefix', `hwsec_${base64Of(24)}`],
  ]
  for (const [why, key] of verbatim) {
    it(`are the string's own for standard: ${why}`, () => {
      expect(standardKeyBytes(key)).to.deep.equal(Buffer.from(key))
    })
  }

  it('are always those of the string as typed for bird', () => {
    expect(verbatimKeyBytes(`whsec_${base64Of(24)}`)).to.deep.equal(Buffer.from(`whsec_${base64Of(24)}`))
  })
})

describe('the secret for a Standard Webhooks library', () => {
  it('is the key itself where that has the form already', () => {
    expect(standardLibrarySecret(`whsec_${base64Of(32)}`)).to.equal(`whsec_${base64Of(32)}`)
  })

  it('has the prefix where the key is base64 alone', () => {
    expect(standardLibrarySecret(base64Of(32))).to.equal(`whsec_${base64Of(32)}`)
  })

  it('is the base64 of the characters where the key is not base64', () => {
    expect(standardLibrarySecret(`It's a Secret to Everybody`)).to.equal(
      'whsec_SXQncyBhIFNlY3JldCB0byBFdmVyeWJvZHk=',
    )
  })

  it('decodes to the bytes that sign, for every key that is taken', () => {
    const printable = fc.string({ unit: 'grapheme-ascii', minLength: 24, maxLength: 128 })
    const base64 = fc
      .uint8Array({ minLength: 18, maxLength: 96 })
      .map(bytes => Buffer.from(bytes).toString('base64'))
    fc.assert(
      fc.property(fc.oneof(printable, base64), fc.boolean(), (text, isPrefixed) => {
        const key = isPrefixed ? `whsec_${text}` : text
        fc.pre(signingKeyFaults(key, pointer).length === 0)
        const secret = standardLibrarySecret(key)
        expect(Buffer.from(secret.slice('whsec_'.length), 'base64')).to.deep.equal(standardKeyBytes(key))
      }),
    )
  })
})
