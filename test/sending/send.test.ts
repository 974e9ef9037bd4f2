import { expect } from 'chai'
import { describe, it } from 'mocha'
import { getEventListeners, once } from 'node:events'
import net from 'node:net'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { makeAddressRule } from '#src/domain/address.ts'
import type { SendFault, SendResponse, SendResult } from '#src/domain/outcome.ts'
import { makeDial } from '#src/sending/connector.ts'
import { createSender } from '#src/sending/send.ts'
import type { OutboundRequest, Sender, SenderOptions } from '#src/sending/send.ts'
import { makeCertificate } from './certificate.ts'
import { startNameServer } from './name-server.ts'
import { httpResponse, startRawReceiver } from './raw-receiver.ts'
import { recordDial } from './record-dial.ts'

const addresses = makeAddressRule({ allowCidrs: ['127.0.0.9/32'], denyCidrs: [] })

/** A sender that is closed behind the test, and what it has dialled. */
function startSender(options: Partial<SenderOptions> = {}) {
  const { dial, dialled } = recordDial(options.dial ?? makeDial(options.tls))
  const sender = createSender({ addresses, ...options, dial })
  return { ...sender, dialled, [Symbol.asyncDispose]: () => sender.close() }
}

const post = (url: string, changes: Partial<OutboundRequest> = {}): OutboundRequest => ({
  method: 'POST',
  url,
  headers: { 'content-type': 'application/json', 'webhook-id': 'e1' },
  body: Buffer.from('{"a":1}'),
  deadlineMs: 1_500,
  ...changes,
})

function expectResponse(result: SendResult): SendResponse {
  if (result.kind !== 'response') throw new Error(`not a response: ${result.fault} (${result.detail})`)
  return result
}

function expectFault(result: SendResult): SendFault {
  if (result.kind !== 'fault') throw new Error(`not a fault: ${result.status}`)
  return result
}

/** Leaves a kept connection behind; undici takes it back a turn of the event loop after the answer. */
async function warmUp(sender: Sender, url: string): Promise<void> {
  expect(expectResponse(await sender.send(post(url))).status).to.equal(200)
  await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
}

