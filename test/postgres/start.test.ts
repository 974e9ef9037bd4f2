/**
 * Real servers in temporary folders, and real kills. The goal: whatever was killed, and in whichever state, the next
 * start gives the same data; and never two services on one folder.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { after, afterEach, before, describe, it } from 'mocha'
import { Client } from 'pg'
import { PostgresFault } from '#src/postgres/fault.ts'
import { type EmbeddedPostgres, startPostgres, type StartOptions } from '#src/postgres/start.ts'

const asRoot = process.getuid?.() === 0

describe('our own PostgreSQL server', function () {
  this.timeout(30_000)

  let folder: string
  const running = new Set<EmbeddedPostgres>()
  const children = new Set<ChildProcess>()

  before(async () => {
    // Of mode 0700, as every private temporary folder: where the tests run as root, its servers cannot pass it unaided.
    folder = await mkdtemp(join(tmpdir(), 'hookseal-postgres-'))
  })

  afterEach(async () => {
    // Services stop their server at SIGTERM; a kill would leave it running.
    await Promise.all([...children].map(child => endProcess(child, 'SIGTERM')))
    children.clear()
    await Promise.all([...running].map(postgres => postgres.stop()))
    running.clear()
  })

  after(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  async function start(name: string, options: Partial<StartOptions> = {}): Promise<EmbeddedPostgres> {
    const dataDir = join(folder, name)
    const postgres = await startPostgres({ dataDir, log: () => {}, settings: { fsync: 'off' }, ...options })
    running.add(postgres)
    return postgres
  }

  async function faultOf(starting: Promise<EmbeddedPostgres>): Promise<PostgresFault> {
    const outcome = await starting.catch((error: unknown) => error)
    expect(outcome).to.be.instanceOf(PostgresFault)
    return outcome as PostgresFault
  }

  /** Another service process on the same folder. */
  function spawnService(name: string): ChildProcess {
    const child = spawn(process.execPath, ['--input-type=module', '-e', serviceScript, join(folder, name)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.add(child)
    return child
  }

  it('keeps the data, the password and the port from one start to the next', async () => {
    const first = await start('reuse')
    await query(first.url, "create table notes as select 'kept' as text")
    await first.stop()

    const second = await start('reuse')

    expect(second.url).to.equal(first.url)
    expect(await query(second.url, 'select text from notes')).to.deep.equal([{ text: 'kept' }])
  })

  it('offers a UTF-8 database to a role that is no superuser and can make more databases', async () => {
    const { url } = await start('role')

    expect(
      await query(
        url,
        `select current_database() as database, current_user as role, rolsuper, rolcreatedb,
                current_setting('server_encoding') as encoding, current_setting('server_version_num')::int / 10000 as major,
                jsonb_build_object('e', '"\\u00e9"'::jsonb)::text as json
           from pg_roles where rolname = current_user`,
      ),
    ).to.deep.equal([
      {
        database: 'hookseal',
        role: 'hookseal',
        rolsuper: false,
        rolcreatedb: true,
        encoding: 'UTF8',
        major: 18,
        json: '{"e": "é"}',
      },
    ])
  })

  it('refuses a wrong password, and everyone who claims to be the superuser', async () => {
    const { url } = await start('role')

    for (const login of ['hookseal:wrong', 'postgres:', 'postgres:wrong']) {
      const attempt = query(url.replace(/\/\/.*@/, `//${login}@`), 'select 1').catch(
        (error: unknown) => error,
      )
      expect(await attempt, login).to.be.instanceOf(Error)
    }
  })

  it('writes to disk at every commit unless told otherwise', async () => {
    const { url } = await start('durable', { settings: {} })

    const [row] = await query(
      url,
      "select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit, current_setting('full_page_writes') as pages",
    )
    expect(row).to.deep.equal({ fsync: 'on', commit: 'on', pages: 'on' })
  })

  it('keeps its password from other users', async () => {
    await start('role')

    const { mode } = await stat(join(folder, 'role', 'postgres.password'))
    expect((mode & 0o777).toString(8)).to.equal('600')
  })

  it('stops cleanly while a session is in a transaction, and only once', async () => {
    const postgres = await start('clean')
    const session = await connect(postgres.url)
    await session.query('begin; create table open_work (id int)')

    await Promise.all([postgres.stop(), postgres.stop()])
    await postgres.stop()

    expect(await postgres.exited).to.deep.equal({ requested: true, code: 0, signal: null })
    expect(isAlive(postgres.pid)).to.equal(false)
    expect(await readFile(join(folder, 'clean', 'postgres.log'), 'utf8')).to.match(
      /database system is shut down\n$/,
    )
  })

  it('lives in a process group of its own, so that Ctrl-C does not reach it', async () => {
    const { pid } = await start('clean')

    expect(() => process.kill(-pid, 0)).not.to.throw()
  })

  it('adds no listener to the process', async () => {
    const count = () => process.eventNames().map(name => [name, process.listenerCount(name)])
    const atFirst = count()

    const postgres = await start('clean')
    expect(count()).to.deep.equal(atFirst)
    await postgres.stop()
    expect(count()).to.deep.equal(atFirst)
  })

  it('listens on the port that is asked for', async () => {
    const { url: before } = await start('clean')
    await Promise.all([...running].map(postgres => postgres.stop()))
    const port = await withTakenPort(async taken => taken)

    const { url } = await start('clean', { port })

    expect(new URL(url).port).to.equal(String(port)).and.not.equal(new URL(before).port)
  })

  it('says so when the port that is asked for is taken', async () => {
    await withTakenPort(async port => {
      const fault = await faultOf(start('clean', { port }))
      expect(fault.code).to.equal('port_in_use')
      expect(fault.message).to.include(`Port ${port} on 127.0.0.1`)
    })
  })

  it('takes another port when the one of the last run is taken', async () => {
    const first = await start('clean')
    await first.stop()

    await withTakenPort(
      async port => {
        expect(String(port)).to.equal(new URL(first.url).port)
        const second = await start('clean')
        expect(new URL(second.url).port).not.to.equal(new URL(first.url).port)
      },
      Number(new URL(first.url).port),
    )
  })

  describe('beside another service on the same folder', () => {
    it('refuses to start in the same process, and starts once the first has stopped', async () => {
      const first = await start('clean')

      const fault = await faultOf(start('clean'))
      expect(fault.code).to.equal('data_dir_in_use')
      expect(fault.message)
        .to.include(`(pid ${process.pid})`)
        .and.include('DATA_DIR')
        .and.include('DATABASE_URL')
      expect(await query(first.url, 'select 1 as one')).to.deep.equal([{ one: 1 }])

      await first.stop()
      await start('clean')
    })

    it('refuses to start beside another process, whose server stays as it is', async () => {
      const other = spawnService('shared')
      const { url, pid } = await serviceReady(other)

      const fault = await faultOf(start('shared'))

      expect(fault.code).to.equal('data_dir_in_use')
      expect(fault.message).to.include(`(pid ${other.pid})`)
      expect(isAlive(pid)).to.equal(true)
      expect(await query(url, 'select 1 as one')).to.deep.equal([{ one: 1 }])
    })

    it('lets exactly one of several first starts through', async () => {
      const outcomes = await Promise.allSettled([
        start('race'),
        serviceReady(spawnService('race')),
        start('race'),
      ])

      expect(outcomes.filter(({ status }) => status === 'fulfilled')).to.have.length(1)
    })
  })

  describe('after a kill', () => {
    it('takes the data over from a server that its killed service left running', async () => {
      const owner = spawnService('orphan')
      const left = await serviceReady(owner)
      await query(left.url, "create table notes as select 'kept' as text")
      await endProcess(owner, 'SIGKILL')
      expect(isAlive(left.pid)).to.equal(true)

      const lines: string[] = []
      const postgres = await start('orphan', { log: line => lines.push(line) })

      expect(lines).to.deep.equal([
        `stopping the PostgreSQL server (pid ${left.pid}) that an earlier process left behind`,
      ])
      expect(postgres.pid).not.to.equal(left.pid)
      expect(postgres.url).to.equal(left.url)
      expect(await query(postgres.url, 'select text from notes')).to.deep.equal([{ text: 'kept' }])
    })

    it('ends the sessions on a server that was left running, and with them their locks', async () => {
      const owner = spawnService('orphan')
      const left = await serviceReady(owner)
      await query(left.url, 'create table if not exists busy (id int)')
      const session = await connect(left.url)
      await session.query('begin; lock table busy in access exclusive mode')
      session.query('select pg_sleep(600)').catch(() => {})
      await endProcess(owner, 'SIGKILL')

      const postgres = await start('orphan')

      expect(await query(postgres.url, 'select count(*)::int as rows from busy')).to.deep.equal([{ rows: 0 }])
    })

    it('tells of the death of its server, and recovers what was committed', async () => {
      const postgres = await start('crash')
      await query(postgres.url, "create table notes as select 'committed' as text")

      process.kill(postgres.pid, 'SIGKILL')
      expect(await postgres.exited).to.deep.equal({ requested: false, code: null, signal: 'SIGKILL' })
      await postgres.stop()

      const again = await start('crash')
      expect(await query(again.url, 'select text from notes')).to.deep.equal([{ text: 'committed' }])
    })

    it('recovers what was committed when service and server were killed together', async () => {
      const owner = spawnService('both')
      const left = await serviceReady(owner)
      await query(left.url, "create table notes as select 'committed' as text")
      const childPids = await pidsBelow(left.pid)
      await endProcess(owner, 'SIGKILL')
      for (const pid of [left.pid, ...childPids]) process.kill(pid, 'SIGKILL')

      const postgres = await start('both')

      expect(await query(postgres.url, 'select text from notes')).to.deep.equal([{ text: 'committed' }])
    })

    it('begins anew when a first start was killed half-way', async () => {
      const owner = spawnService('half')
      const halfMade = await firstMatch(join(folder, 'half'), /^postgres\.new-/)
      await firstMatch(join(folder, 'half', halfMade), /^PG_VERSION$/)
      await endProcess(owner, 'SIGKILL')

      const postgres = await start('half')

      expect(await query(postgres.url, 'select 1 as one')).to.deep.equal([{ one: 1 }])
      expect((await readdir(join(folder, 'half'))).sort()).to.deep.equal([
        'postgres',
        'postgres.lock',
        'postgres.log',
        'postgres.owner',
        'postgres.password',
      ])
    })

    it('does not believe a pid file whose pid is another program, and leaves that program alone', async () => {
      await (await start('stale')).stop()
      const clusterDir = join(folder, 'stale', 'postgres')
      const { uid, gid } = await stat(clusterDir)
      // Of the server's own user: PostgreSQL believes in such a pid, and by itself refuses to start.
      const stranger = spawn('/bin/sleep', ['60'], {
        cwd: '/',
        stdio: 'ignore',
        ...(asRoot ? { uid, gid } : {}),
      })
      children.add(stranger)
      await once(stranger, 'spawn')
      await writeFile(
        join(clusterDir, 'postmaster.pid'),
        `${stranger.pid}\n${clusterDir}\n1700000000\n5432\n`,
      )

      const postgres = await start('stale')

      expect(await query(postgres.url, 'select 1 as one')).to.deep.equal([{ one: 1 }])
      expect(stranger.exitCode ?? stranger.signalCode).to.equal(null)
    })

    it('does not believe a pid file of a process that is gone, nor one that is empty', async () => {
      const pidFile = join(folder, 'stale', 'postgres', 'postmaster.pid')
      const gone = spawn(process.execPath, ['--version'])
      await once(gone, 'exit')
      for (const text of [`${gone.pid}\n`, '']) {
        await writeFile(pidFile, text)
        const postgres = await start('stale')
        await postgres.stop()
      }
    })
  })

  describe('on a folder in a state of its own', () => {
    it('sets a new password when the old one is lost', async () => {
      const first = await start('password')
      await query(first.url, "create table notes as select 'kept' as text")
      await first.stop()
      await rm(join(folder, 'password', 'postgres.password'))

      const second = await start('password')

      expect(second.url).not.to.equal(first.url)
      expect(await query(second.url, 'select text from notes')).to.deep.equal([{ text: 'kept' }])
    })

    it('says what to do about a password that is not the cluster’s, and leaves nothing running', async () => {
      await writeFile(join(folder, 'password', 'postgres.password'), 'from-another-cluster\n')

      const fault = await faultOf(start('password'))

      expect(fault.code).to.equal('start_failed')
      expect(fault.message).to.include('password authentication failed').and.include('remove that file')
      expect(await readdir(join(folder, 'password', 'postgres'))).not.to.include('postmaster.pid')
    })

    it('refuses a cluster of another major version, and leaves it as it is', async () => {
      await mkdir(join(folder, 'older', 'postgres'), { recursive: true })
      await writeFile(join(folder, 'older', 'postgres', 'PG_VERSION'), '17\n')

      const fault = await faultOf(start('older'))

      expect(fault.code).to.equal('cluster_version')
      expect(fault.message)
        .to.include('was made by PostgreSQL 17')
        .and.include('pg_dump')
        .and.include('DATABASE_URL')
      expect(await readdir(join(folder, 'older', 'postgres'))).to.deep.equal(['PG_VERSION'])
    })

    it('refuses a folder that holds something else, and takes an empty one', async () => {
      const clusterDir = join(folder, 'taken', 'postgres')
      await mkdir(clusterDir, { recursive: true })
      await writeFile(join(clusterDir, 'holiday.jpg'), '')

      const fault = await faultOf(start('taken'))
      expect(fault.code).to.equal('cluster_unusable')
      expect(fault.message).to.include(clusterDir).and.include('Move it away')

      await rm(join(clusterDir, 'holiday.jpg'))
      const postgres = await start('taken')
      expect(await query(postgres.url, 'select 1 as one')).to.deep.equal([{ one: 1 }])
    })

    it('tells what the server wrote when a setting keeps it from starting', async () => {
      const fault = await faultOf(start('clean', { settings: { shared_buffers: 'much' } }))

      expect(fault.code).to.equal('start_failed')
      expect(fault.message).to.include('invalid value for parameter "shared_buffers": "much"')
      await start('clean')
    })

    it('says so when the data folder cannot be made', async () => {
      await writeFile(join(folder, 'file'), '')

      const fault = await faultOf(start('file'))

      expect(fault.code).to.equal('data_dir_unusable')
      expect(fault.message).to.include(join(folder, 'file'))
    })

    it('starts a log of its own when the old one is big', async () => {
      const logFile = join(folder, 'clean', 'postgres.log')
      await writeFile(logFile, Buffer.alloc(10 * 1024 * 1024 + 1, 'x'))

      await start('clean')

      expect((await stat(`${logFile}.1`)).size).to.equal(10 * 1024 * 1024 + 1)
      expect(await readFile(logFile, 'utf8'))
        .to.include('ready to accept connections')
        .and.not.include('xxx')
    })
  })

  describe('whatever lies above the data folder', () => {
    it('starts below a folder that only this user may enter', async () => {
      await mkdir(join(folder, 'private'), { mode: 0o700 })

      const { url, pid } = await start('private/data')

      expect(await query(url, 'select 1 as one')).to.deep.equal([{ one: 1 }])
      expect(
        await userOf(join(folder, 'private', 'data', 'postgres')),
        'the server is not root',
      ).not.to.equal(0)
      expect(isAlive(pid)).to.equal(true)
    })

    it('goes on as the same user below a folder that everyone may enter', async () => {
      const before = await userOf(join(folder, 'private', 'data', 'postgres'))
      await chmod(folder, 0o711)
      try {
        await chmod(join(folder, 'private'), 0o711)
        await start('private/data')
        await start('open')
        expect(await userOf(join(folder, 'open', 'postgres'))).to.equal(before)
      } finally {
        await chmod(folder, 0o700)
      }
    })

    it('finds its data again after the folder has moved', async () => {
      const first = await start('open')
      await query(first.url, "create table notes as select 'moved' as text")
      await first.stop()
      await rename(join(folder, 'open'), join(folder, 'moved'))

      const second = await start('moved')

      expect(await query(second.url, 'select text from notes')).to.deep.equal([{ text: 'moved' }])
    })
  })
})

