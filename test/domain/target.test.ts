import { expect } from 'chai'
import fc from 'fast-check'
import { describe, it } from 'mocha'
import { makeAddressRule } from '#src/domain/address.ts'
import { applyParams, checkHeaders, checkParams, makeOwnHosts, parseTargetUrl } from '#src/domain/target.ts'
import type { TargetRules } from '#src/domain/target.ts'

const production: TargetRules = {
  allowHttp: false,
  ownHosts: makeOwnHosts({ publicUrl: 'https://hookseal.example.com', host: '127.0.0.1', port: 3000 }),
  addresses: makeAddressRule({ allowCidrs: [], denyCidrs: [] }),
}

const development: TargetRules = {
  allowHttp: true,
  ownHosts: makeOwnHosts({ publicUrl: 'http://127.0.0.1:3000', host: '127.0.0.1', port: 3000 }),
  addresses: makeAddressRule({ allowCidrs: ['127.0.0.1/32', '127.0.0.9/32'], denyCidrs: [] }),
}

const hrefOf = (text: string, rules = production) => {
  const result = parseTargetUrl(text, rules)
  return 'href' in result ? result.href : result.fault
}

const faultOf = (text: string, rules = production) => {
  const result = parseTargetUrl(text, rules)
  return 'fault' in result ? result.fault : undefined
}

describe('the URL of an endpoint', () => {
  const accepted = [
    { text: 'https://example.com', href: 'https://example.com/' },
    { text: 'HTTPS://Example.COM/Webhook', href: 'https://example.com/Webhook' },
    { text: 'https://example.com:443/a', href: 'https://example.com/a' },
    { text: 'https://example.com:80/', href: 'https://example.com:80/' },
    { text: 'https://example.com:1024/', href: 'https://example.com:1024/' },
    { text: 'https://example.com:8443/a?b=%20c&b=d', href: 'https://example.com:8443/a?b=%20c&b=d' },
    { text: 'https://example.com:65535/', href: 'https://example.com:65535/' },
    { text: 'https://example.com./a', href: 'https://example.com/a' },
    { text: 'https://example.com/a#fragment', href: 'https://example.com/a' },
    { text: 'https://example.com/a/../b', href: 'https://example.com/b' },
    { text: 'https://bücher.example/ä', href: 'https://xn--bcher-kva.example/%C3%A4' },
    { text: 'https://hooks.localhost.example.com/', href: 'https://hooks.localhost.example.com/' },
    { text: 'https://hookseal.example.com.evil.com/', href: 'https://hookseal.example.com.evil.com/' },
  ]
  for (const { text, href } of accepted) {
    it(`accepts ${text} as ${href}`, () => {
      expect(hrefOf(text)).to.equal(href)
    })
  }

  it('comes back as a URL and as its text', () => {
    const result = parseTargetUrl('https://example.com/a', production)
    expect('url' in result && result.url.href).to.equal('https://example.com/a')
  })

  it('is normalised once and for all: its normal form is accepted and stays as it is', () => {
    fc.assert(
      fc.property(
        fc.webUrl({ validSchemes: ['https'], withFragments: true, withQueryParameters: true }),
        text => {
          const result = parseTargetUrl(text, production)
          if ('href' in result) expect(hrefOf(result.href)).to.equal(result.href)
        },
      ),
    )
  })

  const repaired = [
    'https://exam\nple.com/',
    'https://example.com/\t',
    ' https://example.com/',
    'https://example.com/a b',
    'https://example.com\\@127.0.0.1/',
    'https:\\\\example.com/',
    'https://example.com/\u0000',
    'https://example.com/\u007f',
    'https://example.com/\u0085',
  ]
  for (const text of repaired) {
    it(`refuses ${JSON.stringify(text)}, which parsers would repair`, () => {
      expect(faultOf(text)).to.equal(
        'The URL must not contain spaces, control characters or backslashes; percent-encode them.',
      )
    })
  }

  for (const text of [
    '',
    'example.com',
    '/webhook',
    'https://',
    'https://[::1',
    'https://1.2.3.4.5.256/',
    'https://a:b',
  ]) {
    it(`refuses ${JSON.stringify(text)}, which is not a URL`, () => {
      expect(faultOf(text)).to.equal(
        'This is not a URL; write it in full, such as https://example.com/webhook.',
      )
    })
  }

  for (const text of [
    'ftp://example.com/',
    'file:///etc/passwd',
    'javascript:alert(1)',
    'data:,x',
    'ws://example.com/',
  ]) {
    it(`refuses the scheme of ${text}`, () => {
      expect(faultOf(text, development)).to.equal('Use an https URL.')
    })
  }

  it('uses http only where that is open', () => {
    expect(faultOf('http://example.com/')).to.equal('Use https; http is open only with ALLOW_HTTP_ENDPOINTS.')
    expect(hrefOf('http://example.com:80/', development)).to.equal('http://example.com/')
  })

  for (const text of [
    'https://user@example.com/',
    'https://:secret@example.com/',
    'https://a:b@example.com/',
  ]) {
    it(`refuses the credentials in ${text}`, () => {
      expect(faultOf(text)).to.equal(
        'The URL must not contain a user name or password; set "auth" or a header instead.',
      )
    })
  }

  it('has at most 2,048 bytes, counted after percent-encoding', () => {
    const longest = `https://example.com/${'a'.repeat(2_028)}`
    const tooLong = 'The URL must have at most 2048 bytes once it is percent-encoded; shorten it.'
    expect(longest).to.have.length(2_048)
    expect(hrefOf(longest)).to.equal(longest)
    expect(faultOf(`${longest}a`)).to.equal(tooLong)
    expect(faultOf(`https://example.com/${'ä'.repeat(400)}`)).to.equal(tooLong)
  })
})

