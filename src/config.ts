/**
 * The settings: one table, read once from an environment. All faults are found before anything starts and are
 * reported together. `process.env` appears nowhere else but in the entry files that pass it here.
 */
import { isIP } from 'node:net'
import { checkCidrs } from './domain/address.ts'
import { retryPolicyNames, type RetryPolicy } from './domain/retry.ts'
import { parseEncryptionKeys, type EncryptionKey } from './keyring.ts'
import type { LogLevel } from './log.ts'

const roles = ['all', 'api', 'worker'] as const
type Role = (typeof roles)[number]

export type Config = Readonly<{
  host: string
  port: number
  publicUrl: string
  /** Undefined: the process runs a PostgreSQL of its own in dataDir. */
  databaseUrl: string | undefined
  dataDir: string
  role: Role
  /** Undefined: made at the first start and kept in dataDir. */
  operatorKey: string | undefined
  /** Undefined: made at the first start and kept in dataDir. */
  encryptionKeys: readonly EncryptionKey[] | undefined
  allowHttpEndpoints: boolean
  egressAllowCidrs: readonly string[]
  egressDenyCidrs: readonly string[]
  dnsServers: readonly string[]
  eventBytesMax: number
  batchBytesMax: number
  deliveryTimeoutMs: number
  retryPolicy: RetryPolicy
  identicalSubscriptionsMax: number
  databaseConnectionsMax: number
  drainTimeoutMs: number
  logLevel: LogLevel
}>

export type Setting = {
  name: string
  /** As text, the way the environment would give it; empty means unset. */
  default: string
  isSecret?: true
  doc: string
}

type Parsed<Value> = { value: Value } | { fault: string }
type SettingOf<Value> = Setting & { parse: (text: string) => Parsed<Value> }

const table = {
  host: setting('HOST', '127.0.0.1', 'Address or host name to listen on.', host),
  port: setting(
    'PORT',
    '3000',
    'Port to listen on; a worker answers health checks there, so on one machine each process needs its own.',
    integer(1, 65_535),
  ),
  publicUrl: setting(
    'PUBLIC_URL',
    '',
    'Where clients reach this service; no endpoint may name its host. Default: http://HOST:PORT.',
    optional(httpUrl),
  ),
  databaseUrl: setting(
    'DATABASE_URL',
    '',
    'A PostgreSQL 15 to 18 of your own, postgres://…. Empty: an embedded PostgreSQL in DATA_DIR.',
    optional(databaseUrl),
    'secret',
  ),
  dataDir: setting(
    'DATA_DIR',
    '.hookseal',
    'Folder of the embedded database and of the keys made at first start.',
    text,
  ),
  role: setting('ROLE', 'all', 'What this process does: all, api or worker.', oneOf(roles)),
  operatorKey: setting(
    'OPERATOR_KEY',
    '',
    "The operator's access key, 32 or more printable characters. Made in DATA_DIR when empty; required with DATABASE_URL.",
    optional(operatorKey),
    'secret',
  ),
  encryptionKeys: setting(
    'ENCRYPTION_KEYS',
    '',
    'kid:base64 of 32 bytes, separated by commas; the first encrypts, all decrypt. Made in DATA_DIR when empty; required with DATABASE_URL.',
    optional(encryptionKeys),
    'secret',
  ),
  allowHttpEndpoints: setting(
    'ALLOW_HTTP_ENDPOINTS',
    'false',
    'Whether endpoints may use plain http.',
    boolean,
  ),
  egressAllowCidrs: setting(
    'EGRESS_ALLOW_CIDRS',
    '',
    'Address ranges that deliveries may reach although they are not public, separated by commas.',
    cidrs,
  ),
  egressDenyCidrs: setting(
    'EGRESS_DENY_CIDRS',
    '',
    'Address ranges that deliveries must never reach; wins over all else.',
    cidrs,
  ),
  dnsServers: setting(
    'DNS_SERVERS',
    '',
    "Name servers for deliveries, as address or address:port. Empty: the system's.",
    nameServers,
  ),
  eventBytesMax: setting(
    'EVENT_BYTES_MAX',
    '262144',
    'Largest event payload in bytes.',
    integer(1_024, 16_777_216),
  ),
  batchBytesMax: setting(
    'BATCH_BYTES_MAX',
    '8388608',
    'Largest batch of events in bytes.',
    integer(1_024, 67_108_864),
  ),
  deliveryTimeoutMs: setting(
    'DELIVERY_TIMEOUT_MS',
    '15000',
    'Deadline of an attempt where its endpoint sets none, in milliseconds.',
    integer(1_000, 60_000),
  ),
  retryPolicy: setting(
    'RETRY_POLICY',
    'standard',
    'Retry policy where an endpoint sets none: standard, bird, hourly or none.',
    oneOf(retryPolicyNames),
  ),
  identicalSubscriptionsMax: setting(
    'IDENTICAL_SUBSCRIPTIONS_MAX',
    '5',
    'How many subscriptions of a workspace may ask for exactly the same.',
    integer(1, 1_000),
  ),
  databaseConnectionsMax: setting(
    'DATABASE_CONNECTIONS_MAX',
    '10',
    'Database connections of this process; the queue adds 4 and wake-ups 1.',
    integer(4, 200),
  ),
  drainTimeoutMs: setting(
    'DRAIN_TIMEOUT_MS',
    '20000',
    'How long attempts on the wire may finish after SIGTERM, in milliseconds.',
    integer(0, 120_000),
  ),
  logLevel: setting(
    'LOG_LEVEL',
    'info',
    'trace, debug, info, warn, error, fatal or silent.',
    oneOf(logLevels()),
  ),
} satisfies { [Key in keyof Config]: SettingOf<Config[Key] | undefined> }

