import { expect } from 'chai'
import { describe, it } from 'mocha'
import { AppError } from '#src/errors.ts'
import { createAuthenticationLimiter } from '#src/services/authentication-limiter.ts'

function createScene(options: { perMinute: number; addressesMax?: number }) {
  const clock = { ms: 0 }
  const limiter = createAuthenticationLimiter({ ...options, clock: () => clock.ms })
  const fail = (address: string, times: number) => {
    for (let count = 0; count < times; count++) limiter.recordFailure(address)
  }
  const refusal = (address: string) => {
    try {
      limiter.check(address)
      return undefined
    } catch (error) {
      return error as AppError
    }
  }
  return { clock, fail, refusal }
}

describe('the limiter of failed authentications', () => {
  it('lets an address fail as often as it may within a minute, and not once more', () => {
    const { clock, fail, refusal } = createScene({ perMinute: 3 })
    fail('192.0.2.1', 3)
    expect(refusal('192.0.2.1')).to.equal(undefined)
    clock.ms = 10_500
    fail('192.0.2.1', 1)
    expect(refusal('192.0.2.1')).to.be.instanceOf(AppError)
    expect(refusal('192.0.2.1')).to.include({ code: 'rate_limited', retryAfterSeconds: 50 })
  })

  it('forgets after a minute', () => {
    const { clock, fail, refusal } = createScene({ perMinute: 3 })
    fail('192.0.2.1', 100)
    clock.ms = 59_999
    expect(refusal('192.0.2.1')).to.include({ retryAfterSeconds: 1 })
    clock.ms = 60_000
    expect(refusal('192.0.2.1')).to.equal(undefined)
    fail('192.0.2.1', 3)
    expect(refusal('192.0.2.1')).to.equal(undefined)
  })

  const neighbours = [
    { what: 'two IPv4 addresses apart', one: '192.0.2.1', other: '192.0.2.2', isSame: false },
    {
      what: 'an IPv6 network of 64 bits as one',
      one: '2001:db8::1',
      other: '2001:db8::ffff:2',
      isSame: true,
    },
    { what: 'two IPv6 networks apart', one: '2001:db8::1', other: '2001:db8:0:1::1', isSame: false },
    { what: 'IPv4 in IPv6 as IPv4', one: '::ffff:192.0.2.1', other: '192.0.2.1', isSame: true },
    {
      what: 'the neighbours of IPv4 in IPv6 apart',
      one: '::ffff:192.0.2.1',
      other: '::ffff:192.0.2.2',
      isSame: false,
    },
    { what: 'what is no address under its own name', one: '', other: '192.0.2.1', isSame: false },
  ]
  for (const { what, one, other, isSame } of neighbours) {
    it(`counts ${what}`, () => {
      const { fail, refusal } = createScene({ perMinute: 3 })
      fail(one, 4)
      expect(refusal(other) !== undefined).to.equal(isSame)
    })
  }

  it('drops the oldest count when there are too many addresses', () => {
    const { fail, refusal } = createScene({ perMinute: 3, addressesMax: 2 })
    fail('192.0.2.1', 4)
    fail('192.0.2.2', 4)
    fail('192.0.2.3', 4)
    expect(refusal('192.0.2.1')).to.equal(undefined)
    expect(refusal('192.0.2.2')).to.include({ code: 'rate_limited' })
    expect(refusal('192.0.2.3')).to.include({ code: 'rate_limited' })
  })
})