describe('sending a request', () => {
  it('puts method, path, headers and body on the wire as they are', async () => {
    await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200, 'ok')))
    await using sender = startSender()
    const url = `${receiver.origin}/a%20b/c?d=%7e&d=2`
    await sender.send(post(url, { method: 'PUT', headers: { 'Content-Type': 'text/plain', 'X-A': 'b c' } }))
    expect(receiver.requests.map(({ head }) => head.split('\r\n'))).to.deep.equal([
      [
        'PUT /a%20b/c?d=%7e&d=2 HTTP/1.1',
        `host: 127.0.0.9:${receiver.port}`,
        'connection: keep-alive',
        'Content-Type: text/plain',
        'X-A: b c',
        'content-length: 7',
      ],
    ])
    expect(receiver.requests[0]?.body.toString()).to.equal('{"a":1}')
  })

  it('gives back the response', async () => {
    await using receiver = await startRawReceiver(socket =>
      socket.write(
        'HTTP/1.1 418 Teapot\r\nX-A: b\r\nSet-Cookie: c=1\r\nset-cookie: d=2\r\ncontent-length: 2\r\n\r\nok',
      ),
    )
    await using sender = startSender()
    const { durationMs, ...response } = expectResponse(await sender.send(post(receiver.origin)))
    expect(response).to.deep.equal({
      kind: 'response',
      status: 418,
      headers: [
        ['x-a', 'b'],
        ['set-cookie', 'c=1'],
        ['set-cookie', 'd=2'],
        ['content-length', '2'],
      ],
      body: Buffer.from('ok'),
      isTruncated: false,
      remoteAddress: '127.0.0.9',
      requestsCount: 1,
    })
    expect(durationMs).to.be.within(0, 1_500)
  })

  it('takes a URL object and a request without a body', async () => {
    await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200)))
    await using sender = startSender()
    await sender.send({
      method: 'GET',
      url: new URL(`${receiver.origin}/x`),
      headers: {},
      body: undefined,
      deadlineMs: 500,
    })
    expect(receiver.requests[0]?.head)
      .to.match(/^GET \/x HTTP\/1\.1\r\n/)
      .and.not.contain('content-length')
  })

  it('uses a connection again', async () => {
    await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200)))
    await using sender = startSender()
    for (let n = 0; n < 3; n++) await warmUp(sender, receiver.origin)
    expect(receiver.connectionsCount).to.equal(1)
    expect(receiver.requests).to.have.length(3)
  })

  it('opens no more connections to an origin than it may', async () => {
    await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200)))
    await using sender = startSender({ connectionsPerOrigin: 2 })
    const results = await Promise.all(Array.from({ length: 20 }, () => sender.send(post(receiver.origin))))
    expect(results.map(result => expectResponse(result).status)).to.deep.equal(Array(20).fill(200))
    expect(receiver.connectionsCount).to.equal(2)
  })

  it('resolves names by the given name servers', async () => {
    await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200)))
    await using names = await startNameServer({ 'receiver.example.com': [{ a: ['127.0.0.9'] }] })
    await using sender = startSender({ dnsServers: names.servers })
    const result = await sender.send(post(`http://receiver.example.com:${receiver.port}/`))
    expect(expectResponse(result)).to.include({ status: 200, remoteAddress: '127.0.0.9' })
    expect(receiver.requests[0]?.head).to.contain(`host: receiver.example.com:${receiver.port}\r\n`)
  })

  for (const status of [301, 302, 303, 307, 308]) {
    it(`does not follow a ${status}`, async () => {
      await using canary = await startRawReceiver(socket => socket.write(httpResponse(200)))
      await using receiver = await startRawReceiver(socket =>
        socket.write(httpResponse(status, '', { location: `${canary.origin}/` })),
      )
      await using sender = startSender()
      const response = expectResponse(await sender.send(post(receiver.origin)))
      expect(response.status).to.equal(status)
      expect(response.headers).to.deep.include(['location', `${canary.origin}/`])
      expect([sender.dialled.length, canary.connectionsCount]).to.deep.equal([1, 0])
    })
  }

  it('does not decompress', async () => {
    const packed = gzipSync('x'.repeat(100_000))
    await using receiver = await startRawReceiver(socket => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${packed.length}\r\n\r\n`)
      socket.write(packed)
    })
    await using sender = startSender()
    expect(expectResponse(await sender.send(post(receiver.origin))).body.equals(packed)).to.equal(true)
  })

  it('takes no notice of interim responses', async () => {
    await using receiver = await startRawReceiver(socket =>
      socket.write(`HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${httpResponse(204)}`),
    )
    await using sender = startSender()
    const response = expectResponse(await sender.send(post(receiver.origin)))
    expect([response.status, response.headers]).to.deep.equal([204, [['content-length', '0']]])
  })
})

describe('what is not dialled', () => {
  const urls = [
    'http://127.0.0.1/',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://0177.0.0.1/',
    'http://１２７.０.０.１/',
    'http://0.0.0.0/',
    'http://10.0.0.1/',
    'http://169.254.169.254/latest/meta-data/',
    'http://168.63.129.16/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[64:ff9b::7f00:9]/',
    'http://[fd00:ec2::254]/',
    'https://[fe80::1]/',
    'http://localhost/',
    'http://user@127.0.0.9/',
    'ftp://127.0.0.9/',
    'not a url',
  ]
  for (const url of urls) {
    it(`is ${url}`, async () => {
      await using sender = startSender()
      expect(await sender.send(post(url))).to.deep.include({
        kind: 'fault',
        fault: 'blocked_destination',
        detail: 'The URL leads to an address that may not be sent to.',
        remoteAddress: undefined,
        requestsCount: 0,
        isLocal: false,
      })
      expect(sender.dialled).to.deep.equal([])
    })
  }

  it('is a bad address under the Host header of a good one', async () => {
    await using sender = startSender()
    const result = await sender.send(post('http://127.0.0.1/', { headers: { host: '127.0.0.9' } }))
    expect(expectFault(result).fault).to.equal('blocked_destination')
    expect(sender.dialled).to.deep.equal([])
  })

  const names = {
    'private.example.com': [{ a: ['10.0.0.1'] }],
    'mixed.example.com': [{ a: ['127.0.0.9', '127.0.0.1'] }],
    'mixed6.example.com': [{ a: ['127.0.0.9'], aaaa: ['::1'] }],
    'metadata.example.com': [{ a: ['169.254.169.254'] }],
    'mapped.example.com': [{ aaaa: ['::ffff:a00:1'] }],
    'nat64.example.com': [{ aaaa: ['64:ff9b::7f00:9'] }],
  }
  for (const name of Object.keys(names)) {
    it(`is ${name}, which resolves to an address that is not allowed`, async () => {
      await using nameServer = await startNameServer(names)
      await using sender = startSender({ dnsServers: nameServer.servers })
      expect(expectFault(await sender.send(post(`http://${name}/`)))).to.include({
        fault: 'blocked_destination',
        detail: 'The URL leads to an address that may not be sent to.',
        requestsCount: 0,
      })
      expect(sender.dialled).to.deep.equal([])
    })
  }

  const badHeaders = [
    { 'X-A': 'b\r\nX-Evil: 1' },
    { 'X-A': 'b\n' },
    { 'X-A': 'b\0' },
    { 'X-A\r\nX-Evil': '1' },
    { 'X A': 'b' },
  ]
  for (const headers of badHeaders) {
    it(`is a request with ${JSON.stringify(headers)}`, async () => {
      await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200)))
      await using sender = startSender()
      const result = await sender.send(post(receiver.origin, { headers: headers }))
      expect(expectFault(result)).to.include({ fault: 'protocol_error', requestsCount: 0 })
      expect([sender.dialled.length, receiver.connectionsCount]).to.deep.equal([0, 0])
    })
  }
})

