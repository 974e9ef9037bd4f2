/**
 * Which addresses may be dialled. Everything is refused but public unicast, because an endpoint's URL is
 * written by a tenant and a worker stands inside the operator's network (SSRF). The operator opens more by
 * EGRESS_ALLOW_CIDRS and closes more by EGRESS_DENY_CIDRS.
 */

import ipaddr from 'ipaddr.js'

export type AddressRule = {
  /** Whether this address may be dialled. What is not an address may not. */
  allows(address: string): boolean
  /** Whether EGRESS_ALLOW_CIDRS opens this address, so that a URL may name it without a host name. */
  isNamedByOperator(address: string): boolean
}

/**
 * The rule for addresses, in this order: `denyCidrs` refuse, `allowCidrs` open exactly what they name, then the
 * default holds. IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2) count as the IPv4 address in them, zone ids
 * are ignored. Cloud metadata services are opened only by a CIDR of that single address (/32, /128), so that
 * `100.64.0.0/10` for a mesh network does not hand out the machine's credentials too.
 *
 * Both lists must have passed `checkCidrs`; another CIDR throws.
 */
export function makeAddressRule(lists: {
  allowCidrs: readonly string[]
  denyCidrs: readonly string[]
}): AddressRule {
  const opened = lists.allowCidrs.map(parseCidr)
  const closed = lists.denyCidrs.map(parseCidr)

  const isOpened = (address: Address) =>
    !isIn(address, closed) &&
    isIn(address, isIn(address, metadataServices) ? opened.filter(isSingleAddress) : opened)

  return {
    allows(text) {
      const address = parseAddress(text)
      return address !== undefined && (isOpened(address) || (!isIn(address, closed) && isPublic(address)))
    },
    isNamedByOperator(text) {
      const address = parseAddress(text)
      return address !== undefined && isOpened(address)
    },
  }
}

/** The faults of a list of CIDRs from the settings: one sentence for each that cannot be read. */
export function checkCidrs(cidrs: readonly string[]): string[] {
  return cidrs
    .filter(cidr => !ipaddr.IPv4.isValidCIDRFourPartDecimal(cidr) && !ipaddr.IPv6.isValidCIDR(cidr))
    .map(
      cidr =>
        `"${cidr}" is not a CIDR; write an address and a prefix length, such as 10.0.0.0/8 or fd00::/8.`,
    )
}

type Address = ipaddr.IPv4 | ipaddr.IPv6
type Cidr = [Address, number]

/** IANA's special-purpose registry, and the host services of Azure, which live on an address that looks public. */
const ipv4Refused = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '168.63.129.16/32',
].map(parseCidr)

/**
 * Only 2000::/3 is given out as global unicast. Naming what is open, not what is closed, also refuses NAT64, the
 * discard prefix, local and multicast addresses, and whatever is defined next.
 */
const ipv6Public = parseCidr('2000::/3')

/** Inside 2000::/3, but: protocol assignments (Teredo, ORCHID, AMT), documentation, 6to4, AS112. */
const ipv6Refused = ['2001::/23', '2001:db8::/32', '2002::/16', '2620:4f:8000::/48', '3fff::/20'].map(
  parseCidr,
)

/** AWS (instance, task, pod identity; IPv4 and IPv6), Alibaba, Azure, Oracle, Google. */
const metadataServices = [
  '169.254.169.254/32',
  '169.254.170.2/32',
  '169.254.170.23/32',
  'fd00:ec2::254/128',
  'fd00:ec2::23/128',
  '100.100.100.200/32',
  '168.63.129.16/32',
  '192.0.0.192/32',
  'fd20:ce::254/128',
].map(parseCidr)

function isPublic(address: Address): boolean {
  return address.kind() === 'ipv4'
    ? !isIn(address, ipv4Refused)
    : isIn(address, [ipv6Public]) && !isIn(address, ipv6Refused)
}

/** `undefined` for what is not an address, also for `127.1` and `0x7f.1`, which some C libraries take for one. */
function parseAddress(text: string): Address | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return ipaddr.IPv4.parse(text)
  return ipaddr.IPv6.isValid(text) ? ipaddr.process(text) : undefined
}

/** A CIDR within ::ffff:0:0/96 becomes the IPv4 CIDR it means, because addresses are unwrapped before they are compared. */
function parseCidr(text: string): Cidr {
  const [address, prefixLength] = ipaddr.parseCIDR(text)
  return address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress() && prefixLength >= 96
    ? [address.toIPv4Address(), prefixLength - 96]
    : [address, prefixLength]
}

function isIn(address: Address, cidrs: readonly Cidr[]): boolean {
  return cidrs.some(cidr => cidr[0].kind() === address.kind() && address.match(cidr))
}

function isSingleAddress([address, prefixLength]: Cidr): boolean {
  return prefixLength === (address.kind() === 'ipv4' ? 32 : 128)
}
