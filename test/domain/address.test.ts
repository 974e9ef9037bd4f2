import { expect } from 'chai'
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { describe, it } from 'mocha'
import { checkCidrs, makeAddressRule } from '#src/domain/address.ts'

const byDefault = makeAddressRule({ allowCidrs: [], denyCidrs: [] })

/** The first and last address of each refused block, and what its neighbours outside are. */
const ipv4Edges = [
  { block: '0.0.0.0/8', first: '0.0.0.0', last: '0.255.255.255' },
  { block: '10.0.0.0/8', first: '10.0.0.0', last: '10.255.255.255' },
  { block: '100.64.0.0/10', first: '100.64.0.0', last: '100.127.255.255' },
  { block: '127.0.0.0/8', first: '127.0.0.0', last: '127.255.255.255' },
  { block: '169.254.0.0/16', first: '169.254.0.0', last: '169.254.255.255' },
  { block: '172.16.0.0/12', first: '172.16.0.0', last: '172.31.255.255' },
  { block: '192.0.0.0/24', first: '192.0.0.0', last: '192.0.0.255' },
  { block: '192.0.2.0/24', first: '192.0.2.0', last: '192.0.2.255' },
  { block: '192.31.196.0/24', first: '192.31.196.0', last: '192.31.196.255' },
  { block: '192.52.193.0/24', first: '192.52.193.0', last: '192.52.193.255' },
  { block: '192.88.99.0/24', first: '192.88.99.0', last: '192.88.99.255' },
  { block: '192.168.0.0/16', first: '192.168.0.0', last: '192.168.255.255' },
  { block: '192.175.48.0/24', first: '192.175.48.0', last: '192.175.48.255' },
  { block: '198.18.0.0/15', first: '198.18.0.0', last: '198.19.255.255' },
  { block: '198.51.100.0/24', first: '198.51.100.0', last: '198.51.100.255' },
  { block: '203.0.113.0/24', first: '203.0.113.0', last: '203.0.113.255' },
  { block: '224.0.0.0/4', first: '224.0.0.0', last: '239.255.255.255' },
  { block: '240.0.0.0/4', first: '240.0.0.0', last: '255.255.255.255' },
  { block: '168.63.129.16/32', first: '168.63.129.16', last: '168.63.129.16' },
]

