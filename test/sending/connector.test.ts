import { expect } from 'chai'
import { describe, it } from 'mocha'
import net from 'node:net'
import type { Socket } from 'node:net'
import { makeAddressRule } from '#src/domain/address.ts'
import { createConnector, makeDial, RefusedConnection } from '#src/sending/connector.ts'
import type { Dial } from '#src/sending/connector.ts'
import type { Resolution } from '#src/sending/resolver.ts'
import { startRawReceiver } from './raw-receiver.ts'
import { recordDial } from './record-dial.ts'

const rule = makeAddressRule({ allowCidrs: ['127.0.0.8/31'], denyCidrs: [] })

const resolved = (...addresses: string[]): Resolution => {
  const [first = '', ...rest] = addresses
  const answer = (address: string) => ({
    address,
    family: address.includes(':') ? (6 as const) : (4 as const),
  })
  return { kind: 'addresses', addresses: [answer(first), ...rest.map(answer)] }
}

/** A connector whose names resolve to these in turn, and what it asks and dials. */
function makeConnector(resolutions: Resolution[] = [], dial: Dial = makeDial()) {
  const recorder = recordDial(dial)
  const asked: string[] = []
  const connect = createConnector({
    rule,
    resolve: async hostname => {
      asked.push(hostname)
      return resolutions[asked.length - 1] ?? { kind: 'fault', code: 'ENOTFOUND' }
    },
    dial: recorder.dial,
  })
  const open = (hostname: string, port: number | string = 80, protocol = 'http:') =>
    new Promise<Socket | Error>(resolve => {
      connect({ hostname, protocol, port: String(port) }, (error, socket) => resolve(error ?? socket))
    })
  return { open, dialled: recorder.dialled, asked }
}

const isBlocked = (result: Socket | Error) =>
  result instanceof RefusedConnection && result.fault === 'blocked_destination' && !/\d/.test(result.message)