describe('the host of an endpoint', () => {
  const notFull = [
    'https://example/',
    'https://intranet:8443/',
    'https://-a.example.com/',
    'https://a-.example.com/',
    'https://a_b.example.com/',
    'https://a..example.com/',
    'https://example.com../',
    `https://${'a'.repeat(64)}.example.com/`,
    `https://${'a.'.repeat(126)}ab/`,
  ]
  for (const text of notFull) {
    it(`refuses ${text.slice(0, 40)}, which is not a full host name`, () => {
      expect(faultOf(text)).to.equal(
        'Use a full host name, such as hooks.example.com: labels of 1 to 63 letters, digits and hyphens, with a dot.',
      )
    })
  }

  it('has labels of at most 63 and a name of at most 253 characters', () => {
    const label = 'a'.repeat(63)
    const name = `${label}.${label}.${label}.${'b'.repeat(61)}`
    expect(name).to.have.length(253)
    expect(hrefOf(`https://${name}/`)).to.equal(`https://${name}/`)
  })

  for (const suffix of ['localhost', 'local', 'internal', 'home.arpa', 'lan', 'test', 'invalid', 'onion']) {
    it(`refuses names under ${suffix}`, () => {
      const fault = `Use a public host name; names under "${suffix}" are not public.`
      expect([
        faultOf(`https://a.${suffix}/`),
        faultOf(`https://A.b.${suffix.toUpperCase()}./`),
      ]).to.deep.equal([fault, fault])
    })
  }

  const addressFault =
    'Use a public host name; addresses and localhost are open only where EGRESS_ALLOW_CIDRS names them.'
  const literals = [
    'https://127.0.0.1/',
    'https://127.1/',
    'https://2130706433/',
    'https://0x7f000001/',
    'https://0x7f.1/',
    'https://0177.0.0.1/',
    'https://１２７.０.０.１/',
    'https://127。0。0。1/',
    'https://%31%32%37.0.0.1/',
    'https://127.0.0.1./',
    'https://0/',
    'https://169.254.169.254/latest/meta-data/',
    'https://168.63.129.16/',
    'https://8.8.8.8/',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://[::ffff:7f00:1]/',
    'https://[64:ff9b::7f00:1]/',
    'https://[fd00:ec2::254]/',
    'https://[2606:4700::1111]/',
    'https://localhost/',
    'https://LOCALHOST./',
  ]
  for (const text of literals) {
    it(`refuses ${text}, which the operator has not named`, () => {
      expect(faultOf(text)).to.equal(addressFault)
    })
  }

  const opened = [
    { text: 'http://127.0.0.9:8080/', href: 'http://127.0.0.9:8080/' },
    { text: 'http://0x7f.9:8080/', href: 'http://127.0.0.9:8080/' },
    { text: 'http://[::ffff:127.0.0.9]:8080/', href: 'http://[::ffff:7f00:9]:8080/' },
    { text: 'http://localhost:8080/', href: 'http://localhost:8080/' },
  ]
  for (const { text, href } of opened) {
    it(`accepts ${text} where an allow CIDR names its address`, () => {
      expect(hrefOf(text, development)).to.equal(href)
    })
  }

  for (const text of [
    'http://127.0.0.2:8080/',
    'http://[::1]:8080/',
    'http://8.8.8.8/',
    'http://169.254.169.254/',
  ]) {
    it(`refuses ${text} though the operator has named other addresses`, () => {
      expect(faultOf(text, development)).to.equal(addressFault)
    })
  }

  const deniedPorts = [
    0, 1, 22, 25, 79, 81, 442, 444, 1023, 1433, 1521, 1719, 1720, 1723, 2049, 2375, 2380, 3306, 3659, 4045,
    4190, 5060, 5061, 5432, 5984, 6000, 6379, 6566, 6665, 6669, 6679, 6697, 9042, 9200, 9300, 10080, 10250,
    11211, 27017, 27019,
  ]
  for (const port of deniedPorts) {
    it(`refuses port ${port}`, () => {
      expect(faultOf(`https://example.com:${port}/`)).to.equal(
        `Port ${port} is not open to webhooks; use 443, 80, or a port from 1024 up that belongs to no other service.`,
      )
    })
  }
})

