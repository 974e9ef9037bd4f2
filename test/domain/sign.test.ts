/**
 * Three oracles: the published vectors, the npm package `standardwebhooks` as a receiver would use it, and a receiver
 * for `bird` written from the vendor's description alone.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { Webhook } from 'standardwebhooks'
import { prepareKeys, signatureHeaders, type SignedContent } from '#src/domain/sign.ts'
import { standardLibrarySecret } from '#src/domain/signing-key.ts'

const content: SignedContent = {
  id: '0198f3c2-7d1e-7abc-8def-0123456789ab',
  timestampSeconds: 1_719_823_259,
  url: 'https://example.com/webhook?a=1',
  body: Buffer.from('{"a":1}'),
}
const newKey = `whsec_${Buffer.alloc(32, 1).toString('base64')}`
const oldKey = 'a key of an earlier system'
const olderKey = Buffer.alloc(24, 3).toString('base64')

describe('headers of every delivery', () => {
  it('name the event and the time of the attempt, whatever the schemes', () => {
    expect(signatureHeaders([], prepareKeys([newKey]), content)).to.deep.equal({
      'webhook-id': '0198f3c2-7d1e-7abc-8def-0123456789ab',
      'webhook-timestamp': '1719823259',
    })
  })

  it('are those of both schemes side by side', () => {
    const headers = signatureHeaders(['standard', 'bird'], prepareKeys([newKey]), content)
    expect(Object.keys(headers)).to.deep.equal([
      'webhook-id',
      'webhook-timestamp',
      'webhook-signature',
      'MessageBird-Signature',
      'MessageBird-Request-Timestamp',
      'MessageBird-Request-Id',
    ])
    expect(headers['MessageBird-Request-Timestamp']).to.equal('1719823259')
    expect(headers['MessageBird-Request-Id']).to.equal('0198f3c2-7d1e-7abc-8def-0123456789ab')
  })

  it('do not name a scheme that was not asked for', () => {
    const material = prepareKeys([newKey])
    expect(signatureHeaders(['bird'], material, content)).not.to.have.property('webhook-signature')
    expect(signatureHeaders(['standard'], material, content)).not.to.have.property('MessageBird-Signature')
  })

  it('are not made from a fraction of a second, an ambiguous id, or no key', () => {
    const material = prepareKeys([newKey])
    expect(() => signatureHeaders([], material, { ...content, timestampSeconds: 1.5 })).to.throw(
      'whole seconds',
    )
    expect(() => signatureHeaders([], material, { ...content, id: 'a.b' })).to.throw('no full stop')
    expect(() => prepareKeys([])).to.throw('at least one signing key')
  })
})

describe('standard signatures', () => {
  const vector = {
    id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    timestampSeconds: 1_614_265_330,
    url: 'https://example.com/',
    body: Buffer.from('{"test": 2432232314}'),
  }

  for (const key of ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']) {
    it(`are those of the published vector, with the key ${key}`, () => {
      expect(signatureHeaders(['standard'], prepareKeys([key]), vector)).to.deep.equal({
        'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
        'webhook-timestamp': '1614265330',
        'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
      })
    })
  }

  it('are one of each key while keys overlap, newest first', () => {
    const signatureBy = (...keys: string[]) =>
      signatureHeaders(['standard'], prepareKeys(keys), content)['webhook-signature']
    expect(signatureBy(newKey, oldKey, olderKey)).to.equal(
      `${signatureBy(newKey)} ${signatureBy(oldKey)} ${signatureBy(olderKey)}`,
    )
  })

  it('are accepted by the library with any of the overlapping keys, and not with another', () => {
    const nowSeconds = Math.floor(Date.now() / 1_000)
    const sent = { ...content, timestampSeconds: nowSeconds }
    const headers = signatureHeaders(['standard'], prepareKeys([newKey, oldKey]), sent)
    for (const key of [newKey, oldKey]) {
      expect(new Webhook(standardLibrarySecret(key)).verify(sent.body, headers)).to.deep.equal({ a: 1 })
    }
    const other = new Webhook(standardLibrarySecret(olderKey))
    expect(() => other.verify(sent.body, headers)).to.throw('No matching signature found')
  })

  it('are accepted by the library for any id, body and key, until something is altered', () => {
    fc.assert(
      fc.property(idArbitrary, fc.json(), keyArbitrary, (id, json, key) => {
        const sent = {
          ...content,
          id,
          body: Buffer.from(json),
          timestampSeconds: Math.floor(Date.now() / 1_000),
        }
        const headers = signatureHeaders(['standard'], prepareKeys([key]), sent)
        const receiver = new Webhook(standardLibrarySecret(key))
        expect(receiver.verify(sent.body, headers)).to.deep.equal(JSON.parse(json))

        const earlier = String(sent.timestampSeconds - 1)
        expect(() => receiver.verify(`${json} `, headers)).to.throw('No matching signature')
        expect(() => receiver.verify(json, { ...headers, 'webhook-id': `${id}x` })).to.throw(
          'No matching signature',
        )
        expect(() => receiver.verify(json, { ...headers, 'webhook-timestamp': earlier })).to.throw(
          'No matching signature',
        )
      }),
    )
  })
})

describe('bird signatures', () => {
  type Vector = { key: string; timestampSeconds: number; url: string; body: string; signature: string }
  const v1 = {
    key: 'KeV+/HGoIQrxuE5YPCRR6AuQOJveldYNNhbVi1i22qk=',
    timestampSeconds: 1_719_823_259,
    url: 'https://example.com/webhook',
    body: '{"service":"channels","event":"sms.outbound","payload":{"id":"404544c5-9920-45f1-8990-0855634ab7ac","status":"delivered"}}',
    signature: 'nDi66PGEN5pC0caNyw2GPGygsSs8Izy6BvgnYYV4MRY=',
  }
  // The last four are vectors of the vendor's own library for the scheme before this one, whose middle line was a query.
  const vectors: Record<string, Vector> = {
    V1: v1,
    V2: {
      key: 'secureSigningKey',
      timestampSeconds: 1_719_823_259,
      url: 'https://domain.com/webhook/bird',
      body: '{"text":"héllo"}',
      signature: 'ZSXIX8IfBL5FimwuHzm2SJqq169P1h9lKn9pDnZblSk=',
    },
    V3: {
      key: 'other-secret',
      timestampSeconds: 1_544_544_948,
      url: 'abc=foo&def=bar',
      body: '{"a key":"some value"}',
      signature: 'orb0adPhRCYND1WCAvPBr+qjm4STGtyvNDIDNBZ4Ir4=',
    },
    V4: {
      key: 'secret',
      timestampSeconds: 1_544_544_948,
      url: '',
      body: '',
      signature: 'LISw4Je7n0/MkYDgVSzTJm8dW6BkytKTXMZZk1IElMs=',
    },
    V5: {
      key: 'secret',
      timestampSeconds: 1_544_544_948,
      url: '',
      body: '{"a key":"some value"}',
      signature: 'p2e20OtAg39DEmz1ORHpjQ556U4o1ZaH4NWbM9Q8Qjk=',
    },
    V6: {
      key: 'secret',
      timestampSeconds: 1_544_544_948,
      url: 'abc=foo&def=bar',
      body: '',
      signature: 'Tfn+nRUBsn6lQgf6IpxBMS1j9lm7XsGjt5xh47M3jCk=',
    },
  }

  for (const [name, { key, signature, ...signed }] of Object.entries(vectors)) {
    it(`are those of vector ${name}`, () => {
      const sent = { ...signed, id: content.id, body: Buffer.from(signed.body) }
      expect(signatureHeaders(['bird'], prepareKeys([key]), sent)['MessageBird-Signature']).to.equal(
        signature,
      )
    })
  }

  const hashOf = (body: string) => createHash('sha256').update(body)
  const start = `${v1.timestampSeconds}\n${v1.url}\n`
  const mistakes: [mistake: string, signature: string, made: () => string][] = [
    [
      'the key was decoded from base64',
      'UiIOHozKwvCGSZK8y81HGokANkeCLVyfJXjiIl7oFO0=',
      () => hmacOf(Buffer.from(v1.key, 'base64'), Buffer.from(start), hashOf(v1.body).digest()),
    ],
    [
      'the hash of the body was hexadecimal',
      'y2lj2BO1IyzvA7eHtTcquNVHuTybh4mQOLI/Fg39Os8=',
      () => hmacOf(Buffer.from(v1.key), Buffer.from(start), Buffer.from(hashOf(v1.body).digest('hex'))),
    ],
  ]
  for (const [mistake, signature, made] of mistakes) {
    it(`are not those that come out where ${mistake}`, () => {
      expect(made()).to.equal(signature)
      const sent = { ...v1, id: content.id, body: Buffer.from(v1.body) }
      const headers = signatureHeaders(['bird'], prepareKeys([v1.key]), sent)
      expect(headers['MessageBird-Signature']).to.be.a('string').and.not.equal(signature)
    })
  }

  it('are of the oldest key while keys overlap', () => {
    const signatureBy = (...keys: string[]) =>
      signatureHeaders(['bird'], prepareKeys(keys), content)['MessageBird-Signature']
    expect(signatureBy(newKey, oldKey, olderKey)).to.equal(signatureBy(olderKey))
    expect(signatureBy(newKey, oldKey)).to.equal(signatureBy(oldKey)).and.not.equal(signatureBy(newKey))
  })

  it('are accepted for any URL, body and key, until something is altered', () => {
    const urls = fc.webUrl({ withQueryParameters: true })
    const times = fc.integer({ min: 0, max: 4_102_444_800 })
    fc.assert(
      fc.property(urls, fc.uint8Array(), keyArbitrary, times, (url, bytes, key, timestampSeconds) => {
        const sent = { ...content, url, timestampSeconds, body: Buffer.from(bytes) }
        const headers = signatureHeaders(['bird'], prepareKeys([key]), sent)
        expect(isBirdSignature(key, url, sent.body, headers)).to.equal(true)

        const later = { ...headers, 'MessageBird-Request-Timestamp': String(timestampSeconds + 1) }
        expect(isBirdSignature(key, url, Buffer.concat([sent.body, Buffer.from(' ')]), headers)).to.equal(
          false,
        )
        expect(isBirdSignature(key, url, sent.body, later)).to.equal(false)
        expect(isBirdSignature(key, `${url}x`, sent.body, headers)).to.equal(false)
        expect(isBirdSignature(`${key}x`, url, sent.body, headers)).to.equal(false)
      }),
    )
  })

  it('do not cover the request id, so a receiver must not rely on it', () => {
    const headers = signatureHeaders(['bird'], prepareKeys([newKey]), content)
    const other = signatureHeaders(['bird'], prepareKeys([newKey]), { ...content, id: 'another-id' })
    expect(other['MessageBird-Signature']).to.equal(headers['MessageBird-Signature'])
  })
})

const idArbitrary = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/)

const keyArbitrary = fc.oneof(
  fc
    .uint8Array({ minLength: 24, maxLength: 64 })
    .map(bytes => `whsec_${Buffer.from(bytes).toString('base64')}`),
  fc.uint8Array({ minLength: 24, maxLength: 64 }).map(bytes => Buffer.from(bytes).toString('base64')),
  fc.stringMatching(/^[\x21-\x7e]{24,128}$/),
)

/** A receiver as the vendor describes it, which knows nothing of the code that signs. */
function isBirdSignature(key: string, url: string, body: Buffer, headers: Record<string, string>): boolean {
  const bodyHash = createHash('sha256').update(body).digest()
  const start = Buffer.from(`${headers['MessageBird-Request-Timestamp']}\n${url}\n`)
  const expected = Buffer.from(hmacOf(Buffer.from(key), start, bodyHash), 'base64')
  return timingSafeEqual(expected, Buffer.from(headers['MessageBird-Signature']!, 'base64'))
}

function hmacOf(key: Buffer, ...parts: Buffer[]): string {
  return createHmac('sha256', key).update(Buffer.concat(parts)).digest('base64')
}
