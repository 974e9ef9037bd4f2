import { expect } from 'chai'
import { describe, it } from 'mocha'
import { createResolver } from '#src/sending/resolver.ts'
import { startNameServer } from './name-server.ts'

describe('the resolver', () => {
  it('gives A and AAAA records, IPv4 first', async () => {
    await using names = await startNameServer({
      'both.example.com': [{ a: ['192.0.2.1', '192.0.2.2'], aaaa: ['2001:db8::1'] }],
    })
    expect(await createResolver(names)('both.example.com')).to.deep.equal({
      kind: 'addresses',
      addresses: [
        { address: '192.0.2.1', family: 4 },
        { address: '192.0.2.2', family: 4 },
        { address: '2001:db8::1', family: 6 },
      ],
    })
  })

  it('is content with one of the two', async () => {
    await using names = await startNameServer({ 'six.example.com': [{ aaaa: ['2001:db8::1'] }] })
    expect(await createResolver(names)('six.example.com')).to.deep.equal({
      kind: 'addresses',
      addresses: [{ address: '2001:db8::1', family: 6 }],
    })
  })

  const faults = [
    { answer: 'nxdomain', code: 'ENOTFOUND' },
    { answer: 'servfail', code: 'ESERVFAIL' },
    { answer: {}, code: 'ENODATA' },
  ] as const
  for (const { answer, code } of faults) {
    it(`gives the fault ${code} for ${JSON.stringify(answer)}`, async () => {
      await using names = await startNameServer({ 'bad.example.com': [answer] })
      expect(await createResolver(names)('bad.example.com')).to.deep.equal({ kind: 'fault', code })
    })
  }

  it('gives a fault when the name server is not there', async () => {
    const names = await startNameServer({})
    await names[Symbol.asyncDispose]()
    expect(await createResolver(names)('a.example.com')).to.deep.equal({
      kind: 'fault',
      code: 'ECONNREFUSED',
    })
  })

  it('gives a fault for what cannot be a name', async () => {
    await using names = await startNameServer({})
    const resolution = await createResolver(names)(`${'a'.repeat(64)}.example.com`)
    expect(resolution.kind).to.equal('fault')
    expect(names.questions).to.deep.equal([])
  })

  it('does not read /etc/hosts', async () => {
    await using names = await startNameServer({})
    expect(await createResolver(names)('localhost')).to.have.property('kind', 'fault')
  })

  it('keeps an answer for 5 seconds and then asks again', async () => {
    await using names = await startNameServer({
      'a.example.com': [{ a: ['192.0.2.1'] }, { a: ['192.0.2.2'] }],
    })
    let nowMs = 0
    const resolve = createResolver({ ...names, nowMs: () => nowMs })
    const first = await resolve('a.example.com')
    nowMs = 4_999
    expect(await resolve('a.example.com')).to.equal(first)
    nowMs = 5_000
    expect(await resolve('a.example.com')).to.deep.equal({
      kind: 'addresses',
      addresses: [{ address: '192.0.2.2', family: 4 }],
    })
  })

  it('keeps a failure for as long', async () => {
    await using names = await startNameServer({ 'a.example.com': ['servfail', { a: ['192.0.2.1'] }] })
    let nowMs = 0
    const resolve = createResolver({ ...names, nowMs: () => nowMs })
    await resolve('a.example.com')
    const asked = names.questions.length
    nowMs = 4_999
    expect(await resolve('a.example.com')).to.deep.equal({ kind: 'fault', code: 'ESERVFAIL' })
    expect(names.questions).to.have.length(asked)
  })

  it('asks once for all who ask at the same time', async () => {
    await using names = await startNameServer({ 'a.example.com': [{ a: ['192.0.2.1'] }] })
    const resolve = createResolver(names)
    await Promise.all(Array.from({ length: 20 }, () => resolve('a.example.com')))
    expect(names.questions.toSorted()).to.deep.equal(['a.example.com A', 'a.example.com AAAA'])
  })
})
