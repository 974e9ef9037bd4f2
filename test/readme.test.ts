/**
 * README.md is what a newcomer does first, so it is run: its tour in one shell against a real service, its sample
 * code against real signatures, its tables against what they tell of.
 */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { access, chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { before, describe, it } from 'mocha'
import { settings } from '#src/config.ts'
import { attemptsMax, retryDelaysMs, retryPolicyNames } from '#src/domain/retry.ts'
import { standardLibrarySecret } from '#src/domain/signing-key.ts'
import { createClient, type Client } from '#test/support/api-client.ts'
import { freePort, startService } from '#test/support/process.ts'

const root = fileURLToPath(new URL('../', import.meta.url))

/** For anything that the tour waits for: what takes longer has gone wrong. */
const waitMs = 20_000

describe('README.md', function () {
  this.timeout(60_000)

  let readme: string
  before(async () => {
    readme = await readFile(join(root, 'README.md'), 'utf8')
  })

  it('has a tour that works as it is written', async () => {
    const [start, ...blocks] = codeBlocks(sectionOf(readme, 'Tour'), 'sh')
    await using folder = await makeFolder()
    const [port, receiverPort] = [String(await freePort()), String(await freePort())]
    await using service = await startService({ ...environmentOf(start!), PORT: port, DATA_DIR: folder.path })
    await using shell = openShell()

    for (const block of blocks) {
      const here = block
        .replaceAll(':3000', `:${port}`)
        .replaceAll('.hookseal', folder.path)
        .replaceAll('4000', receiverPort)
      await shell.run(here)
      // A person reads on for a while; what comes next has settled by then.
      if (block.includes('receive.ts')) await shell.printed('receiving on')
      if (block.includes('$W/events')) await allDelivered(service.url, join(folder.path, 'operator.key'))
    }

    const output = shell.output()
    expect(output).to.include('HTTP/1.1 202 Accepted')
    const verified = output.match(/^received .* webhook-signature valid {2}MessageBird-Signature valid$/gm)
    expect(verified, 'the event, and the sample of the test').to.have.length(2)
    const [, delivery, attempts, test] = repliesIn(output)
    expect(delivery).to.include({ event: 'sms.outbound', status: 'delivered', attemptsCount: 1 })
    expect(attempts).to.have.nested.property('results[0].outcome', 'delivered')
    expect(attempts).to.have.nested.property('results[0].response.status', 200)
    expect(test).to.have.nested.property('delivery.status', 'delivered')
  })

  it('shows the code by which the demo verifies its deliveries', async () => {
    const file = await readFile(join(root, 'src/cli/demo/verify.ts'), 'utf8')
    const [code] = codeBlocks(sectionOf(readme, 'Verifying a delivery'), 'ts')
    expect(code).to.equal(file.slice(file.indexOf('import ')))
  })

  for (const key of [
    'a plain key of 26 characters',
    'c2hvcnQgYnV0IGJhc2U2NA==',
    'whsec_not base64, though it says so',
  ]) {
    it(`says what a library must be given for the key "${key}"`, async () => {
      const [command] = codeBlocks(sectionOf(readme, 'Verifying a delivery'), 'sh')
      const { stdout } = await promisify(execFile)('bash', [
        '-c',
        command!.replace('the key as you gave it', key),
      ])
      expect(stdout.trim()).to.equal(standardLibrarySecret(key))
    })
  }

  it('lists every setting with its default', () => {
    const rows = tableRows(sectionOf(readme, 'Settings')).map(([name, fallback, doc]) => ({
      name,
      fallback,
      doc,
    }))
    const expected = settings.map(({ name, default: fallback, doc }) => ({
      name: `\`${name}\``,
      fallback: fallback === '' ? '' : `\`${fallback}\``,
      doc,
    }))
    expect(rows).to.deep.equal(expected)
  })

  it('tells the retry policies as they are', () => {
    const rows = tableRows(sectionOf(readme, 'Retries'))
    for (const name of retryPolicyNames) {
      const row = rows.find(([policy]) => policy === `\`${name}\``)
      expect(row?.[1], name).to.equal(String(attemptsMax(name)))
      // `hourly` is told in words.
      if (name !== 'hourly') expect(row?.[2]!.split(', ').map(toMs), name).to.deep.equal(retryDelaysMs(name))
    }
    expect(retryDelaysMs('hourly')).to.deep.equal([0, ...Array<number>(24).fill(3_600_000)])
  })

  it('names only scripts and files that exist', async () => {
    const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: object }
    const named = [...readme.matchAll(/npm (?:run (\w+)|(start|test))/g)].map(
      ([, run, short]) => run ?? short,
    )
    expect(scripts).to.include.all.keys(named)
    const links = [...readme.matchAll(/\]\(([^)#]+)\)/g)].map(([, path]) => path!)
    await Promise.all(links.map(path => access(join(root, path))))
    expect(links).to.include('migrations/README.md')
  })
})

function sectionOf(text: string, heading: string): string {
  const section = text.split(/^## /m).find(part => part.startsWith(`${heading}\n`))
  assert(section !== undefined, `README.md has no section "${heading}"`)
  return section
}

function codeBlocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, code]) => code!)
}

