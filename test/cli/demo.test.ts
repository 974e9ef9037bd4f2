/**
 * The demo is run as a newcomer runs it, also where it is hard: with a user's settings in the environment, a strict
 * umask, Ctrl-C. What it would say of a delivery that is wrong is tested on its parts.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { afterEach, beforeEach, describe, it } from 'mocha'
import { findFaults, type Received } from '#src/cli/demo/check.ts'
import { startReceiver, type Reception } from '#src/cli/demo/receiver.ts'
import { verifyMessageBird, verifyStandard } from '#src/cli/demo/verify.ts'
import { prepareKeys, signatureHeaders } from '#src/domain/sign.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

describe('npm run demo', function () {
  this.timeout(60_000)

  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hookseal-demo-test-'))
  })
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  it('delivers every event that is wanted, under any umask and whatever the settings of its user', async () => {
    const child = startDemo('umask 0777; exec "$@"', {
      DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
      ROLE: 'worker',
      PORT: 'none',
      OPERATOR_KEY: 'short',
    })
    const { exitCode, output } = await untilEnded(child)

    expect(exitCode, output).to.equal(0)
    expect(output).to.include('7 deliveries in 8 attempts, every signature valid')
    const events = (await readFile(join(root, 'src/cli/demo/events.ndjson'), 'utf8')).trim().split('\n')
    for (const line of events) {
      const { id, event } = JSON.parse(line) as { id: string; event: string }
      expect(output).to.match(new RegExp(`${id} +channels ${event}$`, 'm'))
    }
    expect(output).to.match(/^ +clicks +email-clicked +attempt 1 .* answered 503$/m)
    expect(output).to.match(/^ +clicks +email-clicked +attempt 2 .* answered 200$/m)
    expect(output, 'no colour where nobody looks').not.to.include('\u001b')
    await expectNothingLeft()
  })

  it('leaves nothing behind after Ctrl-C, pressed twice', async () => {
    const child = startDemo('exec "$@"')
    child.stdout!.on('data', (text: Buffer) => {
      // From here on the service serves, and its database runs.
      if (!text.toString().includes('receiver')) return
      child.kill('SIGINT')
      child.kill('SIGINT')
    })
    const { exitCode, output } = await untilEnded(child)

    expect(exitCode).to.equal(130)
    expect(output).to.include('stopped by SIGINT')
    await expectNothingLeft()
  })

  it('leaves nothing behind when nobody reads its output any more', async () => {
    const child = startDemo('exec "$@"')
    await once(child.stdout!, 'data')
    child.stdout!.destroy()

    expect((await untilEnded(child)).exitCode).to.equal(1)
    await expectNothingLeft()
  })

  it('says why when the service does not start, and leaves nothing behind', async () => {
    // In blocks of 512 bytes: PostgreSQL's first write-ahead log is larger.
    const { exitCode, output } = await untilEnded(startDemo('ulimit -f 1000; exec "$@"'))

    expect(exitCode).to.equal(1)
    expect(output).to.match(
      /The demo did not finish: the service ended by itself \(exit code 1\)\..*File too large/s,
    )
    await expectNothingLeft()
  })

  /** By a shell, which sets what a process inherits. Its temporary folder is ours, so all that it leaves is seen. */
  function startDemo(script: string, env: Record<string, string> = {}): ChildProcess {
    const { PATH, HOME } = process.env
    const command = [process.execPath, 'src/cli/demo.ts']
    return spawn('sh', ['-c', script, 'sh', ...command], {
      cwd: root,
      env: { PATH, HOME, TMPDIR: folder, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
  }

  async function expectNothingLeft(): Promise<void> {
    expect(await readdir(folder)).to.deep.equal([])
    expect((await commandLines()).filter(line => line.includes(folder))).to.deep.equal([])
  }
})

describe('what the demo says of its deliveries', () => {
  const wanted = [
    { event: 'question', subscription: 'support' },
    { event: 'clicked', subscription: 'clicks' },
  ]
  const question: Received = {
    ...wanted[0]!,
    attempt: 1,
    isStandardValid: true,
    isMessageBirdValid: true,
    isPayloadSame: true,
    answered: 200,
  }
  const clicked: Received = { ...question, ...wanted[1]! }

  const cases: { of: string; received: Received[]; says: string[] }[] = [
    { of: 'all that was wanted', received: [question, clicked], says: [] },
    {
      of: 'a retry',
      received: [question, { ...clicked, answered: 503 }, { ...clicked, attempt: 2 }],
      says: [],
    },
    { of: 'a repeat', received: [question, clicked, clicked], says: [] },
    {
      of: 'a wrong webhook-signature',
      received: [
        { ...question, isStandardValid: false, answered: 401 },
        { ...question, attempt: 2 },
        clicked,
      ],
      says: ['webhook-signature does not verify: question for support, attempt 1.'],
    },
    {
      of: 'a wrong MessageBird-Signature',
      received: [question, { ...clicked, isMessageBirdValid: false, attempt: 3 }],
      says: ['MessageBird-Signature does not verify: clicked for clicks, attempt 3.'],
    },
    {
      of: 'another payload than was published',
      received: [question, { ...clicked, isPayloadSame: false }],
      says: ['The payload is not the one that was published: clicked for clicks, attempt 1.'],
    },
    { of: 'a missing delivery', received: [question], says: ['It was not delivered: clicked for clicks.'] },
    {
      of: 'a delivery that was never taken',
      received: [question, { ...clicked, answered: 503 }],
      says: ['It was not delivered: clicked for clicks.'],
    },
    {
      of: 'an event for another subscription',
      received: [question, clicked, { ...question, subscription: 'clicks' }],
      says: ['It came although a filter excludes it: question for clicks.'],
    },
    {
      of: 'nothing at all',
      received: [],
      says: ['It was not delivered: question for support.', 'It was not delivered: clicked for clicks.'],
    },
  ]
  for (const { of, received, says } of cases) {
    it(`${says.length === 0 ? 'has nothing against' : 'finds'} ${of}`, () => {
      expect(findFaults(wanted, received)).to.deep.equal(says)
    })
  }
})

describe("the demo's receiver", () => {
  const signingKey = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
  const url = 'https://example.com/hooks?tenant=acme'
  const body = Buffer.from('{"text":"héllo"}')

  it('takes what the service signs', () => {
    const headers = signed()
    expect(verifyStandard(signingKey, headers, body)).to.equal(true)
    expect(verifyMessageBird(signingKey, headers, url, body)).to.equal(true)
  })

  it('takes what is signed by the old key and the new', () => {
    const headers = signed({ keys: ['whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD', signingKey] })
    expect(verifyStandard(signingKey, headers, body)).to.equal(true)
    expect(verifyMessageBird(signingKey, headers, url, body)).to.equal(true)
  })

  const wrong: Record<string, IncomingHttpHeaders> = {
    'no headers': {},
    'the key of another': signed({ keys: ['whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'] }),
    'another body': signed({ body: Buffer.from('{"text":"hello"}') }),
    'a signature of six minutes ago': signed({ ageSeconds: 360 }),
    'a signature of the future': signed({ ageSeconds: -360 }),
    'a time that was changed': changed(
      name => name.endsWith('timestamp'),
      value => String(Number(value) + 1),
    ),
    'half a signature': changed(
      name => name.endsWith('signature'),
      value => value.slice(0, 20),
    ),
    'a signature that is not ASCII': changed(
      name => name.endsWith('signature'),
      value => `é${value.slice(1)}`,
    ),
    'no version': changed(
      name => name === 'webhook-signature' || name === 'messagebird-signature',
      value => value.slice(3),
    ),
  }
  for (const [name, headers] of Object.entries(wrong)) {
    it(`refuses ${name}`, () => {
      expect(verifyStandard(signingKey, headers, body)).to.equal(false)
      expect(verifyMessageBird(signingKey, headers, url, body)).to.equal(false)
    })
  }

  it('refuses a MessageBird-Signature for another URL', () => {
    expect(verifyMessageBird(signingKey, signed(), 'https://example.com/hooks', body)).to.equal(false)
  })

  it('answers 401 to what is not genuine, and tells of it', async () => {
    const received: Reception[] = []
    const onReceived = (reception: Reception) => received.push(reception)
    const receiver = await startReceiver({ signingKeyOf: () => signingKey, onReceived })
    try {
      const headers = signed({ url: `${receiver.url}/hooks` }) as Record<string, string>
      const genuine = await fetch(`${receiver.url}/hooks`, { method: 'POST', headers, body })
      const altered = await fetch(`${receiver.url}/hooks`, { method: 'POST', headers, body: 'altered' })

      expect([genuine.status, altered.status]).to.deep.equal([200, 401])
      expect(received.map(({ isStandardValid }) => isStandardValid)).to.deep.equal([true, false])
    } finally {
      await receiver.close()
    }
  })

  /** The headers as Node's server gives them. */
  function signed(
    given: { keys?: string[]; body?: Buffer; url?: string; ageSeconds?: number } = {},
  ): IncomingHttpHeaders {
    const timestampSeconds = Math.floor(Date.now() / 1_000) - (given.ageSeconds ?? 0)
    const content = { id: 'event-1', timestampSeconds, url: given.url ?? url, body: given.body ?? body }
    const headers = signatureHeaders(['standard', 'bird'], prepareKeys(given.keys ?? [signingKey]), content)
    return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  }

  function changed(
    isMeant: (name: string) => boolean,
    change: (value: string) => string,
  ): IncomingHttpHeaders {
    const entries = Object.entries(signed()) as [string, string][]
    return Object.fromEntries(entries.map(([name, value]) => [name, isMeant(name) ? change(value) : value]))
  }
})

/** Of all processes: PostgreSQL's names its folder. */
async function commandLines(): Promise<string[]> {
  if (process.platform !== 'linux') {
    return (await promisify(execFile)('ps', ['-A', '-o', 'args='])).stdout.split('\n')
  }
  const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name))
  // A process may end while we look.
  return Promise.all(pids.map(pid => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')))
}

async function untilEnded(child: ChildProcess): Promise<{ exitCode: number | null; output: string }> {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output += text))
  }
  const [exitCode] = (await once(child, 'close')) as [number | null]
  return { exitCode, output }
}