/** All settings, in the order in which they are documented. */
export const settings: readonly Setting[] = Object.values(table)

/** Every fault in the settings, each naming the setting and what to write instead. */
export class ConfigError extends Error {
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(`The settings have faults:\n${faults.map(fault => `  ${fault}`).join('\n')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/** Reads the settings. Throws ConfigError with all faults. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const faults: string[] = []
  const values: Record<string, unknown> = {}
  for (const [key, entry] of Object.entries(table)) {
    const given = env[entry.name]?.trim() ?? ''
    const parsed = (entry as SettingOf<unknown>).parse(given === '' ? entry.default : given)
    if ('fault' in parsed) faults.push(`${entry.name}: ${parsed.fault}`)
    else values[key] = parsed.value
  }
  const config = values as Config
  // Whether it was given, and not whether it is right: so that all faults come in one report.
  if ((env['DATABASE_URL']?.trim() ?? '') !== '') {
    // Keys made by one process would be unknown to the others on the same database.
    if (config.operatorKey === undefined && !faultIn(faults, 'OPERATOR_KEY')) {
      faults.push('OPERATOR_KEY: is required with DATABASE_URL; give 32 or more random characters.')
    }
    if (config.encryptionKeys === undefined && !faultIn(faults, 'ENCRYPTION_KEYS')) {
      faults.push('ENCRYPTION_KEYS: is required with DATABASE_URL; give k1:$(openssl rand -base64 32).')
    }
  } else if (config.role !== undefined && config.role !== 'all') {
    faults.push(`DATABASE_URL: is required for ROLE=${config.role}, since the processes share one database.`)
  }
  if (faults.length > 0) throw new ConfigError(faults)
  return Object.freeze({
    ...config,
    publicUrl: config.publicUrl ?? `http://${bracketed(config.host)}:${config.port}`,
  })
}

/** What is set, for the log at start: secrets only as set or unset. */
export function summarize(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const summary: Record<string, string> = {}
  for (const { name, isSecret, default: fallback } of settings) {
    const given = env[name]?.trim() ?? ''
    summary[name] = isSecret ? (given === '' ? 'unset' : 'set') : given === '' ? fallback : given
  }
  return summary
}