/** The cells of the first table below its heading. */
function tableRows(text: string): string[][] {
  const lines = text.split('\n').filter(line => line.startsWith('|'))
  return lines.slice(2).map(line =>
    line
      .split('|')
      .slice(1, -1)
      .map(cell => cell.trim()),
  )
}

/** What stands before the command of a line such as `A=1 B=2 npm start`. */
function environmentOf(line: string): Record<string, string> {
  const [, assignments] = /^((?:\w+=\S+ )+)npm start$/m.exec(line) ?? []
  assert(assignments !== undefined, 'the tour starts the service with settings')
  return Object.fromEntries(
    assignments
      .trim()
      .split(' ')
      .map(pair => pair.split('=') as [string, string]),
  )
}

/** `5 min` and the like. */
function toMs(text: string): number {
  const [count, unit = 's'] = text.split(' ')
  return Number(count) * { s: 1_000, min: 60_000, h: 3_600_000 }[unit]!
}

async function makeFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'hookseal-readme-'))
  // As root the database runs as another user, who must be able to pass through.
  await chmod(path, 0o711)
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

type Shell = AsyncDisposable & {
  run: (block: string) => Promise<void>
  printed: (text: string) => Promise<void>
  output: () => string
}

/** One shell that is given block after block, each when the one before has ended, as by a person who pastes them. */
function openShell(): Shell {
  // A group of its own: what it has left running in the background is ended with it.
  const child = spawn('bash', ['-eu'], { cwd: root, detached: true, stdio: 'pipe' })
  const closed = once(child, 'close')
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      child.emit('output')
    })
  }
  async function printed(text: string): Promise<void> {
    while (!output.includes(text)) {
      assert(child.exitCode === null, `The shell ended before it printed "${text}". It wrote:\n${output}`)
      await Promise.race([once(child, 'output', { signal: AbortSignal.timeout(waitMs) }), closed])
    }
  }

  let blocksCount = 0
  return {
    async run(block) {
      const end = `--- end of block ${++blocksCount} ---`
      child.stdin.write(`${block}\necho "${end}"\n`)
      await printed(end)
    },
    printed,
    output: () => output,
    async [Symbol.asyncDispose]() {
      try {
        process.kill(-child.pid!, 'SIGKILL')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
      await closed
    },
  }
}

/** Waits, as the operator, until every delivery of the newest workspace is delivered, and there is one. */
async function allDelivered(url: string, operatorKeyPath: string): Promise<void> {
  const operator = createClient(url, (await readFile(operatorKeyPath, 'utf8')).trim())
  const newest = async (path: string) => (await results<{ id: string }>(operator, path))[0]!.id
  const organizationId = await newest('/organizations')
  const workspaceId = await newest(`/organizations/${organizationId}/workspaces`)
  const signal = AbortSignal.timeout(waitMs)
  for (;;) {
    const deliveries = await results<{ status: string }>(operator, `/workspaces/${workspaceId}/deliveries`)
    if (deliveries.length > 0 && deliveries.every(({ status }) => status === 'delivered')) break
    await pause(20, undefined, { signal })
  }
  await operator.close()
}

async function results<Item>(client: Client, path: string): Promise<Item[]> {
  const reply = await client.get<{ results: Item[] }>(path)
  expect(reply.status, path).to.equal(200)
  return reply.body.results
}

/** The bodies of the API's replies that were printed: those of the receiver have a service first. */
function repliesIn(output: string): unknown[] {
  const lines = output.split('\n').filter(line => line.startsWith('{') && !line.startsWith('{"service"'))
  return lines.map(line => JSON.parse(line) as unknown)
}