describe('our own hosts', () => {
  const own = 'The URL names this service itself; use the URL of a receiver.'

  it('are the host of PUBLIC_URL on any port', () => {
    const faults = ['https://hookseal.example.com/', 'https://HOOKSEAL.example.com.:8443/x'].map(text =>
      faultOf(text),
    )
    expect(faults).to.deep.equal([own, own])
    expect(faultOf('https://other.example.com/')).to.equal(undefined)
  })

  it('are exactly HOST:PORT, however the address is written', () => {
    const same = [
      'http://127.0.0.1:3000/',
      'http://localhost:3000/',
      'http://0x7f.1:3000/',
      'http://[::ffff:7f00:1]:3000/',
    ]
    expect(same.map(text => faultOf(text, development))).to.deep.equal([own, own, own, own])
    expect(hrefOf('http://127.0.0.1:3001/', development)).to.equal('http://127.0.0.1:3001/')
    expect(hrefOf('http://127.0.0.9:3000/', development)).to.equal('http://127.0.0.9:3000/')
  })

  it('are both loopback addresses when the service listens on all', () => {
    const hosts = makeOwnHosts({ publicUrl: 'https://hooks.example.com', host: '0.0.0.0', port: 3000 })
    expect([...hosts]).to.deep.equal(['hooks.example.com', '127.0.0.1:3000', '[::1]:3000'])
  })

  it('count the port of PUBLIC_URL when it stands on an address', () => {
    const hosts = makeOwnHosts({ publicUrl: 'http://localhost', host: '::1', port: 3000 })
    expect([...hosts]).to.deep.equal(['127.0.0.1:80', '[::1]:3000'])
  })
})

describe('custom headers', () => {
  it('accepts ordinary ones', () => {
    const headers = {
      Authorization: 'Bearer abc',
      'X-Api-Key': '!"#$%&\'()*+,-./~',
      'content-type': 'application/vnd.acme+json; charset=utf-8; note="a \\" b"',
      'X-Empty': '',
    }
    expect(checkHeaders(headers)).to.deep.equal([])
  })

  const forbidden = [
    'Connection',
    'Keep-Alive',
    'TE',
    'Trailer',
    'Transfer-Encoding',
    'Upgrade',
    'Proxy-Authorization',
    'HTTP2-Settings',
    'Host',
    'User-Agent',
    'Accept-Encoding',
    'Cookie',
    'Expect',
    'Content-Length',
    'Content-Encoding',
    'Content-Digest',
    'Signature',
    'Signature-Input',
    'Stripe-Signature',
    'X-Hub-Signature-256',
    'webhook-id',
    'Webhook-Signature',
    'MessageBird-Signature',
    'Hookseal-Delivery',
    'Forwarded',
    'X-Forwarded-For',
    'X-Forwarded-Host',
    'X-Real-IP',
    'Metadata',
    'Metadata-Flavor',
    'X-aws-ec2-metadata-token',
    'X-Amz-Date',
    'X-Google-Metadata-Request',
    'X-Goog-Api-Key',
    'X-Azure-FDID',
    'X-FD-HealthProbe',
    'Sec-Fetch-Site',
  ]
  for (const name of forbidden) {
    it(`refuses ${name}`, () => {
      expect(checkHeaders({ [name]: 'x' })).to.deep.equal([
        { name, detail: 'This header is not open to endpoints; leave it out.' },
      ])
    })
  }

  for (const name of ['', 'a b', 'a:b', 'a\r\nb', 'ä', 'a(b)', 'x'.repeat(257)]) {
    it(`refuses the name ${JSON.stringify(name.slice(0, 20))}`, () => {
      expect(checkHeaders({ [name]: 'x' })).to.deep.equal([
        { name, detail: 'This is not a header name; use letters, digits and hyphens.' },
      ])
    })
  }

  for (const value of ['a\r\nX-Evil: 1', 'a\nb', 'a\rb', 'a\0b', 'a\tb', 'ä', '\u007f', '😀']) {
    it(`refuses the value ${JSON.stringify(value)}`, () => {
      expect(checkHeaders({ 'X-Note': value })).to.deep.equal([
        { name: 'X-Note', detail: 'A header value may hold visible ASCII characters and spaces only.' },
      ])
    })
  }

  for (const value of [
    '',
    'json',
    'application/',
    '/json',
    'application/json;',
    'application/json; charset',
    'a/b c',
    'a/b; c="d',
  ]) {
    it(`refuses the content type ${JSON.stringify(value)}`, () => {
      expect(checkHeaders({ 'Content-Type': value })).to.deep.equal([
        { name: 'Content-Type', detail: 'This is not a media type; write it like application/json.' },
      ])
    })
  }

  it('takes values of 4,096 bytes and no more', () => {
    expect(checkHeaders({ 'X-Note': 'a'.repeat(4_096) })).to.deep.equal([])
    expect(checkHeaders({ 'X-Note': 'a'.repeat(4_097) })).to.deep.equal([
      { name: 'X-Note', detail: 'A header value may have at most 4096 bytes.' },
    ])
  })

  it('takes 50 headers and no more', () => {
    const headers = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`X-${n}`, 'x']))
    expect(checkHeaders(headers(50))).to.deep.equal([])
    expect(checkHeaders(headers(51))).to.deep.equal([{ name: '', detail: 'Give at most 50 headers.' }])
  })

  it('refuses a name that differs from another by case only', () => {
    expect(checkHeaders({ 'X-Note': 'a', 'x-note': 'b' })).to.deep.equal([
      { name: 'x-note', detail: 'This header is given twice; names are compared without case.' },
    ])
  })

  it('names every faulty header', () => {
    expect(checkHeaders({ Host: 'x', 'X-Fine': 'x', 'X-Bad': '\n' }).map(({ name }) => name)).to.deep.equal([
      'Host',
      'X-Bad',
    ])
  })
})