const serviceScript = `
  import { startPostgres } from ${JSON.stringify(import.meta.resolve('#src/postgres/start.ts'))}
  const postgres = await startPostgres({ dataDir: process.argv[1], log: () => {}, settings: { fsync: 'off' } })
    .catch((error) => { console.log(JSON.stringify({ code: error.code })); process.exit(1) })
  console.log(JSON.stringify({ url: postgres.url, pid: postgres.pid }))
  process.once('SIGTERM', () => postgres.stop())
`

async function serviceReady(child: ChildProcess): Promise<{ url: string; pid: number }> {
  if (child.stdout === null) throw new Error('the service has no output')
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  const answer = JSON.parse(line) as { url?: string; pid?: number; code?: string }
  if (answer.url === undefined || answer.pid === undefined) throw new Error(answer.code)
  return { url: answer.url, pid: answer.pid }
}

async function endProcess(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}

async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url })
  // Sessions of these tests are cut by the server's end; that is what they are for.
  client.on('error', () => {})
  await client.connect()
  return client
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = await connect(url)
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** The server's own processes, which outlive it for a moment when it alone is killed. */
async function pidsBelow(parentPid: number): Promise<number[]> {
  const ps = spawn('ps', ['-A', '-o', 'pid=,ppid='], { stdio: ['ignore', 'pipe', 'inherit'] })
  const pids: number[] = []
  for await (const line of createInterface(ps.stdout)) {
    const [pid, parent] = line.trim().split(/\s+/).map(Number)
    if (pid !== undefined && parent === parentPid) pids.push(pid)
  }
  return pids
}

async function userOf(path: string): Promise<number> {
  return (await stat(path)).uid
}

async function withTakenPort<T>(use: (port: number) => Promise<T>, wanted = 0): Promise<T> {
  const server = createServer().listen(wanted, '127.0.0.1')
  await once(server, 'listening')
  try {
    return await use((server.address() as AddressInfo).port)
  } finally {
    server.close()
    await once(server, 'close')
  }
}

/** The first entry of a folder that matches, as soon as there is one. */
async function firstMatch(folder: string, pattern: RegExp): Promise<string> {
  for (;;) {
    const found = (await readdir(folder).catch(() => [])).find(name => pattern.test(name))
    if (found !== undefined) return found
    await sleep(5)
  }
}
