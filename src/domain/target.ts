/**
 * What may be sent where: the rules for an endpoint's URL, query parameters and custom headers, applied when they
 * are written and again before each attempt. No name is resolved here: at write time that would be an oracle, and
 * it is useless against rebinding. The address is checked by the connector, when it is dialled.
 */

import type { AddressRule } from './address.ts'

export type TargetRules = {
  /** Opens plain http beside https. */
  allowHttp: boolean
  /** Our own API, as `makeOwnHosts` gives it: a delivery to ourselves would publish for ever. */
  ownHosts: ReadonlySet<string>
  addresses: AddressRule
}

export const urlBytesMax = 2_048
export const headersMax = 50
export const headerValueBytesMax = 4_096
export const paramsMax = 50
const paramsBytesMax = 4_096

/**
 * A URL that may be sent to, normalised as the WHATWG URL Standard writes it and without its fragment; or what is
 * wrong with it and what to do.
 *
 * That its host resolves, and to addresses that may be dialled, is not known yet.
 */
export function parseTargetUrl(
  text: string,
  rules: TargetRules,
): { url: URL; href: string } | { fault: string } {
  // Parsers repair these silently (`https://good.example\@10.0.0.1`), and not all in the same way.
  if (/[\p{Cc} \\]/u.test(text)) {
    return {
      fault: 'The URL must not contain spaces, control characters or backslashes; percent-encode them.',
    }
  }
  // Checked again below: percent-encoding makes a URL longer, and this one must not cost anything to parse.
  if (Buffer.byteLength(text) > urlBytesMax) return { fault: urlTooLong }
  const url = URL.parse(text)
  if (url === null)
    return { fault: 'This is not a URL; write it in full, such as https://example.com/webhook.' }

  url.hash = ''
  // One trailing dot names the same host (RFC 1034 section 3.1), but would slip through comparisons of names.
  if (url.hostname.endsWith('.')) url.hostname = url.hostname.slice(0, -1)

  const fault =
    findSchemeFault(url, rules) ??
    findHostFault(url, rules) ??
    findPortFault(url) ??
    findOwnHostFault(url, rules)
  if (fault !== undefined) return { fault }
  return url.href.length > urlBytesMax ? { fault: urlTooLong } : { url, href: url.href }
}

/**
 * The hosts that endpoints may not name: the host of PUBLIC_URL on any port, and exactly our HOST:PORT. A PUBLIC_URL
 * on an address or `localhost` counts with its port only, or nothing on a developer's machine could receive.
 */
export function makeOwnHosts(own: { publicUrl: string; host: string; port: number }): ReadonlySet<string> {
  const publicUrl = new URL(own.publicUrl)
  const isName = literalOf(publicUrl.hostname) === undefined
  const listensOnAll = own.host === '0.0.0.0' || own.host === '::'
  const listens = listensOnAll
    ? ['127.0.0.1', '[::1]']
    : [own.host.includes(':') ? `[${own.host}]` : own.host]

  return new Set([
    isName ? publicUrl.hostname : `${canonicalHost(publicUrl.hostname)}:${portOf(publicUrl)}`,
    ...listens.map(host => `${canonicalHost(host)}:${own.port}`),
  ])
}

/**
 * The faults of custom request headers: at most 50, names unique without case (RFC 9110 section 5.1), values of at
 * most 4,096 bytes of visible ASCII and spaces, `Content-Type` a media type, and none that is ours to set, that
 * steers proxies, or that metadata services take for a proof of good intent. A fault of the whole has an empty name.
 */
export function checkHeaders(headers: Readonly<Record<string, string>>): { name: string; detail: string }[] {
  const names = Object.keys(headers)
  const tooMany =
    names.length > headersMax ? [{ name: '', detail: `Give at most ${headersMax} headers.` }] : []
  const seen = new Set<string>()

  return [
    ...tooMany,
    ...names.flatMap(name => {
      const lowerName = name.toLowerCase()
      const detail = seen.has(lowerName)
        ? 'This header is given twice; names are compared without case.'
        : findHeaderFault(lowerName, headers[name] ?? '')
      seen.add(lowerName)
      return detail === undefined ? [] : [{ name, detail }]
    }),
  ]
}