describe('addresses that may be dialled', () => {
  for (const { block, first, last } of ipv4Edges) {
    it(`refuses ${block} from its first to its last address`, () => {
      expect([byDefault.allows(first), byDefault.allows(last)]).to.deep.equal([false, false])
    })
  }

  const ipv4Neighbours = [
    '1.0.0.0',
    '9.255.255.255',
    '11.0.0.0',
    '100.63.255.255',
    '100.128.0.0',
    '126.255.255.255',
    '128.0.0.0',
    '169.253.255.255',
    '169.255.0.0',
    '172.15.255.255',
    '172.32.0.0',
    '192.0.1.0',
    '192.167.255.255',
    '192.169.0.0',
    '198.17.255.255',
    '198.20.0.0',
    '223.255.255.255',
    '168.63.129.15',
    '168.63.129.17',
  ]
  for (const address of ipv4Neighbours) {
    it(`allows ${address}, which lies beside a refused block`, () => {
      expect(byDefault.allows(address)).to.equal(true)
    })
  }

  const ipv6Cases = [
    { address: '2000::1', allowed: true, what: 'global unicast' },
    { address: '2606:4700::1111', allowed: true, what: 'global unicast' },
    { address: '2001:200::1', allowed: true, what: 'just behind the protocol assignments' },
    { address: '3ffe::1', allowed: true, what: 'global unicast again' },
    { address: '::', allowed: false, what: 'unspecified' },
    { address: '::1', allowed: false, what: 'loopback' },
    { address: '::7f00:1', allowed: false, what: 'IPv4-compatible' },
    { address: '::ffff:127.0.0.1', allowed: false, what: 'IPv4-mapped loopback' },
    { address: '::ffff:a9fe:a9fe', allowed: false, what: 'IPv4-mapped metadata service' },
    { address: '::ffff:8.8.8.8', allowed: true, what: 'IPv4-mapped public' },
    { address: '::ffff:0:127.0.0.1', allowed: false, what: 'IPv4-translated' },
    { address: '64:ff9b::7f00:1', allowed: false, what: 'NAT64' },
    { address: '64:ff9b:1::7f00:1', allowed: false, what: 'local NAT64' },
    { address: '100::1', allowed: false, what: 'discard' },
    { address: '100:0:0:1::1', allowed: false, what: 'dummy prefix' },
    { address: '2001::1', allowed: false, what: 'Teredo' },
    { address: '2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff', allowed: false, what: 'last protocol assignment' },
    { address: '2001:db8::1', allowed: false, what: 'documentation' },
    { address: '2002:7f00:1::', allowed: false, what: '6to4' },
    { address: '2620:4f:8000::1', allowed: false, what: 'AS112' },
    { address: '3fff:fff::1', allowed: false, what: 'documentation' },
    { address: '4000::1', allowed: false, what: 'not given out' },
    { address: '5f00::1', allowed: false, what: 'segment routing' },
    { address: 'fc00::1', allowed: false, what: 'unique local' },
    { address: 'fd00:ec2::254', allowed: false, what: 'metadata service' },
    { address: 'fe80::1%eth0', allowed: false, what: 'link-local with a zone' },
    { address: 'fec0::1', allowed: false, what: 'site-local' },
    { address: 'ff02::1', allowed: false, what: 'multicast' },
  ]
  for (const { address, allowed, what } of ipv6Cases) {
    it(`${allowed ? 'allows' : 'refuses'} ${address} (${what})`, () => {
      expect(byDefault.allows(address)).to.equal(allowed)
    })
  }

  for (const text of [
    '',
    'example.com',
    '8.8.8',
    '134744072',
    '0x8.8.8.8',
    '010.8.8.8',
    '8.8.8.8 ',
    '[2000::1]',
  ]) {
    it(`refuses ${JSON.stringify(text)}, which is not an address`, () => {
      expect(byDefault.allows(text)).to.equal(false)
    })
  }

  it('allows no IPv4 address that ipaddr.js does not call unicast', () => {
    const blocks = ipv4Edges.map(({ block }) => ipaddr.IPv4.parseCIDR(block))
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), number => {
        const address = new ipaddr.IPv4([
          number >>> 24,
          (number >>> 16) & 255,
          (number >>> 8) & 255,
          number & 255,
        ])
        const isRefused = blocks.some(block => address.match(block))
        expect(byDefault.allows(address.toString())).to.equal(!isRefused)
        if (!isRefused) expect(address.range()).to.equal('unicast')
      }),
      { numRuns: 5_000 },
    )
  })

  it('says the same of an IPv4 address and of its IPv4-mapped form', () => {
    fc.assert(
      fc.property(fc.ipV4(), address => {
        expect(byDefault.allows(`::ffff:${address}`)).to.equal(byDefault.allows(address))
      }),
    )
  })

  it('allows no IPv6 address that ipaddr.js does not call unicast', () => {
    fc.assert(
      fc.property(fc.ipV6(), address => {
        if (byDefault.allows(address)) expect(ipaddr.process(address).range()).to.equal('unicast')
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('addresses that the operator opens and closes', () => {
  it('opens exactly what an allow CIDR names', () => {
    const rule = makeAddressRule({ allowCidrs: ['127.0.0.9/32', 'fd12::/64'], denyCidrs: [] })
    const allowed = ['127.0.0.9', '::ffff:127.0.0.9', 'fd12::1', '8.8.8.8'].map(rule.allows)
    const refused = ['127.0.0.1', '127.0.0.8', '127.0.0.10', '::1', 'fd12:0:0:1::1'].map(rule.allows)
    expect(allowed).to.deep.equal([true, true, true, true])
    expect(refused).to.deep.equal([false, false, false, false, false])
  })

  it('takes an IPv4-mapped allow CIDR for the IPv4 CIDR in it', () => {
    const rule = makeAddressRule({ allowCidrs: ['::ffff:10.1.0.0/112'], denyCidrs: [] })
    expect([rule.allows('10.1.255.255'), rule.allows('10.2.0.0')]).to.deep.equal([true, false])
  })

  it('closes what a deny CIDR names, though it is public or allowed', () => {
    const rule = makeAddressRule({ allowCidrs: ['10.0.0.0/8'], denyCidrs: ['8.8.0.0/16', '10.1.0.0/16'] })
    const allowed = ['8.9.0.1', '10.2.0.1'].map(rule.allows)
    const refused = ['8.8.8.8', '::ffff:8.8.8.8', '10.1.0.1'].map(rule.allows)
    expect(allowed).to.deep.equal([true, true])
    expect(refused).to.deep.equal([false, false, false])
  })

  it('keeps metadata services closed under a wide allow CIDR', () => {
    const rule = makeAddressRule({
      allowCidrs: ['0.0.0.0/0', '::/0', '169.254.0.0/16', '100.64.0.0/10'],
      denyCidrs: [],
    })
    const refused = ['169.254.169.254', '100.100.100.200', '168.63.129.16', '192.0.0.192', 'fd00:ec2::254']
    expect(refused.map(rule.allows)).to.deep.equal([false, false, false, false, false])
    expect(rule.allows('169.254.169.253')).to.equal(true)
  })

  it('opens a metadata service to a CIDR of that single address', () => {
    const rule = makeAddressRule({ allowCidrs: ['169.254.169.254/32'], denyCidrs: [] })
    expect(rule.allows('169.254.169.254')).to.equal(true)
  })

  it('tells what the operator names from what is merely public', () => {
    const rule = makeAddressRule({ allowCidrs: ['127.0.0.9/32', '9.9.9.9/32'], denyCidrs: ['9.9.9.9/32'] })
    expect(['127.0.0.9', '8.8.8.8', '9.9.9.9', 'nonsense'].map(rule.isNamedByOperator)).to.deep.equal([
      true,
      false,
      false,
      false,
    ])
  })
})

describe('CIDRs in the settings', () => {
  it('takes IPv4 and IPv6 CIDRs', () => {
    expect(
      checkCidrs(['10.0.0.0/8', '127.0.0.9/32', '::/0', 'fd00::/8', '::ffff:10.0.0.0/104']),
    ).to.deep.equal([])
  })

  for (const cidr of [
    '10.0.0.0',
    '10.0.0.0/33',
    '10/8',
    '0x7f.0.0.0/8',
    'fd00::/129',
    'example.com/8',
    '',
    '/8',
  ]) {
    it(`says what is wrong with ${JSON.stringify(cidr)}`, () => {
      expect(checkCidrs(['10.0.0.0/8', cidr])).to.deep.equal([
        `"${cidr}" is not a CIDR; write an address and a prefix length, such as 10.0.0.0/8 or fd00::/8.`,
      ])
    })
  }
})
