/**
 * The settings: what each takes and refuses, that all faults are told at once and no secret with them, and that
 * .env.example is the table in src/config.ts.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseEnv } from 'node:util'
import { expect } from 'chai'
import { describe, it } from 'mocha'
import { ConfigError, readConfig, settings, summarize, type Config } from '#src/config.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

/** 32 bytes each; no keys of anything. */
const base64Key = Buffer.alloc(32, 1).toString('base64')
const otherBase64Key = Buffer.alloc(32, 2).toString('base64')
const operatorKey = 'op_0123456789abcdefghijklmnopqrst'

const ownDatabase = {
  DATABASE_URL: 'postgres://hookseal:hunter2@db.example.com/hookseal',
  OPERATOR_KEY: operatorKey,
  ENCRYPTION_KEYS: `k1:${base64Key}`,
}

const defaults: Config = {
  host: '127.0.0.1',
  port: 3000,
  publicUrl: 'http://127.0.0.1:3000',
  databaseUrl: undefined,
  dataDir: '.hookseal',
  role: 'all',
  operatorKey: undefined,
  encryptionKeys: undefined,
  allowHttpEndpoints: false,
  egressAllowCidrs: [],
  egressDenyCidrs: [],
  dnsServers: [],
  eventBytesMax: 262_144,
  batchBytesMax: 8_388_608,
  deliveryTimeoutMs: 15_000,
  retryPolicy: 'standard',
  identicalSubscriptionsMax: 5,
  databaseConnectionsMax: 10,
  drainTimeoutMs: 20_000,
  logLevel: 'info',
}