function setting<Value>(
  name: string,
  fallback: string,
  doc: string,
  parse: (text: string) => Parsed<Value>,
  secret?: 'secret',
): SettingOf<Value> {
  return { name, default: fallback, doc, parse, ...(secret ? { isSecret: true as const } : {}) }
}

function faultIn(faults: readonly string[], name: string): boolean {
  return faults.some(fault => fault.startsWith(`${name}:`))
}

function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function logLevels() {
  return ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
}

function text(given: string): Parsed<string> {
  return { value: given }
}

function optional<Value>(
  parse: (text: string) => Parsed<Value>,
): (text: string) => Parsed<Value | undefined> {
  return given => (given === '' ? { value: undefined } : parse(given))
}

function integer(min: number, max: number): (text: string) => Parsed<number> {
  return given => {
    const value = Number(given)
    if (/^\d+$/.test(given) && value >= min && value <= max) return { value }
    return { fault: `"${given}" is not a whole number from ${min} to ${max}.` }
  }
}

function boolean(given: string): Parsed<boolean> {
  if (given === 'true') return { value: true }
  if (given === 'false') return { value: false }
  return { fault: `"${given}" is neither true nor false.` }
}

function oneOf<const Value extends string>(values: readonly Value[]): (text: string) => Parsed<Value> {
  return given => {
    const value = values.find(candidate => candidate === given)
    return value === undefined ? { fault: `"${given}" is not one of ${values.join(', ')}.` } : { value }
  }
}

function host(given: string): Parsed<string> {
  const isHost = !/[/?#@\s\\]/.test(given) && URL.canParse(`http://${bracketed(given)}:1`)
  return isHost ? { value: given } : { fault: `"${given}" is neither an address nor a host name.` }
}

/** Each as an address, IPv6 in brackets where a port follows. */
function nameServers(given: string): Parsed<readonly string[]> {
  const entries = splitList(given)
  const wrong = entries.filter(entry => !isNameServer(entry))
  return wrong.length === 0
    ? { value: entries }
    : {
        fault: `${wrong.map(entry => `"${entry}"`).join(', ')}: write an address, or address:port, such as 10.0.0.2:53.`,
      }
}

function isNameServer(entry: string): boolean {
  if (isIP(entry) !== 0) return true
  const parts = /^(?:\[(?<v6>[^\]]+)\]|(?<v4>[^:]+)):(?<port>\d{1,5})$/.exec(entry)?.groups
  if (parts === undefined) return false
  const port = Number(parts['port'])
  return (
    port >= 1 &&
    port <= 65_535 &&
    (parts['v6'] === undefined ? isIP(parts['v4'] ?? '') === 4 : isIP(parts['v6']) === 6)
  )
}

function splitList(given: string): readonly string[] {
  return given
    .split(',')
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
}

function cidrs(given: string): Parsed<readonly string[]> {
  const entries = splitList(given)
  const faults = checkCidrs(entries)
  return faults.length > 0 ? { fault: faults.join(' ') } : { value: entries }
}

function httpUrl(given: string): Parsed<string> {
  const url = URL.parse(given)
  if (
    url === null ||
    !/^https?:$/.test(url.protocol) ||
    url.username !== '' ||
    url.search !== '' ||
    url.hash !== ''
  ) {
    // Not repeated: it may hold a password.
    return { fault: 'is not a plain http or https URL, such as https://hooks.example.com.' }
  }
  return { value: url.href.replace(/\/$/, '') }
}

/** The text is never repeated in a fault: it holds a password. */
function databaseUrl(given: string): Parsed<string> {
  const url = URL.parse(given)
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) return { fault: 'is not a postgres:// URL.' }
  return { value: given }
}

function operatorKey(given: string): Parsed<string> {
  return /^[\x21-\x7e]{32,}$/.test(given)
    ? { value: given }
    : { fault: 'needs 32 or more printable characters without spaces.' }
}

function encryptionKeys(given: string): Parsed<readonly EncryptionKey[]> {
  const parsed = parseEncryptionKeys(given)
  return 'fault' in parsed ? { fault: `${parsed.fault}.` } : { value: parsed.keys }
}
