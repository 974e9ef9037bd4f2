import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import { flattenedDecrypt, type FlattenedJWE } from 'jose'
import { describe, it } from 'mocha'
import { createKeyring, parseEncryptionKeys, SecretUnavailable, type EncryptionKey } from '#src/keyring.ts'

const place = ['workspace-1', 'endpoint-1', 'key-1']
const newKey = (kid: string): EncryptionKey => ({ kid, key: randomBytes(32) })

/** Why a stored secret could not be read. Fails the test when it could. */
async function reasonOf(read: Promise<string>): Promise<string> {
  const result = await read.then(
    () => 'read',
    (error: unknown) => error,
  )
  expect(result).to.be.instanceOf(SecretUnavailable)
  return (result as SecretUnavailable).reason
}

describe('a keyring', () => {
  const first = newKey('k1')
  const keyring = createKeyring([first])

  it('gives back what was encrypted', async () => {
    const stored = await keyring.encrypt('whsec_ünïcode', place)
    expect(await keyring.decrypt(stored, place)).to.equal('whsec_ünïcode')
  })

  it('gives back any text', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme' }), async plaintext => {
        expect(await keyring.decrypt(await keyring.encrypt(plaintext, place), place)).to.equal(plaintext)
      }),
    )
  })

  it('stores nothing of the plaintext, and never the same text twice', async () => {
    const plaintext = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
    const stored = await keyring.encrypt(plaintext, place)
    expect(stored).not.to.contain(plaintext)
    for (const member of Object.values<string>(JSON.parse(stored))) {
      expect(Buffer.from(member, 'base64url').toString('latin1')).not.to.contain(plaintext.slice(0, 12))
    }
    expect(await keyring.encrypt(plaintext, place)).not.to.equal(stored)
  })

  it('stores a flattened JWE that any JOSE library reads', async () => {
    const jwe = JSON.parse(await keyring.encrypt('a secret', place)) as FlattenedJWE
    const { plaintext, protectedHeader, additionalAuthenticatedData } = await flattenedDecrypt(jwe, first.key)
    expect(Buffer.from(plaintext).toString()).to.equal('a secret')
    expect(protectedHeader).to.deep.equal({ alg: 'dir', enc: 'A256GCM', kid: 'k1' })
    expect(Buffer.from(additionalAuthenticatedData!).toString()).to.equal('workspace-1|endpoint-1|key-1')
  })

  const otherPlaces: [what: string, context: string[]][] = [
    ['workspace', ['workspace-2', 'endpoint-1', 'key-1']],
    ['endpoint', ['workspace-1', 'endpoint-2', 'key-1']],
    ['key', ['workspace-1', 'endpoint-1', 'key-2']],
    ['order of the same parts', ['endpoint-1', 'workspace-1', 'key-1']],
    ['place with fewer parts', ['workspace-1', 'endpoint-1']],
  ]
  for (const [what, context] of otherPlaces) {
    it(`refuses a secret in the row of another ${what}`, async () => {
      const stored = await keyring.encrypt('a secret', place)
      expect(await reasonOf(keyring.decrypt(stored, context))).to.equal('damaged')
    })
  }

  it('refuses a swapped row even where the text names the row it was swapped into', async () => {
    const jwe = JSON.parse(await keyring.encrypt('a secret', place)) as FlattenedJWE
    const elsewhere = ['workspace-2', 'endpoint-2', 'key-2']
    jwe.aad = Buffer.from(elsewhere.join('|')).toString('base64url')
    expect(await reasonOf(keyring.decrypt(JSON.stringify(jwe), elsewhere))).to.equal('damaged')
  })

  it('takes no context that could read like another', async () => {
    for (const context of [[], [''], ['a|b'], ['a', 'b|c']]) {
      const error = await keyring.encrypt('a secret', context).then(
        () => undefined,
        (reason: unknown) => reason,
      )
      expect(error).to.have.property('code', 'ERR_ASSERTION')
    }
  })

  for (const member of ['ciphertext', 'iv', 'tag', 'protected'] as const) {
    it(`refuses a secret whose ${member} was altered`, async () => {
      const jwe = JSON.parse(await keyring.encrypt('a secret', place)) as Record<string, string>
      const bytes = Buffer.from(jwe[member]!, 'base64url')
      bytes[0]! ^= 1
      jwe[member] = bytes.toString('base64url')
      expect(await reasonOf(keyring.decrypt(JSON.stringify(jwe), place))).to.equal('damaged')
    })
  }

  const notJwes = [
    '',
    'null',
    '[]',
    '"text"',
    '{}',
    '{"ciphertext":1}',
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  ]
  for (const stored of notJwes) {
    it(`refuses text that is no JWE: ${JSON.stringify(stored)}`, async () => {
      expect(await reasonOf(keyring.decrypt(stored, place))).to.equal('damaged')
    })
  }

  it('refuses any other JSON in the same way', async () => {
    await fc.assert(
      fc.asyncProperty(fc.json(), async stored => {
        expect(await reasonOf(keyring.decrypt(stored, place))).to.equal('damaged')
      }),
    )
  })

  it('refuses another algorithm than its own, whatever the text says', async () => {
    const jwe = JSON.parse(await keyring.encrypt('a secret', place)) as FlattenedJWE
    for (const header of [
      { alg: 'A256KW', enc: 'A256GCM', kid: 'k1' },
      { alg: 'dir', enc: 'A128GCM', kid: 'k1' },
    ]) {
      jwe.protected = Buffer.from(JSON.stringify(header)).toString('base64url')
      expect(await reasonOf(keyring.decrypt(JSON.stringify(jwe), place))).to.equal('damaged')
    }
  })

  it('says which key is missing', async () => {
    const stored = await keyring.encrypt('a secret', place)
    const other = createKeyring([newKey('k2')])
    expect(await reasonOf(other.decrypt(stored, place))).to.equal('unknown_key')
    const message = await other.decrypt(stored, place).catch((error: Error) => error.message)
    expect(message).to.equal('No key in ENCRYPTION_KEYS has the kid "k1".')
  })

  it('refuses a secret of another key with the same kid', async () => {
    const stored = await keyring.encrypt('a secret', place)
    expect(await reasonOf(createKeyring([newKey('k1')]).decrypt(stored, place))).to.equal('damaged')
  })

  it('reads what older keys encrypted, and encrypts with the first', async () => {
    const second = newKey('k2')
    const before = await keyring.encrypt('old secret', place)
    const rotated = createKeyring([second, first])
    expect(await rotated.decrypt(before, place)).to.equal('old secret')

    const after = await rotated.encrypt('new secret', place)
    expect(await createKeyring([second]).decrypt(after, place)).to.equal('new secret')
    expect(await reasonOf(keyring.decrypt(after, place))).to.equal('unknown_key')
  })

  it('is not made without a key, nor with two keys of one kid', () => {
    expect(() => createKeyring([])).to.throw('at least one key')
    expect(() => createKeyring([newKey('k1'), newKey('k1')])).to.throw('a kid of its own')
  })
})