describe('the guarded connector', () => {
  it('dials an address that the rule allows, without DNS', async () => {
    await using receiver = await startRawReceiver(() => {})
    const connector = makeConnector()
    const socket = await connector.open('127.0.0.9', receiver.port)
    expect(socket).to.have.property('remoteAddress', '127.0.0.9')
    expect(connector.asked).to.deep.equal([])
    ;(socket as Socket).destroy()
  })

  const literals = [
    '127.0.0.1',
    '10.0.0.1',
    '169.254.169.254',
    '168.63.129.16',
    '0.0.0.0',
    '::1',
    '::ffff:7f00:1',
  ]
  for (const literal of [...literals, '64:ff9b::7f00:9', 'fd00:ec2::254', '::']) {
    it(`does not dial ${literal}`, async () => {
      const connector = makeConnector()
      expect(await connector.open(literal)).to.satisfy(isBlocked)
      expect(connector.dialled).to.deep.equal([])
      expect(connector.asked).to.deep.equal([])
    })
  }

  it('dials exactly the addresses of the one answer that it checked', async () => {
    await using receiver = await startRawReceiver(() => {})
    const connector = makeConnector([resolved('127.0.0.9'), resolved('127.0.0.1')])
    const socket = await connector.open('good.example.com', receiver.port)
    expect(socket).to.have.property('remoteAddress', '127.0.0.9')
    expect(connector.asked).to.deep.equal(['good.example.com'])
    expect(connector.dialled.map(({ addresses }) => addresses)).to.deep.equal([
      [{ address: '127.0.0.9', family: 4 }],
    ])
    ;(socket as Socket).destroy()
  })

  const answers = [
    { what: 'a private address', addresses: ['10.0.0.1'] },
    { what: 'a metadata service', addresses: ['169.254.169.254'] },
    { what: 'loopback over IPv6', addresses: ['::1'] },
    { what: 'an IPv4-mapped private address', addresses: ['::ffff:a00:1'] },
    { what: 'a good and a bad address', addresses: ['127.0.0.9', '10.0.0.1'] },
    { what: 'a good IPv4 and a bad IPv6 address', addresses: ['127.0.0.9', 'fd00::1'] },
    {
      what: 'a bad address behind more good ones than are dialled',
      addresses: [...Array(9).fill('127.0.0.9'), '10.0.0.1'],
    },
  ]
  for (const { what, addresses } of answers) {
    it(`does not dial a name that resolves to ${what}`, async () => {
      const connector = makeConnector([resolved(...addresses)])
      expect(await connector.open('bad.example.com')).to.satisfy(isBlocked)
      expect(connector.dialled).to.deep.equal([])
    })
  }

  it('refuses a name that moves to a bad address between two connections', async () => {
    await using receiver = await startRawReceiver(() => {})
    const connector = makeConnector([resolved('127.0.0.9'), resolved('127.0.0.1')])
    const first = await connector.open('rebinding.example.com', receiver.port)
    expect(first).to.be.instanceOf(net.Socket)
    expect(await connector.open('rebinding.example.com', receiver.port)).to.satisfy(isBlocked)
    expect(connector.dialled).to.have.length(1)
    ;(first as Socket).destroy()
  })

  it('does not dial a name that does not resolve', async () => {
    const connector = makeConnector([{ kind: 'fault', code: 'ESERVFAIL' }])
    const result = await connector.open('gone.example.com')
    expect(result).to.include({ fault: 'dns_error', code: 'ESERVFAIL' })
    expect(connector.dialled).to.deep.equal([])
  })

  it('takes localhost for 127.0.0.1, without DNS, and only where that is open', async () => {
    const connector = makeConnector([resolved('127.0.0.9')])
    expect(await connector.open('localhost')).to.satisfy(isBlocked)
    expect(connector.asked).to.deep.equal([])

    const recorder = recordDial(() => {})
    const connect = createConnector({
      rule: makeAddressRule({ allowCidrs: ['127.0.0.1/32'], denyCidrs: [] }),
      resolve: async () => resolved('127.0.0.9'),
      dial: recorder.dial,
    })
    connect({ hostname: 'localhost', protocol: 'http:', port: '80' }, () => {})
    expect(recorder.dialled.map(({ addresses }) => addresses)).to.deep.equal([
      [{ address: '127.0.0.1', family: 4 }],
    ])
  })

  it('closes a connection whose peer is not what was checked', async () => {
    await using receiver = await startRawReceiver(() => {})
    // Stands for whatever could stand between: a hook, a proxy, a bug of ours.
    const elsewhere: Dial = (target, callback) =>
      makeDial()({ ...target, hostname: '127.0.0.9', addresses: [] }, callback)
    const strict = createConnector({
      rule: makeAddressRule({ allowCidrs: ['127.0.0.8/32'], denyCidrs: [] }),
      resolve: async () => resolved('127.0.0.8'),
      dial: elsewhere,
    })
    const result = await new Promise<Socket | Error>(resolve => {
      strict({ hostname: '127.0.0.8', protocol: 'http:', port: String(receiver.port) }, (error, socket) =>
        resolve(error ?? socket),
      )
    })
    expect(result).to.satisfy(isBlocked)
    await receiver.closedConnections(1)
    expect(receiver.requests).to.deep.equal([])
  })

  it('dials at most 4 addresses of a name', async () => {
    const connector = makeConnector([resolved(...Array<string>(20).fill('127.0.0.9'))], () => {})
    void connector.open('many.example.com')
    await new Promise(setImmediate)
    expect(connector.dialled[0]?.addresses).to.have.length(4)
  })

  it('goes on to the next address when one refuses', async () => {
    await using receiver = await startRawReceiver(() => {})
    const connector = makeConnector([resolved('127.0.0.8', '127.0.0.9')])
    const socket = await connector.open('two.example.com', receiver.port)
    expect(socket).to.have.property('remoteAddress', '127.0.0.9')
    ;(socket as Socket).destroy()
  })
})