describe('custom query parameters', () => {
  const cases = [
    { url: 'https://example.com/a', params: {}, href: 'https://example.com/a' },
    { url: 'https://example.com/a?', params: { b: 'c' }, href: 'https://example.com/a?b=c' },
    { url: 'https://example.com/a', params: { b: 'c d&e=f' }, href: 'https://example.com/a?b=c%20d%26e%3Df' },
    {
      url: 'https://example.com/a?x=%7e+y',
      params: { x: 'ä' },
      href: 'https://example.com/a?x=%7e+y&x=%C3%A4',
    },
    {
      url: 'https://example.com/',
      params: { '#': '', "it's": '?' },
      href: 'https://example.com/?%23=&it%27s=%3F',
    },
  ]
  for (const { url, params, href } of cases) {
    it(`makes ${href} of ${url} and ${JSON.stringify(params)}`, () => {
      expect(checkParams(params)).to.deep.equal([])
      expect(applyParams(url, params)).to.equal(href)
      expect(applyParams(new URL(url), params)).to.equal(href)
    })
  }

  it('leaves the URL that it was given as it was', () => {
    const url = new URL('https://example.com/a')
    applyParams(url, { b: 'c' })
    expect(url.href).to.equal('https://example.com/a')
  })

  it('can be read back, whatever they hold', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(fc.dictionary(text, text, { maxKeys: 5 }), params => {
        const { searchParams } = new URL(applyParams('https://example.com/?first=1', params))
        expect([...searchParams].slice(1)).to.deep.equal(Object.entries(params))
      }),
    )
  })

  it('takes 50 and no more', () => {
    const params = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`p${n}`, 'x']))
    expect(checkParams(params(50))).to.deep.equal([])
    expect(checkParams(params(51))).to.deep.equal([{ name: '', detail: 'Give at most 50 query parameters.' }])
  })

  it('takes 4,096 encoded bytes and no more', () => {
    expect(checkParams({ a: 'x'.repeat(4_094) })).to.deep.equal([])
    expect(checkParams({ a: 'x'.repeat(4_095) })).to.deep.equal([
      { name: '', detail: 'Query parameters must have at most 4096 bytes once encoded; shorten them.' },
    ])
  })

  it('refuses an empty name and half a surrogate pair', () => {
    expect(checkParams({ '': 'x', a: '\ud800' })).to.deep.equal([
      { name: '', detail: 'A query parameter needs a name.' },
      { name: 'a', detail: 'Use well-formed Unicode only.' },
    ])
  })
})
