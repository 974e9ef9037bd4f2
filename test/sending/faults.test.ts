import { expect } from 'chai'
import { describe, it } from 'mocha'
import { errors } from 'undici'
import { RefusedConnection } from '#src/sending/connector.ts'
import { faultOf } from '#src/sending/faults.ts'

const withCode = (code: string) => Object.assign(new Error('connect 10.1.2.3:443'), { code })

describe('the fault of an error', () => {
  const byCode = {
    connection_refused: ['ECONNREFUSED'],
    connection_reset: ['ECONNRESET', 'ECONNABORTED', 'EPIPE', 'UND_ERR_SOCKET'],
    timeout: ['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'],
    protocol_error: ['UND_ERR_HEADERS_OVERFLOW', 'ERR_ASSERTION', 'UND_ERR_INVALID_ARG'],
    tls_error: [
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'ERR_SSL_WRONG_VERSION_NUMBER',
      'CERT_HAS_EXPIRED',
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'HOSTNAME_MISMATCH',
      'EPROTO',
    ],
    network_error: ['ENETUNREACH', 'EHOSTUNREACH', 'ESOMETHINGNEW'],
    aborted: ['UND_ERR_DESTROYED', 'UND_ERR_CLOSED'],
  }
  for (const [fault, codes] of Object.entries(byCode)) {
    for (const code of codes) {
      it(`is ${fault} for ${code}`, () => {
        const result = faultOf(withCode(code))
        expect(result).to.include({ fault, isLocal: false })
        expect(result.detail)
          .to.match(new RegExp(`^[A-Z].*\\(${code}\\)\\.$`))
          .and.not.contain('10.1.2.3')
      })
    }
  }

  for (const code of ['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL']) {
    it(`is ours for ${code}`, () => {
      expect(faultOf(withCode(code))).to.deep.equal({
        fault: 'network_error',
        detail: `The request could not be sent from here (${code}).`,
        isLocal: true,
      })
    })
  }

  it('does not say why or where a destination was blocked', () => {
    expect(faultOf(new RefusedConnection('blocked_destination', 'EBLOCKED'))).to.deep.equal({
      fault: 'blocked_destination',
      detail: 'The URL leads to an address that may not be sent to.',
      isLocal: false,
    })
  })

  it('does not take a refusing name server for a refusing receiver', () => {
    expect(faultOf(new RefusedConnection('dns_error', 'ECONNREFUSED'))).to.include({
      fault: 'dns_error',
      detail: 'The host name could not be resolved (ECONNREFUSED).',
    })
  })

  it('goes by the classes of undici', () => {
    expect(faultOf(new errors.HTTPParserError('bad')).fault).to.equal('protocol_error')
    expect(faultOf(new errors.ConnectTimeoutError()).fault).to.equal('timeout')
    expect(faultOf(new errors.SocketError('other side closed')).fault).to.equal('connection_reset')
    expect(faultOf(new errors.ResponseContentLengthMismatchError()).fault).to.equal('protocol_error')
  })

  it('is network_error for an error without a code', () => {
    expect(faultOf(new Error('?'))).to.deep.equal({
      fault: 'network_error',
      detail: 'The receiver could not be reached.',
      isLocal: false,
    })
  })
})