describe('faults of a receiver', () => {
  it('are connection_refused where nothing listens', async () => {
    const receiver = await startRawReceiver(() => {})
    await receiver[Symbol.asyncDispose]()
    await using sender = startSender()
    expect(expectFault(await sender.send(post(receiver.origin)))).to.include({
      fault: 'connection_refused',
      detail: 'The receiver refused the connection (ECONNREFUSED).',
      requestsCount: 0,
    })
  })

  const lost = [
    { what: 'a reset', answer: 'reset' },
    { what: 'an end without an answer', answer: '' },
    { what: 'an end within the status line', answer: 'HTTP/1.1 2' },
    { what: 'an end within the headers', answer: 'HTTP/1.1 200 OK\r\ncontent-le' },
  ]
  for (const { what, answer } of lost) {
    it(`are connection_reset for ${what}, and the request is not sent again`, async () => {
      await using receiver = await startRawReceiver(socket =>
        answer === 'reset' ? socket.resetAndDestroy() : socket.end(answer),
      )
      await using sender = startSender()
      expect(expectFault(await sender.send(post(receiver.origin)))).to.include({
        fault: 'connection_reset',
        remoteAddress: '127.0.0.9',
        requestsCount: 1,
      })
      expect(receiver.requests).to.have.length(1)
    })
  }

  const malformed = [
    'garbage\r\n\r\n',
    'HTTP/1.1 000 Zero\r\n\r\n',
    'HTTP/1.1 20 Short\r\n\r\n',
    'HTTP/9.9 200 OK\r\n\r\n',
    'HTTP/1.1 200 OK\r\nx-a: \0b\r\n\r\n',
    'HTTP/1.1 200 OK\r\nx a: b\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab',
    'HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n',
    'HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\n',
    `HTTP/1.1 200 OK\r\nx-a: ${'b'.repeat(20_000)}\r\n\r\n`,
    'SSH-2.0-OpenSSH_9.6\r\n',
    '\x15\x03\x01\x00\x02\x02\x46',
  ]
  for (const answer of malformed) {
    it(`are protocol_error for ${JSON.stringify(answer.slice(0, 60))}`, async () => {
      await using receiver = await startRawReceiver(socket => socket.write(answer, 'latin1'))
      await using sender = startSender()
      expect(expectFault(await sender.send(post(receiver.origin)))).to.include({
        fault: 'protocol_error',
        requestsCount: 1,
        isLocal: false,
      })
    })
  }

  it('are dns_error for a name that does not exist', async () => {
    await using nameServer = await startNameServer({})
    await using sender = startSender({ dnsServers: nameServer.servers })
    expect(expectFault(await sender.send(post('http://nowhere.example.com/')))).to.include({
      fault: 'dns_error',
      detail: 'The host name could not be resolved (ENOTFOUND).',
      requestsCount: 0,
    })
  })

  it('are ours when we are out of file descriptors', async () => {
    const error = Object.assign(new Error('connect EMFILE 127.0.0.9:80'), { code: 'EMFILE' })
    await using sender = startSender({ dial: (_target, callback) => callback(error, null) })
    expect(expectFault(await sender.send(post('http://127.0.0.9/')))).to.include({
      isLocal: true,
      requestsCount: 0,
    })
  })

  it('of one request leave the next one alone', async () => {
    await using receiver = await startRawReceiver((socket, { number }) =>
      number === 1 ? socket.resetAndDestroy() : socket.write(httpResponse(200)),
    )
    await using sender = startSender({ connectionsPerOrigin: 1 })
    const results = await Promise.all([
      sender.send(post(receiver.origin)),
      sender.send(post(receiver.origin)),
    ])
    expect(results.map(({ kind }) => kind)).to.deep.equal(['fault', 'response'])
  })
})