describe('readConfig', () => {
  it('has a default for everything', () => {
    expect(readConfig({})).to.deep.equal(defaults)
  })

  it('takes an empty value, and one of spaces, as unset', () => {
    const empty = Object.fromEntries(settings.map(({ name }, index) => [name, index % 2 === 0 ? '' : ' \t']))
    expect(readConfig(empty)).to.deep.equal(defaults)
  })

  it('cannot be changed afterwards', () => {
    expect(Object.isFrozen(readConfig({}))).to.equal(true)
  })

  it('ignores variables that are no settings', () => {
    expect(readConfig({ PATH: '/bin', PORTS: '1', port: '1' })).to.deep.equal(defaults)
  })

  const taken: { given: Record<string, string>; as: Partial<Config> }[] = [
    { given: { HOST: '0.0.0.0' }, as: { host: '0.0.0.0', publicUrl: 'http://0.0.0.0:3000' } },
    { given: { HOST: '::1', PORT: '8080' }, as: { host: '::1', port: 8080, publicUrl: 'http://[::1]:8080' } },
    { given: { PORT: '1' }, as: { port: 1, publicUrl: 'http://127.0.0.1:1' } },
    { given: { PORT: ' 65535 ' }, as: { port: 65_535, publicUrl: 'http://127.0.0.1:65535' } },
    { given: { PUBLIC_URL: 'https://Hooks.Example.com/' }, as: { publicUrl: 'https://hooks.example.com' } },
    { given: { PUBLIC_URL: 'http://10.0.0.1:8080/hooks' }, as: { publicUrl: 'http://10.0.0.1:8080/hooks' } },
    { given: { DATA_DIR: '/var/lib/hookseal' }, as: { dataDir: '/var/lib/hookseal' } },
    { given: { ROLE: 'all' }, as: { role: 'all' } },
    { given: { OPERATOR_KEY: operatorKey }, as: { operatorKey } },
    {
      given: { ENCRYPTION_KEYS: `k2:${otherBase64Key}, k1:${base64Key}` },
      as: {
        encryptionKeys: [
          { kid: 'k2', key: Buffer.alloc(32, 2) },
          { kid: 'k1', key: Buffer.alloc(32, 1) },
        ],
      },
    },
    { given: { ALLOW_HTTP_ENDPOINTS: 'true' }, as: { allowHttpEndpoints: true } },
    { given: { ALLOW_HTTP_ENDPOINTS: 'false' }, as: { allowHttpEndpoints: false } },
    {
      given: { EGRESS_ALLOW_CIDRS: '10.0.0.0/8, fd00::/8,' },
      as: { egressAllowCidrs: ['10.0.0.0/8', 'fd00::/8'] },
    },
    { given: { EGRESS_DENY_CIDRS: '192.0.2.1/32' }, as: { egressDenyCidrs: ['192.0.2.1/32'] } },
    { given: { DNS_SERVERS: '10.0.0.2,[::1]:5353' }, as: { dnsServers: ['10.0.0.2', '[::1]:5353'] } },
    { given: { EVENT_BYTES_MAX: '1024' }, as: { eventBytesMax: 1_024 } },
    { given: { BATCH_BYTES_MAX: '67108864' }, as: { batchBytesMax: 67_108_864 } },
    { given: { DELIVERY_TIMEOUT_MS: '60000' }, as: { deliveryTimeoutMs: 60_000 } },
    { given: { RETRY_POLICY: 'bird' }, as: { retryPolicy: 'bird' } },
    { given: { IDENTICAL_SUBSCRIPTIONS_MAX: '1' }, as: { identicalSubscriptionsMax: 1 } },
    { given: { DATABASE_CONNECTIONS_MAX: '4' }, as: { databaseConnectionsMax: 4 } },
    { given: { DRAIN_TIMEOUT_MS: '0' }, as: { drainTimeoutMs: 0 } },
    { given: { LOG_LEVEL: 'silent' }, as: { logLevel: 'silent' } },
  ]
  for (const { given, as } of taken) {
    it(`takes ${show(given)}`, () => {
      expect(readConfig(given)).to.deep.equal({ ...defaults, ...as })
    })
  }

  for (const role of ['all', 'api', 'worker'] as const) {
    it(`takes a database of one's own in the role ${role}`, () => {
      expect(readConfig({ ...ownDatabase, ROLE: role })).to.deep.equal({
        ...defaults,
        role,
        databaseUrl: ownDatabase.DATABASE_URL,
        operatorKey,
        encryptionKeys: [{ kid: 'k1', key: Buffer.alloc(32, 1) }],
      })
    })
  }

  const wholeNumber = (text: string, min: number, max: number) =>
    `"${text}" is not a whole number from ${min} to ${max}.`
  const encryptionKeyForm = /^ENCRYPTION_KEYS: entry \d is not kid:base64, .*openssl rand -base64 32\)\.$/
  const publicUrlFault = 'PUBLIC_URL: is not a plain http or https URL, such as https://hooks.example.com.'
  const refused: { given: Record<string, string>; fault: string | RegExp }[] = [
    { given: { PORT: '0' }, fault: `PORT: ${wholeNumber('0', 1, 65_535)}` },
    { given: { PORT: '65536' }, fault: `PORT: ${wholeNumber('65536', 1, 65_535)}` },
    { given: { PORT: '80.5' }, fault: `PORT: ${wholeNumber('80.5', 1, 65_535)}` },
    { given: { PORT: '0x50' }, fault: `PORT: ${wholeNumber('0x50', 1, 65_535)}` },
    { given: { PORT: '-1' }, fault: `PORT: ${wholeNumber('-1', 1, 65_535)}` },
    { given: { PORT: '3000 ; ls' }, fault: `PORT: ${wholeNumber('3000 ; ls', 1, 65_535)}` },
    { given: { HOST: '300.1.1.1' }, fault: 'HOST: "300.1.1.1" is neither an address nor a host name.' },
    { given: { HOST: 'a/b' }, fault: 'HOST: "a/b" is neither an address nor a host name.' },
    { given: { PUBLIC_URL: 'hooks' }, fault: publicUrlFault },
    { given: { PUBLIC_URL: 'ftp://a.b' }, fault: publicUrlFault },
    { given: { PUBLIC_URL: 'https://a.b/?c' }, fault: publicUrlFault },
    { given: { PUBLIC_URL: 'https://user:hunter2@a.b/' }, fault: publicUrlFault },
    { given: { DNS_SERVERS: 'garbage' }, fault: /^DNS_SERVERS: "garbage": write an address/ },
    {
      given: { DNS_SERVERS: '10.0.0.1, 10.0.0.2:99999' },
      fault: /^DNS_SERVERS: "10\.0\.0\.2:99999": write an address/,
    },
    {
      given: { DNS_SERVERS: '[10.0.0.1]:53' },
      fault: /^DNS_SERVERS: "\[10\.0\.0\.1\]:53": write an address/,
    },
    { given: { ROLE: 'API' }, fault: 'ROLE: "API" is not one of all, api, worker.' },
    {
      given: { ROLE: 'api' },
      fault: 'DATABASE_URL: is required for ROLE=api, since the processes share one database.',
    },
    {
      given: { ROLE: 'worker' },
      fault: 'DATABASE_URL: is required for ROLE=worker, since the processes share one database.',
    },
    {
      given: { ...ownDatabase, DATABASE_URL: 'mysql://a:hunter2@b/c' },
      fault: 'DATABASE_URL: is not a postgres:// URL.',
    },
    { given: { ...ownDatabase, DATABASE_URL: 'hunter2' }, fault: 'DATABASE_URL: is not a postgres:// URL.' },
    {
      given: { ...ownDatabase, OPERATOR_KEY: '' },
      fault: 'OPERATOR_KEY: is required with DATABASE_URL; give 32 or more random characters.',
    },
    {
      given: { ...ownDatabase, ENCRYPTION_KEYS: '' },
      fault: 'ENCRYPTION_KEYS: is required with DATABASE_URL; give k1:$(openssl rand -base64 32).',
    },
    {
      given: { OPERATOR_KEY: 'hunter2'.repeat(4) },
      fault: 'OPERATOR_KEY: needs 32 or more printable characters without spaces.',
    },
    {
      given: { OPERATOR_KEY: 'hunter2 '.repeat(8) },
      fault: 'OPERATOR_KEY: needs 32 or more printable characters without spaces.',
    },
    { given: { ENCRYPTION_KEYS: 'hunter2' }, fault: encryptionKeyForm },
    { given: { ENCRYPTION_KEYS: 'k1:hunter2' }, fault: encryptionKeyForm },
    { given: { ENCRYPTION_KEYS: `k1:${base64Key},` }, fault: encryptionKeyForm },
    {
      given: { ENCRYPTION_KEYS: `k1:${base64Key},k1:${otherBase64Key}` },
      fault: 'ENCRYPTION_KEYS: entry 2 has the kid of an entry before it; give each key a kid of its own.',
    },
    {
      given: { ALLOW_HTTP_ENDPOINTS: 'yes' },
      fault: 'ALLOW_HTTP_ENDPOINTS: "yes" is neither true nor false.',
    },
    {
      given: { ALLOW_HTTP_ENDPOINTS: 'TRUE' },
      fault: 'ALLOW_HTTP_ENDPOINTS: "TRUE" is neither true nor false.',
    },
    {
      given: { EGRESS_ALLOW_CIDRS: '10.0.0.0' },
      fault: /^EGRESS_ALLOW_CIDRS: "10\.0\.0\.0" is not a CIDR; write an address and a prefix length/,
    },
    {
      given: { EGRESS_DENY_CIDRS: '10.0.0.0/8,10.0.0.0/33,corp' },
      fault: /^EGRESS_DENY_CIDRS: "10\.0\.0\.0\/33" is not a CIDR;.* "corp" is not a CIDR;/,
    },
    {
      given: { EVENT_BYTES_MAX: '1023' },
      fault: `EVENT_BYTES_MAX: ${wholeNumber('1023', 1_024, 16_777_216)}`,
    },
    { given: { EVENT_BYTES_MAX: '1MB' }, fault: `EVENT_BYTES_MAX: ${wholeNumber('1MB', 1_024, 16_777_216)}` },
    {
      given: { BATCH_BYTES_MAX: '67108865' },
      fault: `BATCH_BYTES_MAX: ${wholeNumber('67108865', 1_024, 67_108_864)}`,
    },
    {
      given: { DELIVERY_TIMEOUT_MS: '15' },
      fault: `DELIVERY_TIMEOUT_MS: ${wholeNumber('15', 1_000, 60_000)}`,
    },
    {
      given: { RETRY_POLICY: 'often' },
      fault: 'RETRY_POLICY: "often" is not one of standard, bird, hourly, none.',
    },
    {
      given: { IDENTICAL_SUBSCRIPTIONS_MAX: '0' },
      fault: `IDENTICAL_SUBSCRIPTIONS_MAX: ${wholeNumber('0', 1, 1_000)}`,
    },
    {
      given: { DATABASE_CONNECTIONS_MAX: '3' },
      fault: `DATABASE_CONNECTIONS_MAX: ${wholeNumber('3', 4, 200)}`,
    },
    {
      given: { DRAIN_TIMEOUT_MS: '120001' },
      fault: `DRAIN_TIMEOUT_MS: ${wholeNumber('120001', 0, 120_000)}`,
    },
    {
      given: { LOG_LEVEL: 'verbose' },
      fault: 'LOG_LEVEL: "verbose" is not one of trace, debug, info, warn, error, fatal, silent.',
    },
  ]
  for (const { given, fault } of refused) {
    it(`refuses ${show(given)}`, () => {
      const error = faultOf(given)
      expect(error.faults).to.have.length(1)
      if (typeof fault === 'string') expect(error.faults[0]).to.equal(fault)
      else expect(error.faults[0]).to.match(fault)
      expect(error.message, 'no secret').not.to.include('hunter2')
    })
  }

  it('misses the keys beside a DATABASE_URL that is wrong itself', () => {
    const names = faultOf({ DATABASE_URL: 'hunter2' }).faults.map(fault => fault.split(':')[0])
    expect(names).to.deep.equal(['DATABASE_URL', 'OPERATOR_KEY', 'ENCRYPTION_KEYS'])
  })

  it('tells all faults at once, in the order of the table', () => {
    const error = faultOf({
      ...ownDatabase,
      OPERATOR_KEY: 'short',
      PORT: 'x',
      LOG_LEVEL: 'x',
      EGRESS_DENY_CIDRS: 'x',
    })
    const names = error.faults.map(fault => fault.split(':')[0])
    expect(names).to.deep.equal(['PORT', 'OPERATOR_KEY', 'EGRESS_DENY_CIDRS', 'LOG_LEVEL'])
    for (const fault of error.faults) expect(error.message).to.include(`\n  ${fault}`)
  })

  it('asks for both keys that processes on one database must share', () => {
    const error = faultOf({ DATABASE_URL: ownDatabase.DATABASE_URL })
    expect(error.faults.map(fault => fault.split(':')[0])).to.deep.equal(['OPERATOR_KEY', 'ENCRYPTION_KEYS'])
  })
})