/**
 * The faults of custom query parameters: at most 50, names not empty, well-formed Unicode, and 4,096 bytes for all of
 * them once encoded. A fault of the whole has an empty name.
 */
export function checkParams(params: Readonly<Record<string, string>>): { name: string; detail: string }[] {
  const entries = Object.entries(params)
  if (entries.length > paramsMax) return [{ name: '', detail: `Give at most ${paramsMax} query parameters.` }]

  const faults = entries.flatMap(([name, value]) => {
    if (name === '') return [{ name, detail: 'A query parameter needs a name.' }]
    if (!name.isWellFormed() || !value.isWellFormed())
      return [{ name, detail: 'Use well-formed Unicode only.' }]
    return []
  })
  if (faults.length === 0 && encodeParams(params).length > paramsBytesMax) {
    return [
      {
        name: '',
        detail: `Query parameters must have at most ${paramsBytesMax} bytes once encoded; shorten them.`,
      },
    ]
  }
  return faults
}

/** The URL with the parameters added behind its own query, whose bytes stay as they are. They must have passed `checkParams`. */
export function applyParams(url: URL | string, params: Readonly<Record<string, string>>): string {
  const result = new URL(url)
  const added = encodeParams(params)
  if (added !== '') result.search = result.search.length > 1 ? `${result.search}&${added}` : added
  return result.href
}

const urlTooLong = `The URL must have at most ${urlBytesMax} bytes once it is percent-encoded; shorten it.`

const deniedSuffixes = ['localhost', 'local', 'internal', 'home.arpa', 'lan', 'test', 'invalid', 'onion']

/** At least two labels of RFC 1123 section 2.1. */
const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const hostnamePattern = new RegExp(`^(?:${label}\\.)+${label}$`)

/** Databases, caches, container and search engines: what stands in a network without a password. */
const privateServicePorts = [
  1433, 1521, 2375, 2376, 2377, 2378, 2379, 2380, 3306, 5432, 5984, 6379, 9042, 9200, 9300, 10250, 11211,
  27017, 27018, 27019,
]

/** From 1024 up, the "bad ports" of the Fetch Standard (section 2.9): services that can be talked to by accident. */
const fetchBadPorts = [
  1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697,
  10080,
]

const deniedPorts = new Set([...privateServicePorts, ...fetchBadPorts])

function findSchemeFault(url: URL, rules: TargetRules): string | undefined {
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return 'Use an https URL.'
  if (url.protocol === 'http:' && !rules.allowHttp)
    return 'Use https; http is open only with ALLOW_HTTP_ENDPOINTS.'
  if (url.username !== '' || url.password !== '') {
    return 'The URL must not contain a user name or password; set "auth" or a header instead.'
  }
  return undefined
}

function findHostFault(url: URL, rules: TargetRules): string | undefined {
  const { hostname } = url
  const literal = literalOf(hostname)
  if (literal !== undefined) {
    return rules.addresses.isNamedByOperator(literal)
      ? undefined
      : 'Use a public host name; addresses and localhost are open only where EGRESS_ALLOW_CIDRS names them.'
  }
  if (hostname.length > 253 || !hostnamePattern.test(hostname)) {
    return 'Use a full host name, such as hooks.example.com: labels of 1 to 63 letters, digits and hyphens, with a dot.'
  }
  const suffix = deniedSuffixes.find(denied => hostname.endsWith(`.${denied}`) || hostname === denied)
  return suffix === undefined ? undefined : `Use a public host name; names under "${suffix}" are not public.`
}