describe('ENCRYPTION_KEYS', () => {
  const one = randomBytes(32)
  const two = randomBytes(32)
  const pairOf = (kid: string, key: Buffer) => `${kid}:${key.toString('base64')}`

  it('is one key', () => {
    expect(parseEncryptionKeys(pairOf('k1', one))).to.deep.equal({ keys: [{ kid: 'k1', key: one }] })
  })

  it('is several keys, in the order given', () => {
    const text = ` ${pairOf('2026-11', two)}, ${pairOf('2025.01_a', one)} `
    expect(parseEncryptionKeys(text)).to.deep.equal({
      keys: [
        { kid: '2026-11', key: two },
        { kid: '2025.01_a', key: one },
      ],
    })
  })

  const bad: [why: string, text: string, fault: string][] = [
    ['nothing', '', 'entry 1 is not kid:base64'],
    ['a key without a kid', one.toString('base64'), 'entry 1 is not kid:base64'],
    ['an empty kid', pairOf('', one), 'entry 1 is not kid:base64'],
    ['a kid with a space', pairOf('a b', one), 'entry 1 is not kid:base64'],
    ['a kid of 65 characters', pairOf('k'.repeat(65), one), 'entry 1 is not kid:base64'],
    ['a key of 31 bytes', pairOf('k1', one.subarray(1)), 'entry 1 is not kid:base64'],
    ['a key of 33 bytes', pairOf('k1', Buffer.concat([one, Buffer.alloc(1)])), 'entry 1 is not kid:base64'],
    ['a key in hexadecimal', `k1:${one.toString('hex')}`, 'entry 1 is not kid:base64'],
    ['a comma at the end', `${pairOf('k1', one)},`, 'entry 2 is not kid:base64'],
    ['a second entry that is wrong', `${pairOf('k1', one)},k2:short`, 'entry 2 is not kid:base64'],
    [
      'one kid for two keys',
      `${pairOf('k1', one)},${pairOf('k1', two)}`,
      'entry 2 has the kid of an entry before it',
    ],
  ]
  for (const [why, text, fault] of bad) {
    it(`is refused for ${why}, without showing a key`, () => {
      const parsed = parseEncryptionKeys(text)
      expect(parsed).to.have.property('fault').that.contains(fault)
      expect(JSON.stringify(parsed)).not.to.contain(one.toString('base64').slice(0, 20))
    })
  }

  it('takes a kid of 64 characters', () => {
    expect(parseEncryptionKeys(pairOf('k'.repeat(64), one))).to.have.property('keys')
  })
})