describe('the body of a response', () => {
  it('is kept up to its limit, and the rest is not read', async () => {
    await using receiver = await startRawReceiver(socket =>
      socket.write(httpResponse(200, 'x'.repeat(4_000_000))),
    )
    await using sender = startSender()
    const response = expectResponse(await sender.send(post(receiver.origin)))
    expect([response.status, response.body.toString(), response.isTruncated]).to.deep.equal([
      200,
      'x'.repeat(16_384),
      true,
    ])
    await receiver.closedConnections(1)
  })

  it('is whole when it has exactly as much', async () => {
    await using receiver = await startRawReceiver(socket =>
      socket.write(httpResponse(200, 'x'.repeat(16_384))),
    )
    await using sender = startSender()
    const response = expectResponse(await sender.send(post(receiver.origin)))
    expect([response.body.length, response.isTruncated]).to.deep.equal([16_384, false])
  })

  it('is put together from chunks of any size', async () => {
    await using receiver = await startRawReceiver(socket =>
      socket.write(
        `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(20_000)}0\r\n\r\n`,
      ),
    )
    await using sender = startSender()
    const response = expectResponse(await sender.send(post(receiver.origin)))
    expect([response.body.toString(), response.isTruncated]).to.deep.equal(['x'.repeat(16_384), true])
  })

  it('may have a limit of its own', async () => {
    await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200, 'abcdef')))
    await using sender = startSender()
    const kept = async (responseBytesMax: number) =>
      expectResponse(await sender.send(post(receiver.origin, { responseBytesMax }))).body.toString()
    expect([await kept(6), await kept(5), await kept(0)]).to.deep.equal(['abcdef', 'abcde', ''])
  })

  const broken = [
    { what: 'ends before its length', answer: 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc' },
    { what: 'ends within a chunk', answer: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc' },
    {
      what: 'has a chunk of no size',
      answer: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n',
    },
  ]
  for (const { what, answer } of broken) {
    it(`does not undo the status when it ${what}`, async () => {
      await using receiver = await startRawReceiver(socket => socket.end(answer))
      await using sender = startSender()
      const response = expectResponse(await sender.send(post(receiver.origin)))
      expect([response.status, response.body.toString(), response.isTruncated]).to.deep.equal([
        200,
        'abc',
        true,
      ])
    })
  }

  it('may end with the connection', async () => {
    await using receiver = await startRawReceiver(socket => socket.end('HTTP/1.0 200 OK\r\n\r\nabc'))
    await using sender = startSender()
    const response = expectResponse(await sender.send(post(receiver.origin)))
    expect([response.body.toString(), response.isTruncated]).to.deep.equal(['abc', false])
  })

  it('is cut where the deadline finds it when it drips', async () => {
    await using receiver = await startRawReceiver(socket => {
      socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n')
      const drip = setInterval(() => socket.write('1\r\nx\r\n'), 20)
      socket.on('close', () => clearInterval(drip))
    })
    await using sender = startSender()
    const response = expectResponse(await sender.send(post(receiver.origin, { deadlineMs: 200 })))
    expect([response.status, response.isTruncated]).to.deep.equal([200, true])
    expect(response.body.toString()).to.match(/^x+$/)
    expect(response.durationMs).to.be.within(200, 400)
    await receiver.closedConnections(1)
  })
})