function findPortFault(url: URL): string | undefined {
  const port = portOf(url)
  if (port === 80 || port === 443 || (port >= 1024 && !deniedPorts.has(port))) return undefined
  return `Port ${port} is not open to webhooks; use 443, 80, or a port from 1024 up that belongs to no other service.`
}

function findOwnHostFault(url: URL, rules: TargetRules): string | undefined {
  const isOwn =
    rules.ownHosts.has(url.hostname) || rules.ownHosts.has(`${canonicalHost(url.hostname)}:${portOf(url)}`)
  return isOwn ? 'The URL names this service itself; use the URL of a receiver.' : undefined
}

/** The address that a URL's host spells out, `localhost` being 127.0.0.1; `undefined` for a name. */
function literalOf(hostname: string): string | undefined {
  if (hostname === 'localhost') return '127.0.0.1'
  if (hostname.startsWith('[')) return hostname.slice(1, -1)
  // The URL parser has turned every other spelling (decimal, octal, hexadecimal, fullwidth) into this one.
  return /^\d+\.\d+\.\d+\.\d+$/.test(hostname) ? hostname : undefined
}

function canonicalHost(hostname: string): string {
  if (hostname === 'localhost') return '127.0.0.1'
  // The URL parser writes ::ffff:127.0.0.1 as [::ffff:7f00:1].
  const mapped = /^\[::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/.exec(hostname)
  if (mapped === null) return hostname
  const [high, low] = [parseInt(mapped[1] ?? '', 16), parseInt(mapped[2] ?? '', 16)]
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}

function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'http:' ? 80 : 443) : Number(url.port)
}

/** Hop-by-hop headers (RFC 9110 section 7.6.1), what the sender sets itself, and what proxies and servers trust. */
const forbiddenHeaders = new Set([
  'accept-encoding',
  'connection',
  'cookie',
  'expect',
  'forwarded',
  'host',
  'http2-settings',
  'keep-alive',
  'signature',
  'signature-input',
  'stripe-signature',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'user-agent',
  'x-real-ip',
])

const forbiddenHeaderPrefixes = [
  'content-',
  'hookseal-',
  'messagebird-',
  'metadata',
  'proxy-',
  'sec-',
  'webhook-',
  'x-amz-',
  'x-aws-',
  'x-azure-',
  'x-fd-',
  'x-forwarded-',
  'x-goog',
  'x-hub-signature',
]

/** RFC 9110 section 5.6.2. */
const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}$/

/** RFC 9110 section 8.3.1; in ASCII, because the value has been checked before. */
const mediaTypePattern =
  /^[!#$%&'*+\-.^_`|~\w]+\/[!#$%&'*+\-.^_`|~\w]+(?: *; *[!#$%&'*+\-.^_`|~\w]+=(?:[!#$%&'*+\-.^_`|~\w]+|"(?:[^"\\]|\\.)*"))*$/

function findHeaderFault(lowerName: string, value: string): string | undefined {
  if (!tokenPattern.test(lowerName)) return 'This is not a header name; use letters, digits and hyphens.'
  if (lowerName !== 'content-type' && isForbidden(lowerName))
    return 'This header is not open to endpoints; leave it out.'
  if (!/^[\u0020-\u007e]*$/.test(value))
    return 'A header value may hold visible ASCII characters and spaces only.'
  if (value.length > headerValueBytesMax)
    return `A header value may have at most ${headerValueBytesMax} bytes.`
  if (lowerName === 'content-type' && !mediaTypePattern.test(value)) {
    return 'This is not a media type; write it like application/json.'
  }
  return undefined
}

function isForbidden(lowerName: string): boolean {
  return (
    forbiddenHeaders.has(lowerName) || forbiddenHeaderPrefixes.some(prefix => lowerName.startsWith(prefix))
  )
}

function encodeParams(params: Readonly<Record<string, string>>): string {
  return Object.entries(params)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join('&')
}
