/**
 * As which user PostgreSQL's programs run. They refuse to run as root, so a service that is root runs them as
 * another user, and that user must reach both the programs and the data folder, whatever is above them (a
 * home of mode 0700, a private temporary folder). The ways are tried in order of how little they grant.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { bringYourOwn, PostgresFault } from './fault.ts'

/** A user, and how a program is started as that user. */
export type RunAs = {
  /** Who must own the cluster's files; `undefined` when that is the user we are. */
  owner: Owner | undefined
  /** Put in front of the command, for instance `setpriv` with its options. */
  prefix: readonly string[]
  /** `uid` and `gid` for Node to switch to; empty where the prefix does it, or nothing is to be switched. */
  identity: { uid?: number; gid?: number }
}

export type Owner = { uid: number; gid: number }

/**
 * Finds a way to run `program` in `folder`, by running `program --version` there.
 *
 * @param options.cluster who owns the cluster now, if there is one: a service that became root goes on as the
 *   cluster's owner.
 * @returns the way, and what the program printed.
 * @throws PostgresFault `postgres_unusable` when no way works; the message has the reason of each.
 */
export async function chooseRunAs(options: {
  program: string
  folder: string
  cluster?: Owner | undefined
  uid?: number
}): Promise<{ runAs: RunAs; version: string }> {
  const { program, folder, uid = process.getuid?.() } = options
  const reasons: string[] = []
  for (const [name, runAs] of uid === 0 ? await waysOfRoot(options.cluster) : waysOfUser) {
    try {
      const version = await run(runAs, '/bin/sh', [
        '-c',
        'cd -- "$1" && exec "$2" --version',
        'sh',
        folder,
        program,
      ])
      return { runAs, version: version.trim() }
    } catch (error) {
      reasons.push(`${name}: ${describe(error)}`)
    }
  }
  throw new PostgresFault(
    'postgres_unusable',
    `PostgreSQL (${program}) cannot be run on ${folder}.\n  ${reasons.join('\n  ')}\n` +
      'It needs a glibc system (Debian, not Alpine), and it does not run as root: run the service as an ordinary user, ' +
      `or let the user "postgres" or "nobody" reach both paths (chmod a+x on the folders above). ${bringYourOwn}`,
  )
}

/** Runs a program to its end and gives what it printed; rejects with what it complained about. */
export async function run(
  runAs: RunAs,
  program: string,
  args: readonly string[],
  input = '',
): Promise<string> {
  const [file, ...rest] = command(runAs, program, args)
  const running = execFileAsync(file, rest, { ...surroundings, ...runAs.identity, timeout: runTimeoutMs })
  // A program that ends before it has read its input breaks the pipe; its exit code tells the story.
  running.child.stdin?.on('error', () => {})
  running.child.stdin?.end(input)
  return (await running).stdout
}

/**
 * Starts a program that goes on by itself, in a process group of its own: Ctrl-C in a terminal goes to the
 * whole group of the service, and the database must not stop before the service has drained. Its output goes
 * to a file, because a pipe would break, and the program with it, when the service is killed.
 */
export function startDetached(
  runAs: RunAs,
  program: string,
  args: readonly string[],
  logFd: number,
): ChildProcess {
  const [file, ...rest] = command(runAs, program, args)
  return spawn(file, rest, {
    ...surroundings,
    ...runAs.identity,
    detached: true,
    stdio: ['ignore', logFd, logFd],
  })
}

/** What a failed program said, in one line. */
export function describe(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string }
  return (stderr?.trim() || message).replaceAll(/\s*\n\s*/g, '; ')
}

const execFileAsync = promisify(execFile)

/** Long enough for initdb with fsync on a slow network disk; the ordinary is half a second. */
const runTimeoutMs = 300_000

/** Nothing of our own environment: it holds secrets, and PGDATA or LD_PRELOAD would change what is run. */
const surroundings = {
  cwd: '/',
  env: {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LC_ALL: 'C',
    TZ: 'UTC',
  },
}

type Way = readonly [name: string, runAs: RunAs]

const waysOfUser: readonly Way[] = [['as this user', { owner: undefined, prefix: [], identity: {} }]]

async function waysOfRoot(cluster: Owner | undefined): Promise<Way[]> {
  const owner = cluster !== undefined && cluster.uid !== 0 ? cluster : await findUser()
  const ways: Way[] = [
    [`as user ${owner.uid}`, { owner, prefix: [], identity: owner }],
    // Reading and passing through any folder is enough; a container often has only the wider capability.
    [
      `as user ${owner.uid} who may read all`,
      { owner, prefix: setpriv(owner, 'dac_read_search'), identity: {} },
    ],
    [
      `as user ${owner.uid} who may write all`,
      { owner, prefix: setpriv(owner, 'dac_override'), identity: {} },
    ],
  ]
  // Root that cannot become anyone else (a user namespace with one user in it) can still be seen as another
  // user from inside a namespace of its own. The files stay root's, so another's cluster is out of reach.
  if (cluster === undefined || cluster.uid === 0) {
    const prefix = ['unshare', '--user', `--map-user=${owner.uid}`, `--map-group=${owner.gid}`]
    ways.push(['in a user namespace', { owner: undefined, prefix, identity: {} }])
  }
  return ways
}

/**
 * `no_setuid_fixup` is not about the switch of user: PostgreSQL asks access(2) whether it may run its own
 * programs, and the kernel leaves capabilities out of that answer unless this bit is set.
 */
function setpriv(owner: Owner, capability: string): string[] {
  return [
    'setpriv',
    `--reuid=${owner.uid}`,
    `--regid=${owner.gid}`,
    '--clear-groups',
    '--securebits=+no_setuid_fixup',
    `--inh-caps=+${capability}`,
    `--ambient-caps=+${capability}`,
  ]
}

/** The user PostgreSQL's own packages make (`_postgres` on macOS), else the one who owns nothing. */
async function findUser(): Promise<Owner> {
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map(line => line.split(':'))
  for (const wanted of ['postgres', '_postgres', 'nobody']) {
    const user = users.find(([name]) => name === wanted)
    // macOS writes nobody's id as -2; the system calls take it as an unsigned number.
    if (user !== undefined) return { uid: Number(user[2]) >>> 0, gid: Number(user[3]) >>> 0 }
  }
  throw new PostgresFault(
    'postgres_unusable',
    'PostgreSQL does not run as root, and /etc/passwd has neither a user "postgres" nor "nobody". ' +
      `Run the service as an ordinary user. ${bringYourOwn}`,
  )
}

function command(runAs: RunAs, program: string, args: readonly string[]): [string, ...string[]] {
  const [first, ...rest] = [...runAs.prefix, program, ...args]
  return [first ?? program, ...rest]
}