describe('the deadline', () => {
  it('ends a request that is not answered', async () => {
    await using receiver = await startRawReceiver(() => {})
    await using sender = startSender()
    const fault = expectFault(await sender.send(post(receiver.origin, { deadlineMs: 150 })))
    expect(fault).to.include({
      fault: 'timeout',
      requestsCount: 1,
      remoteAddress: '127.0.0.9',
      isLocal: false,
    })
    expect(fault.durationMs).to.be.within(150, 350)
    await receiver.closedConnections(1)
  })

  it('ends a flood of interim responses', async () => {
    await using receiver = await startRawReceiver(socket => {
      const flood = setInterval(
        () => socket.write('HTTP/1.1 103 Early Hints\r\nx-a: b\r\n\r\n'.repeat(100)),
        1,
      )
      socket.on('close', () => clearInterval(flood))
    })
    await using sender = startSender()
    expect(expectFault(await sender.send(post(receiver.origin, { deadlineMs: 150 }))).fault).to.equal(
      'timeout',
    )
    await receiver.closedConnections(1)
  })

  it('ends headers that drip', async () => {
    await using receiver = await startRawReceiver(socket => {
      socket.write('HTTP/1.1 200 OK\r\n')
      const drip = setInterval(() => socket.write('x-a: b\r\n'), 20)
      socket.on('close', () => clearInterval(drip))
    })
    await using sender = startSender()
    expect(expectFault(await sender.send(post(receiver.origin, { deadlineMs: 150 }))).fault).to.equal(
      'timeout',
    )
  })

  it('ends a connection that is never made', async () => {
    await using sender = startSender({ dial: () => {} })
    expect(expectFault(await sender.send(post('http://127.0.0.9/', { deadlineMs: 100 })))).to.include({
      fault: 'timeout',
      requestsCount: 0,
      remoteAddress: undefined,
    })
  })

  it('ends a name that is not resolved', async () => {
    await using nameServer = await startNameServer({ 'silent.example.com': ['silence'] })
    await using sender = startSender({ dnsServers: nameServer.servers })
    const result = await sender.send(post('http://silent.example.com/', { deadlineMs: 100 }))
    expect(expectFault(result)).to.include({ fault: 'timeout', requestsCount: 0 })
  })

  it('ends a request that waits in line, which is then never sent', async () => {
    const held: (() => void)[] = []
    await using receiver = await startRawReceiver((socket, { number }) => {
      if (number === 1) held.push(() => socket.write(httpResponse(200)))
      else socket.write(httpResponse(200))
    })
    await using sender = startSender({ connectionsPerOrigin: 1 })
    const first = sender.send(post(`${receiver.origin}/first`))
    const second = await sender.send(post(`${receiver.origin}/second`, { deadlineMs: 100 }))
    expect(expectFault(second)).to.include({ fault: 'timeout', requestsCount: 0 })

    held.forEach(release => release())
    expect(expectResponse(await first).status).to.equal(200)
    expectResponse(await sender.send(post(`${receiver.origin}/third`)))
    expect(receiver.requests.map(({ head }) => head.split(' ')[1])).to.deep.equal(['/first', '/third'])
  })
})

