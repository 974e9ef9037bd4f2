import { expect } from 'chai'
import { describe, it } from 'mocha'
import { createCache } from '#src/services/cache.ts'
import { rejection } from '#test/support/rejection.ts'

const limits = { ttlMs: 100, entriesMax: 2 }

/** Reads that can be counted: each gives the number of its call. */
function counter() {
  const state = { count: 0, read: async (): Promise<number | undefined> => ++state.count }
  return state
}

describe('the cache', () => {
  const cases = [
    { what: 'keeps a value until just before its time', at: 1_099, reads: 1 },
    { what: 'reads again when its time is over', at: 1_100, reads: 2 },
    { what: 'reads again when the clock was set back', at: 999, reads: 2 },
  ]
  for (const { what, at, reads } of cases) {
    it(what, async () => {
      const [cache, values] = [createCache<number>(limits), counter()]
      await cache.get('a', 1_000, values.read)
      expect(await cache.get('a', at, values.read)).to.equal(reads)
    })
  }

  it('does not keep a value for longer because it is used', async () => {
    const [cache, values] = [createCache<number>(limits), counter()]
    for (const at of [0, 60, 99, 100]) await cache.get('a', at, values.read)
    expect(values.count).to.equal(2)
  })

  it('reads once for those who ask at the same time', async () => {
    const [cache, values] = [createCache<number>(limits), counter()]
    expect(await Promise.all([cache.get('a', 0, values.read), cache.get('a', 0, values.read)])).to.deep.equal(
      [1, 1],
    )
  })

  it('drops what was not used for longest', async () => {
    const [cache, values] = [createCache<number>(limits), counter()]
    for (const key of ['a', 'b', 'a', 'c']) await cache.get(key, 0, values.read)
    expect(await cache.get('a', 0, values.read)).to.equal(1)
    expect(await cache.get('b', 0, values.read)).to.equal(4)
  })

  it('does not keep that there is nothing', async () => {
    const [cache, values] = [createCache<number>(limits), counter()]
    expect(await cache.get('a', 0, async () => undefined)).to.equal(undefined)
    expect(await cache.get('a', 0, values.read)).to.equal(1)
  })

  it('does not keep a failure', async () => {
    const [cache, values] = [createCache<number>(limits), counter()]
    const failure = new Error('no database')
    expect(await rejection(cache.get('a', 0, () => Promise.reject(failure)))).to.equal(failure)
    expect(await cache.get('a', 0, values.read)).to.equal(1)
  })

  it('keeps the later answer when an earlier one comes late', async () => {
    const [cache, values] = [createCache<number>(limits), counter()]
    const slow = Promise.withResolvers<undefined>()
    const first = cache.get('a', 0, () => slow.promise)
    await cache.get('a', 100, values.read)
    slow.resolve(undefined)
    expect(await first).to.equal(undefined)
    expect(await cache.get('a', 100, values.read)).to.equal(1)
  })
})