describe('the summary of the settings for the log', () => {
  it('has every setting, with its default where it is not set', () => {
    const summary = summarize({ PORT: ' 8080 ', PATH: '/bin' })
    expect(Object.keys(summary)).to.deep.equal(settings.map(({ name }) => name))
    expect(summary).to.include({ PORT: '8080', HOST: '127.0.0.1', EGRESS_ALLOW_CIDRS: '' })
  })

  it('says of secrets only whether they are set', () => {
    const secrets = ['DATABASE_URL', 'OPERATOR_KEY', 'ENCRYPTION_KEYS']
    expect(settings.filter(({ isSecret }) => isSecret).map(({ name }) => name)).to.deep.equal(secrets)
    const set = summarize(ownDatabase)
    const unset = summarize({})
    for (const name of secrets) expect([set[name], unset[name]]).to.deep.equal(['set', 'unset'])
  })
})

describe('.env.example', () => {
  it('lists every setting with its default, and those without one commented out', async () => {
    const text = await readFile(join(root, '.env.example'), 'utf8')
    const entries = [...text.matchAll(/^# (.+)\n(# )?([A-Z_]+)=(.*)$/gm)]
    expect(
      entries.map(([, doc, comment, name, fallback]) => ({
        doc,
        isComment: comment !== undefined,
        name,
        fallback,
      })),
    ).to.deep.equal(
      settings.map(({ doc, name, default: fallback }) => ({
        doc,
        isComment: fallback === '',
        name,
        fallback,
      })),
    )
  })

  it('changes nothing when it is used as it is', async () => {
    expect(readConfig(parseEnv(await readFile(join(root, '.env.example'), 'utf8')))).to.deep.equal(defaults)
  })
})

describe('a process with wrong settings', () => {
  it('starts nothing, names all faults, and ends with 78', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hookseal-config-'))
    try {
      const dataDir = join(folder, 'data')
      const { PATH } = process.env
      const env = { PATH, DATA_DIR: dataDir, PORT: 'none', ROLE: 'api', OPERATOR_KEY: 'hunter2' }
      const { exitCode, stdout, stderr } = await runService(env)

      expect(exitCode).to.equal(78)
      expect(stdout).to.equal('')
      expect(stderr).to.equal(
        [
          'hookseal: The settings have faults:',
          '  PORT: "none" is not a whole number from 1 to 65535.',
          '  OPERATOR_KEY: needs 32 or more printable characters without spaces.',
          '  DATABASE_URL: is required for ROLE=api, since the processes share one database.',
          'See .env.example for every setting.',
          '',
        ].join('\n'),
      )
      const made = await access(dataDir).then(
        () => true,
        () => false,
      )
      expect(made, 'the data folder').to.equal(false)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})

function faultOf(env: Record<string, string>): ConfigError {
  try {
    readConfig(env)
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigError)
    return error as ConfigError
  }
  return expect.fail('expected the settings to be refused')
}

function show(given: Record<string, string>): string {
  return Object.entries(given)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')
}

async function runService(
  env: NodeJS.ProcessEnv,
): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, ['src/main.ts'], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
  const [exitCode] = (await once(child, 'close')) as [number | null]
  return { exitCode, ...output }
}