describe('a kept connection that the receiver closes under a request', () => {
  const closings = [
    { how: 'by a reset', close: 'reset' },
    { how: 'by an end', close: 'end' },
  ]
  for (const { how, close } of closings) {
    it(`${how} has it sent once more on a fresh connection`, async () => {
      await using receiver = await startRawReceiver((socket, { number }) => {
        if (number !== 2) socket.write(httpResponse(200))
        else if (close === 'reset') socket.resetAndDestroy()
        else socket.end()
      })
      await using sender = startSender()
      await warmUp(sender, receiver.origin)
      const response = expectResponse(await sender.send(post(receiver.origin)))
      expect([response.status, response.requestsCount, response.remoteAddress]).to.deep.equal([
        200,
        2,
        '127.0.0.9',
      ])
      expect(receiver.requests.map(({ connectionNumber }) => connectionNumber)).to.deep.equal([1, 1, 2])
      expect(receiver.requests[2]?.body).to.deep.equal(receiver.requests[1]?.body)
    })
  }

  it('does not have it sent a third time', async () => {
    await using receiver = await startRawReceiver((socket, { number }) =>
      number === 1 ? socket.write(httpResponse(200)) : socket.resetAndDestroy(),
    )
    await using sender = startSender()
    await warmUp(sender, receiver.origin)
    expect(expectFault(await sender.send(post(receiver.origin)))).to.include({
      fault: 'connection_reset',
      requestsCount: 2,
    })
    expect(receiver.requests).to.have.length(3)
  })

  it('does not have it sent again on another kept connection', async () => {
    const waiting: (() => void)[] = []
    await using receiver = await startRawReceiver((socket, { number }) => {
      // The first two are answered together, so that two connections are kept.
      if (number <= 2) waiting.push(() => socket.write(httpResponse(200)))
      if (number === 2) waiting.forEach(answer => answer())
      if (number === 3) socket.resetAndDestroy()
      if (number === 4) socket.write(httpResponse(200))
    })
    await using sender = startSender()
    await Promise.all([warmUp(sender, receiver.origin), warmUp(sender, receiver.origin)])
    expect(receiver.connectionsCount).to.equal(2)
    expect(expectResponse(await sender.send(post(receiver.origin))).requestsCount).to.equal(2)
    expect(receiver.requests[3]).to.include({ connectionNumber: 3 })
  })

  for (const start of ['H', 'HTTP/1.1 200 OK\r\n']) {
    it(`does not have it sent again once ${JSON.stringify(start)} has come`, async () => {
      await using receiver = await startRawReceiver((socket, { number }) =>
        number === 1 ? socket.write(httpResponse(200)) : socket.end(start),
      )
      await using sender = startSender()
      await warmUp(sender, receiver.origin)
      expect(expectFault(await sender.send(post(receiver.origin)))).to.include({
        fault: 'connection_reset',
        requestsCount: 1,
      })
      expect(receiver.requests).to.have.length(2)
    })
  }

  it('does not have it sent again when the answer was garbage', async () => {
    await using receiver = await startRawReceiver((socket, { number }) =>
      socket.write(number === 1 ? httpResponse(200) : 'garbage\r\n'),
    )
    await using sender = startSender()
    await warmUp(sender, receiver.origin)
    expect(expectFault(await sender.send(post(receiver.origin)))).to.include({
      fault: 'protocol_error',
      requestsCount: 1,
    })
  })

  it('keeps to the deadline of the whole', async () => {
    await using receiver = await startRawReceiver((socket, { number }) => {
      if (number === 1) socket.write(httpResponse(200))
      if (number === 2) socket.resetAndDestroy()
    })
    await using sender = startSender()
    await warmUp(sender, receiver.origin)
    const fault = expectFault(await sender.send(post(receiver.origin, { deadlineMs: 150 })))
    expect(fault).to.include({ fault: 'timeout', requestsCount: 2 })
    expect(fault.durationMs).to.be.within(150, 350)
  })

  it('loses no request of a receiver that closes each connection just behind its answer', async () => {
    await using receiver = await startRawReceiver(socket => {
      socket.write(httpResponse(200))
      setImmediate(() => socket.resetAndDestroy())
    })
    await using sender = startSender()
    for (let n = 0; n < 60; n++) await warmUp(sender, receiver.origin)
  })
})

describe('ending requests from here', () => {
  it('gives aborted when the signal aborts, and closes the connection', async () => {
    const controller = new AbortController()
    await using receiver = await startRawReceiver(() => controller.abort())
    await using sender = startSender()
    expect(expectFault(await sender.send(post(receiver.origin), { signal: controller.signal }))).to.include({
      fault: 'aborted',
      requestsCount: 1,
      isLocal: false,
    })
    await receiver.closedConnections(1)
  })

  it('sends nothing when the signal has aborted before', async () => {
    await using sender = startSender()
    const result = await sender.send(post('http://127.0.0.9/'), { signal: AbortSignal.abort() })
    expect(expectFault(result)).to.include({ fault: 'aborted', requestsCount: 0 })
    expect(sender.dialled).to.deep.equal([])
  })

  it('leaves no listener on the signal', async () => {
    await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200)))
    await using sender = startSender()
    const { signal } = new AbortController()
    expectResponse(await sender.send(post(receiver.origin), { signal }))
    expect(getEventListeners(signal, 'abort')).to.deep.equal([])
  })

  it('ends everything when the sender is closed, and sends nothing after', async () => {
    const sender = startSender()
    let onRequest = () => {}
    const hasRequest = new Promise<void>(resolve => (onRequest = resolve))
    await using receiver = await startRawReceiver(() => onRequest())
    const onTheWire = sender.send(post(receiver.origin))
    await hasRequest
    await sender.close()
    expect(expectFault(await onTheWire)).to.include({ fault: 'aborted', requestsCount: 1 })
    expect(expectFault(await sender.send(post(receiver.origin)))).to.include({
      fault: 'aborted',
      requestsCount: 0,
    })
    expect(receiver.requests).to.have.length(1)
  })
})

