import { once, type EventEmitter } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { afterEach, beforeEach, describe, it } from 'mocha'
import { discardBody, discardedBytesMax, readBody, requireJson } from '#src/http/body.ts'
import { AppError } from '#src/errors.ts'

const bytesMax = 1000

describe('reading request bodies', () => {
  let rig: Rig
  beforeEach(async () => {
    rig = await startRig(request => readBody(request, { bytesMax }))
  })
  afterEach(() => rig.stop())

  const body = Buffer.from([0x00, 0xff, 0x0d, 0x0a, 0xe9])

  describe('codings', () => {
    const read: [name: string, coding: string | undefined, coded: Buffer][] = [
      ['without a coding', undefined, body],
      ['as identity', 'identity', body],
      ['as gzip', 'gzip', gzipSync(body)],
      [
        'as gzip of several members',
        'gzip',
        Buffer.concat([gzipSync(body.subarray(0, 2)), gzipSync(body.subarray(2))]),
      ],
      ['as x-gzip, in any case', ' X-GZip ', gzipSync(body)],
      ['as br', 'br', brotliCompressSync(body)],
    ]
    for (const [name, coding, coded] of read) {
      it(`reads a body ${name}, byte for byte`, async () => {
        const reply = await rig.post(coded, coding)
        expect(reply).to.deep.equal({ status: 200, body })
      })
    }

    const refused: [coding: string, coded: Buffer][] = [
      ['deflate', deflateSync(body)],
      ['zstd', body],
      ['gzip, br', brotliCompressSync(gzipSync(body))],
      ['identity, gzip', gzipSync(body)],
      ['gzip, gzip', gzipSync(gzipSync(body))],
    ]
    for (const [coding, coded] of refused) {
      it(`refuses the coding ${coding}`, async () => {
        expect(await rig.post(coded, coding)).to.deep.equal({
          status: 400,
          body: Buffer.from('unsupported_media_type'),
        })
      })
    }

    const broken: [name: string, coding: string, coded: Buffer][] = [
      ['a truncated gzip', 'gzip', gzipSync(body).subarray(0, -1)],
      ['a truncated br', 'br', brotliCompressSync(body).subarray(0, -1)],
      ['an empty gzip', 'gzip', Buffer.alloc(0)],
      ['an empty br', 'br', Buffer.alloc(0)],
      ['a gzip with a wrong checksum', 'gzip', withFlippedBit(gzipSync(body), -8)],
      ['plain bytes called gzip', 'gzip', body],
      ['plain bytes called br', 'br', body],
      ['a zlib stream called gzip', 'gzip', deflateSync(body)],
      ['a gzip with something behind it', 'gzip', Buffer.concat([gzipSync(body), Buffer.from('{}')])],
      ['a br with something behind it', 'br', Buffer.concat([brotliCompressSync(body), Buffer.from('{}')])],
    ]
    for (const [name, coding, coded] of broken) {
      it(`refuses ${name}`, async () => {
        expect(await rig.post(coded, coding)).to.deep.equal({
          status: 400,
          body: Buffer.from('invalid_encoding'),
        })
      })
    }
  })

  describe('pieces', () => {
    it('reads a missing body as no bytes', async () => {
      const replies = await rig.exchange(['GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'])
      expect(replies).to.match(/^HTTP\/1.1 200 .*\r\n\r\n$/s)
    })

    it('joins a body that comes in pieces', async () => {
      const head = 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n'
      const replies = await rig.exchange([head, '2\r\nab\r\n', '3\r\ncde\r\n', '0\r\n\r\n'])
      expect(replies).to.match(/^HTTP\/1.1 200 .*\r\n\r\nabcde$/s)
    })
  })

  describe('limits', () => {
    const random = Buffer.from(Array.from({ length: bytesMax }, (_, i) => (i * i * 31 + i * 7) & 0xff))
    const atLimit: [coding: string | undefined, coded: Buffer][] = [
      [undefined, random],
      ['gzip', gzipSync(random, { level: 0 })],
      ['br', brotliCompressSync(random)],
    ]
    for (const [coding, coded] of atLimit) {
      it(`reads a body of exactly the limit (${coding ?? 'no coding'})`, async () => {
        expect(await rig.post(coded, coding)).to.deep.equal({ status: 200, body: random })
      })
    }

    const larger = Buffer.alloc(bytesMax + 1, 'a')
    const bomb = Buffer.alloc(16 * 1024 * 1024)
    const tooLarge: [name: string, coding: string | undefined, coded: Buffer][] = [
      ['a body', undefined, larger],
      ['a gzip that inflates', 'gzip', gzipSync(larger)],
      ['a br that inflates', 'br', brotliCompressSync(larger)],
      ['a gzip bomb that inflates', 'gzip', gzipSync(bomb)],
      ['a br bomb that inflates', 'br', brotliCompressSync(bomb)],
    ]
    for (const [name, coding, coded] of tooLarge) {
      it(`refuses ${name} past the limit`, async () => {
        expect(await rig.post(coded, coding)).to.deep.equal({
          status: 400,
          body: Buffer.from('payload_too_large'),
        })
      })
    }

    it('refuses a gzip of endless empty members, which never inflates to anything', async () => {
      const empty = gzipSync('')
      const coded = Buffer.concat(Array<Buffer>(200).fill(empty))
      expect(await rig.post(coded, 'gzip')).to.deep.equal({
        status: 400,
        body: Buffer.from('payload_too_large'),
      })
    })

    it('refuses by Content-Length before any of the body has come', async () => {
      const client = await rig.connect()
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n')
      expect(await client.readUntil('payload_too_large')).to.match(/^HTTP\/1.1 400 /)
      client.destroy()
    })

    it('refuses a chunked body as soon as it is past the limit', async () => {
      const client = await rig.connect()
      client.write('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n')
      client.write(`3e8\r\n${'a'.repeat(1000)}\r\n1\r\na\r\n`)
      expect(await client.readUntil('payload_too_large')).to.match(/^HTTP\/1.1 400 /)
      client.destroy()
    })
  })

  describe('the connection after a refused body', () => {
    it('serves the next request once the rest has been discarded', async () => {
      const client = await rig.connect()
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n')
      await client.readUntil('payload_too_large')
      client.write('a'.repeat(500_000))
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nnext')
      expect(await client.readUntil('next')).to.match(/HTTP\/1.1 200 [^]*next$/)
      client.destroy()
    })

    it('serves the next request after a coding that is not read', async () => {
      const client = await rig.connect()
      client.write(
        `POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: zstd\r\nContent-Length: 5000\r\n\r\n${'a'.repeat(5000)}`,
      )
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nnext')
      expect(await client.readUntil('next')).to.match(/unsupported_media_type[^]*next$/)
      client.destroy()
    })

    const heads = ['Content-Length: 1000000000', 'Transfer-Encoding: chunked']
    for (const head of heads) {
      it(`is cut when the rest does not end (${head})`, async () => {
        const client = await rig.connect()
        client.write(`POST / HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n`)
        const sentBytes = await client.writeUntilClosed(`10000\r\n${'a'.repeat(65_536)}\r\n`)
        expect(client.text()).to.match(/^HTTP\/1.1 400 [^]*payload_too_large$/)
        expect(await rig.receivedBytes()).to.be.within(discardedBytesMax, discardedBytesMax + 200_000)
        expect(sentBytes).to.be.greaterThan(discardedBytesMax)
      })
    }
  })

  describe('a client that goes away', () => {
    const partial = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc'
    const ways: [name: string, leave: (client: Client) => void][] = [
      ['resets the connection', client => client.reset()],
      ['closes the connection', client => client.destroy()],
      ['ends its side', client => client.end()],
    ]
    for (const [name, leave] of ways) {
      it(`is the client's fault when it ${name} mid-body`, async () => {
        const client = await rig.connect()
        client.write(partial)
        await rig.bodyStarted()
        leave(client)
        const error = await rig.failed()
        expect(error).to.be.instanceOf(AppError)
        expect(error).to.include({ code: 'invalid_request' })
      })
    }

    it('is noticed when it left before its body was asked for', async () => {
      const late = await startRig(async request => {
        request.resume()
        await emitted(request, 'close')
        return readBody(request, { bytesMax })
      })
      const client = await late.connect()
      client.write(partial)
      await late.bodyStarted()
      client.destroy()
      expect(await late.failed()).to.include({ code: 'invalid_request' })
      await late.stop()
    })
  })

  it('does not wait for ever for a request that we gave up ourselves', async () => {
    const abandoning = await startRig(request => {
      const reading = readBody(request, { bytesMax })
      request.destroy()
      return reading
    })
    const client = await abandoning.connect()
    client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc')
    expect(await abandoning.failed()).to.include({ code: 'invalid_request' })
    client.destroy()
    await abandoning.stop()
  })

  it('reads a body once only', async () => {
    const twice = await startRig(async request => {
      await readBody(request, { bytesMax })
      return readBody(request, { bytesMax })
    })
    await twice.post(body).catch(() => undefined)
    expect(await twice.failed()).to.match(/a body is read once/)
    await twice.stop()
  })

  describe('discarding', () => {
    it('lets a request be refused without reading its body', async () => {
      const refusing = await startRig(async request => {
        discardBody(request)
        throw new AppError('unauthorized', 'No.')
      })
      const client = await refusing.connect()
      client.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n${'a'.repeat(200_000)}`)
      client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
      expect(await client.readUntil(/unauthorized[^]*unauthorized/)).to.match(/^HTTP\/1.1 400 /)
      client.destroy()
      await refusing.stop()
    })

    it('reads no more than it is told', async () => {
      const refusing = await startRig(async request => {
        discardBody(request, 100_000)
        throw new AppError('unauthorized', 'No.')
      })
      const client = await refusing.connect()
      client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n')
      await client.writeUntilClosed('a'.repeat(65_536))
      expect(await refusing.receivedBytes()).to.be.within(100_000, 300_000)
      await refusing.stop()
    })
  })
})

describe('requiring JSON', () => {
  const accepted = [
    'application/json',
    'Application/JSON',
    'application/json; charset=utf-8',
    'application/json;charset=UTF-8',
    'application/json ; CharSet="utf-8"',
    'application/json; charset="\\utf-8"',
    'application/json; profile="a;b, \\"c"; charset=utf-8',
    'application/json;',
    'application/json; ;charset=utf-8;',
  ]
  for (const contentType of accepted) {
    it(`takes ${contentType}`, () => {
      expect(requireJson(contentType)).to.equal('application/json')
    })
  }

  const refused = [
    undefined,
    '',
    'text/json',
    'application/jsonp',
    'application/json5',
    'application/vnd.api+json',
    'application/x-www-form-urlencoded',
    'application /json',
    'json',
    '*/*',
    'application/json, text/plain',
    'application/json charset=utf-8',
    'application/json; charset=iso-8859-1',
    'application/json; charset=utf8',
    'application/json; charset=utf-16',
    'application/json; charset=""',
    'application/json; charset=',
    'application/json; charset',
    'application/json; charset="utf-8',
    'application/json; charset = utf-8',
    'application/json; charset=utf-8; charset=utf-16',
    'application/json; charset=utf-16; charset=utf-8',
    `application/json;${' '.repeat(16_000)}x`,
    `application/json; a="${'\\"'.repeat(8_000)}`,
  ]
  for (const contentType of refused) {
    it(`refuses ${contentType === undefined ? 'a missing type' : JSON.stringify(contentType.slice(0, 60))}`, () => {
      expect(() => requireJson(contentType))
        .to.throw(AppError)
        .with.property('code', 'unsupported_media_type')
    })
  }

  it('tells which of several types it is', () => {
    const types = ['application/json', 'application/cloudevents+json']
    expect(requireJson('application/CloudEvents+json; charset=utf-8', types)).to.equal(
      'application/cloudevents+json',
    )
    expect(() => requireJson('application/cloudevents-batch+json', types)).to.throw(
      'Content-Type must be application/json or application/cloudevents+json.',
    )
  })
})

type Reply = { status: number; body: Buffer }
type Rig = Awaited<ReturnType<typeof startRig>>
type Client = Awaited<ReturnType<typeof connect>>

/** A server that answers 200 with what `read` gives, or 400 with the code of what it throws. */
async function startRig(read: (request: http.IncomingMessage) => Promise<Buffer>) {
  const failed = Promise.withResolvers<unknown>()
  const bodyStarted = Promise.withResolvers<void>()
  const receivedBytes = Promise.withResolvers<number>()
  const server = http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    request.on('data', () => bodyStarted.resolve())
    request.socket.once('close', () => receivedBytes.resolve(request.socket.bytesRead))
    read(request).then(
      body => response.end(body),
      (error: unknown) => {
        failed.resolve(error)
        response.statusCode = 400
        response.end(error instanceof AppError ? error.code : 'bug')
      },
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo

  return {
    failed: () => failed.promise,
    bodyStarted: () => bodyStarted.promise,
    /** Bytes that were read from the first connection that closed. */
    receivedBytes: () => receivedBytes.promise,
    connect: () => connect(port),
    post: (coded: Buffer, coding?: string) => post(port, coded, coding),
    /** Sends the pieces one by one; everything that comes back until the server closes. */
    exchange: async (pieces: string[]) => {
      const client = await connect(port)
      for (const piece of pieces) {
        client.write(piece)
        await new Promise(resolve => setImmediate(resolve))
      }
      return client.readToEnd()
    },
    stop: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

async function post(port: number, coded: Buffer, coding?: string): Promise<Reply> {
  const headers = coding === undefined ? {} : { 'content-encoding': coding }
  const request = http.request({ port, host: '127.0.0.1', method: 'POST', headers, agent: false })
  request.end(coded)
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  return { status: response.statusCode ?? 0, body: Buffer.concat(await response.toArray()) }
}

/** Unlike `once`, does not fail with an error that is emitted first. */
function emitted(emitter: EventEmitter, name: string): Promise<void> {
  return new Promise(resolve => emitter.once(name, () => resolve()))
}

async function connect(port: number) {
  const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let text = ''
  let isClosed = false
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  // A reset is how the server cuts us off; the tests look at what came before it.
  socket.on('error', () => undefined)
  const closed = emitted(socket, 'close').then(() => (isClosed = true))
  await once(socket, 'connect')

  return {
    text: () => text,
    write: (piece: string) => socket.write(piece),
    end: () => socket.end(),
    destroy: () => socket.destroy(),
    reset: () => socket.resetAndDestroy(),
    readUntil: async (expected: string | RegExp) => {
      while (typeof expected === 'string' ? !text.includes(expected) : !expected.test(text))
        await once(socket, 'data')
      return text
    },
    readToEnd: async () => {
      await once(socket, 'end')
      socket.destroy()
      return text
    },
    /** Writes the piece again and again; the bytes written when the server closed. */
    writeUntilClosed: async (piece: string) => {
      let sentBytes = 0
      while (!isClosed) {
        sentBytes += piece.length
        if (!socket.write(piece)) await Promise.race([emitted(socket, 'drain'), closed])
        else await new Promise(resolve => setImmediate(resolve))
      }
      return sentBytes
    },
  }
}

function withFlippedBit(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy.writeUInt8((copy.at(at) ?? 0) ^ 1, copy.length + at)
  return copy
}
