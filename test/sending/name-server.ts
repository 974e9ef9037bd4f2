/**
 * A DNS server on loopback that answers by a script. It knows A and AAAA questions over UDP, which is all the
 * resolver asks.
 */

import dgram from 'node:dgram'
import { once } from 'node:events'

/** What one pair of questions (A and AAAA) is answered; `silence` never comes. */
export type NameAnswer = { a?: string[]; aaaa?: string[] } | 'nxdomain' | 'servfail' | 'silence'

export type NameServer = AsyncDisposable & {
  /** For `createResolver` and `createSender`. */
  servers: string[]
  /** Names with their types in the order they were asked, such as `a.example.com A`. */
  questions: string[]
}

/** Each name has its answers in order; the last one stays. A name that is not in the script does not exist. */
export async function startNameServer(script: Record<string, NameAnswer[]>): Promise<NameServer> {
  const socket = dgram.createSocket('udp4')
  const questions: string[] = []
  const askedCounts = new Map<string, number>()

  socket.on('message', (query, from) => {
    const { name, type, questionEnd } = readQuestion(query)
    const key = `${name} ${type}`
    const asked = askedCounts.get(key) ?? 0
    askedCounts.set(key, asked + 1)
    questions.push(key)

    const answers = script[name] ?? ['nxdomain']
    const answer = answers[Math.min(asked, answers.length - 1)] ?? 'nxdomain'
    if (answer !== 'silence')
      socket.send(writeReply(query, questionEnd, type, answer), from.port, from.address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()

  return {
    servers: [`127.0.0.1:${port}`],
    questions,
    async [Symbol.asyncDispose]() {
      socket.close()
      await once(socket, 'close')
    },
  }
}

type QuestionType = 'A' | 'AAAA' | 'other'

/** RFC 1035 section 4.1.2; the header has 12 bytes. */
function readQuestion(query: Buffer): { name: string; type: QuestionType; questionEnd: number } {
  const labels: string[] = []
  let offset = 12
  for (let length = query[offset] ?? 0; length > 0; length = query[offset] ?? 0) {
    labels.push(query.toString('latin1', offset + 1, offset + 1 + length))
    offset += 1 + length
  }
  const type = query.readUInt16BE(offset + 1)
  return {
    name: labels.join('.').toLowerCase(),
    type: type === 1 ? 'A' : type === 28 ? 'AAAA' : 'other',
    questionEnd: offset + 5,
  }
}

function writeReply(query: Buffer, questionEnd: number, type: QuestionType, answer: NameAnswer): Buffer {
  const code = answer === 'nxdomain' ? 3 : answer === 'servfail' ? 2 : 0
  const addresses = typeof answer === 'string' ? [] : ((type === 'A' ? answer.a : answer.aaaa) ?? [])

  const header = Buffer.alloc(12)
  query.copy(header, 0, 0, 2)
  header.writeUInt16BE(0x8180 | code, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(addresses.length, 6)
  return Buffer.concat([header, query.subarray(12, questionEnd), ...addresses.map(writeRecord)])
}

function writeRecord(address: string): Buffer {
  const data = address.includes(':') ? ipv6Bytes(address) : Buffer.from(address.split('.').map(Number))
  const record = Buffer.alloc(12)
  // The name is a pointer to the question's (RFC 1035 section 4.1.4).
  record.writeUInt16BE(0xc00c, 0)
  record.writeUInt16BE(data.length === 4 ? 1 : 28, 2)
  record.writeUInt16BE(1, 4)
  record.writeUInt32BE(60, 6)
  record.writeUInt16BE(data.length, 10)
  return Buffer.concat([record, data])
}

function ipv6Bytes(address: string): Buffer {
  const [left = '', right = ''] = address.split('::')
  const parts = (text: string) => text.split(':').filter(part => part !== '')
  const middle = Array.from({ length: 8 - parts(left).length - parts(right).length }, () => '0')
  const words = [...parts(left), ...middle, ...parts(right)].map(part => parseInt(part, 16))
  return Buffer.from(words.flatMap(word => [word >> 8, word & 255]))
}