describe('https', () => {
  const name = 'receiver.example.com'
  const script = { [name]: [{ a: ['127.0.0.9'] }] }
  const good = makeCertificate({ name })

  it('works with a certificate that is trusted and names the host', async () => {
    await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200)), good)
    await using nameServer = await startNameServer(script)
    await using sender = startSender({ dnsServers: nameServer.servers, tls: { ca: good.cert } })
    const url = `https://${name}:${receiver.port}/`
    await warmUp(sender, url)
    const response = expectResponse(await sender.send(post(url)))
    expect([response.status, response.remoteAddress]).to.deep.equal([200, '127.0.0.9'])
    expect(receiver.connectionsCount).to.equal(1)
  })

  it('sends once more on a fresh connection, too', async () => {
    await using receiver = await startRawReceiver((socket, { number }) => {
      if (number === 2) socket.end()
      else socket.write(httpResponse(200))
    }, good)
    await using nameServer = await startNameServer(script)
    await using sender = startSender({ dnsServers: nameServer.servers, tls: { ca: good.cert } })
    const url = `https://${name}:${receiver.port}/`
    await warmUp(sender, url)
    expect(expectResponse(await sender.send(post(url))).requestsCount).to.equal(2)
  })

  const expired = makeCertificate({ name, isExpired: true })
  const foreign = makeCertificate({ name: 'other.example.com' })
  const refused = [
    { what: 'another name', server: foreign, ca: foreign.cert, code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    { what: 'no trust', server: good, ca: foreign.cert, code: 'DEPTH_ZERO_SELF_SIGNED_CERT' },
    { what: 'a date gone by', server: expired, ca: expired.cert, code: 'CERT_HAS_EXPIRED' },
  ]
  for (const { what, server, ca, code } of refused) {
    it(`is tls_error with a certificate of ${what}`, async () => {
      await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200)), server)
      await using nameServer = await startNameServer(script)
      await using sender = startSender({ dnsServers: nameServer.servers, tls: { ca } })
      const result = await sender.send(post(`https://${name}:${receiver.port}/`))
      expect(expectFault(result)).to.include({
        fault: 'tls_error',
        detail: `No secure connection could be made (${code}).`,
        requestsCount: 0,
      })
      expect(receiver.requests).to.deep.equal([])
    })
  }

  it('checks certificates though the environment says not to', async () => {
    await using receiver = await startRawReceiver(socket => socket.write(httpResponse(200)), good)
    await using nameServer = await startNameServer(script)
    await using sender = startSender({ dnsServers: nameServer.servers })
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      const result = await sender.send(post(`https://${name}:${receiver.port}/`))
      expect(expectFault(result).fault).to.equal('tls_error')
    } finally {
      delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    }
  })

  it('is tls_error where plain http is spoken', async () => {
    const server = net.createServer(socket => socket.on('error', () => {}).end(httpResponse(400)))
    server.listen(0, '127.0.0.9')
    await once(server, 'listening')
    await using sender = startSender()
    const { port } = server.address() as AddressInfo
    const fault = expectFault(await sender.send(post(`https://127.0.0.9:${port}/`)))
    server.close()
    expect(fault).to.include({ fault: 'tls_error', requestsCount: 0 })
  })

  it('is timeout where a handshake is not answered', async () => {
    await using receiver = await startRawReceiver(() => {})
    await using sender = startSender()
    const result = await sender.send(post(`https://127.0.0.9:${receiver.port}/`, { deadlineMs: 100 }))
    expect(expectFault(result)).to.include({ fault: 'timeout', requestsCount: 0 })
  })

  it('is tls_error where only HTTP/2 is spoken', async () => {
    await using receiver = await startRawReceiver(() => {}, { ...good, ALPNProtocols: ['h2'] })
    await using nameServer = await startNameServer(script)
    await using sender = startSender({ dnsServers: nameServer.servers, tls: { ca: good.cert } })
    expect(expectFault(await sender.send(post(`https://${name}:${receiver.port}/`))).fault).to.equal(
      'tls_error',
    )
  })
})
