import { expect } from 'chai'
import { describe, it } from 'mocha'
import { makeAddressRule } from '#src/domain/address.ts'
import { fetchDocument } from '#src/sending/fetch-document.ts'
import { createSender } from '#src/sending/send.ts'
import { httpResponse, startRawReceiver } from './raw-receiver.ts'
import { recordDial } from './record-dial.ts'

function startSender() {
  const { dial, dialled } = recordDial()
  const addresses = makeAddressRule({ allowCidrs: ['127.0.0.9/32'], denyCidrs: [] })
  const sender = createSender({ addresses, dial })
  return { ...sender, dialled, [Symbol.asyncDispose]: () => sender.close() }
}

describe('fetching a document', () => {
  it('gives the JSON of a 200', async () => {
    await using server = await startRawReceiver(socket => socket.write(httpResponse(200, '{"keys":["ä"]}')))
    await using sender = startSender()
    expect(await fetchDocument(sender, `${server.origin}/jwks.json`)).to.deep.equal({
      kind: 'document',
      document: { keys: ['ä'] },
    })
    expect(server.requests[0]?.head).to.match(/^GET \/jwks\.json HTTP/)
  })

  const faults = [
    { what: 'another status', answer: httpResponse(404, '{}'), fault: 'http_error' },
    {
      what: 'a redirect',
      answer: httpResponse(302, '', { location: 'http://127.0.0.1/' }),
      fault: 'http_error',
    },
    { what: 'too much', answer: httpResponse(200, `"${'x'.repeat(65_536)}"`), fault: 'too_large' },
    { what: 'no JSON', answer: httpResponse(200, '<html>'), fault: 'invalid_json' },
    { what: 'nothing', answer: httpResponse(200), fault: 'invalid_json' },
    { what: 'no UTF-8', answer: 'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"\xff"', fault: 'invalid_json' },
    { what: 'no HTTP', answer: 'garbage\r\n', fault: 'protocol_error' },
  ]
  for (const { what, answer, fault } of faults) {
    it(`gives the fault ${fault} for ${what}`, async () => {
      await using server = await startRawReceiver(socket => socket.write(answer, 'latin1'))
      await using sender = startSender()
      expect(await fetchDocument(sender, server.origin)).to.include({ kind: 'fault', fault })
    })
  }

  it('gives up at its deadline', async () => {
    await using server = await startRawReceiver(() => {})
    await using sender = startSender()
    expect(await fetchDocument(sender, server.origin, { deadlineMs: 100 })).to.include({ fault: 'timeout' })
  })

  it('does not leave the guard', async () => {
    await using sender = startSender()
    expect(await fetchDocument(sender, 'http://169.254.169.254/')).to.include({
      fault: 'blocked_destination',
    })
  })

  it('takes a document of exactly as many bytes as it may have', async () => {
    await using server = await startRawReceiver(socket => socket.write(httpResponse(200, '"abc"')))
    await using sender = startSender()
    expect(await fetchDocument(sender, server.origin, { bytesMax: 5 })).to.deep.equal({
      kind: 'document',
      document: 'abc',
    })
    expect(await fetchDocument(sender, server.origin, { bytesMax: 4 })).to.include({ fault: 'too_large' })
  })
})
