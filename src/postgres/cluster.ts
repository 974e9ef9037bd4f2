/**
 * The cluster: the folder of files that PostgreSQL works on, its one role and database, and the password.
 * `<data folder>/postgres` either does not exist or is whole: it is made beside, under another name, and
 * renamed when nothing is missing from it.
 */
import { randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Binaries } from './binaries.ts'
import { bringYourOwn, PostgresFault } from './fault.ts'
import { describe, type Owner, run, type RunAs } from './run-as.ts'

/** The role that owns the database, and the database. The role is no superuser, as with a hosted PostgreSQL. */
export const roleName = 'hookseal'

export type ClusterOptions = {
  dataDir: string
  binaries: Binaries
  runAs: RunAs
  /** What `postgres --version` printed. */
  version: string
  settings: Readonly<Record<string, string>>
  log: (line: string) => void
}

export function clusterDirOf(dataDir: string): string {
  return join(dataDir, 'postgres')
}

/** Who owns the cluster, or `undefined` when there is none yet (an empty folder is none). */
export async function findClusterOwner(clusterDir: string): Promise<Owner | undefined> {
  const names = await readdir(clusterDir).catch(undefinedIfMissing)
  return names === undefined || names.length === 0 ? undefined : await stat(clusterDir)
}

/**
 * Makes the cluster, or checks the one that is there. No server may run on it meanwhile.
 *
 * @returns the password of the role.
 * @throws PostgresFault `cluster_version` when another major version made it, `cluster_unusable` when it is no
 *   cluster or cannot be made.
 */
export async function prepareCluster(options: ClusterOptions): Promise<string> {
  const clusterDir = clusterDirOf(options.dataDir)
  await removeHalfMade(options.dataDir)
  const owner = await findClusterOwner(clusterDir)
  if (owner === undefined) return await makeCluster(options)

  await checkVersion(clusterDir, options.version)
  await handOver(clusterDir, owner, options)
  return (await readPassword(options.dataDir)) ?? (await renewPassword(options))
}

const halfMadePrefix = 'postgres.new-'

/** Leavings of a first start that was killed. */
async function removeHalfMade(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith(halfMadePrefix)) continue
    // The initdb of the killed process may live, and still make files in there.
    await rm(join(dataDir, name), { recursive: true, force: true, maxRetries: 10 })
  }
}

async function makeCluster(options: ClusterOptions): Promise<string> {
  const { dataDir, binaries, runAs, settings, log } = options
  log(`making a PostgreSQL cluster in ${clusterDirOf(dataDir)}`)
  const password = newPassword()
  const halfMade = join(dataDir, halfMadePrefix + randomBytes(4).toString('hex'))
  try {
    await mkdir(halfMade)
    await chmod(halfMade, 0o700) // By itself the mode would be cut by the umask.
    if (runAs.owner !== undefined) await chown(halfMade, runAs.owner.uid, runAs.owner.gid)
    await run(runAs, binaries.initdb, [
      '-D',
      halfMade,
      ...initdbFlags,
      ...(settings['fsync'] === 'off' ? ['--no-sync'] : []),
    ])
    await runSql(options, halfMade, [
      `create role ${roleName} login createdb password '${password}'`,
      // An operator looks at sessions and WAL, and ends a session that hangs; that needs no superuser.
      `grant pg_monitor, pg_signal_backend, pg_checkpoint to ${roleName}`,
      `create database ${roleName} owner ${roleName}`,
    ])
  } catch (cause) {
    await rm(halfMade, { recursive: true, force: true, maxRetries: 10 })
    throw new PostgresFault(
      'cluster_unusable',
      `No PostgreSQL cluster could be made in ${dataDir}: ${describe(cause)}. ${bringYourOwn}`,
      { cause },
    )
  }
  // The password first: a cluster without it would have to be given a new one.
  await writePassword(dataDir, password)
  await rename(halfMade, clusterDirOf(dataDir))
  await syncFolder(dataDir)
  return password
}

const initdbFlags = [
  // Without these the machine's LANG decides, and where none is set the cluster is SQL_ASCII: not even jsonb
  // takes an escaped character there.
  '--encoding=UTF8',
  '--locale=C',
  '--username=postgres',
  // The superuser has no password, so nobody logs in as one: roles are made in single-user mode.
  '--auth-local=reject',
  '--auth-host=scram-sha-256',
  '--no-instructions',
]

/** Runs statements, one a line, as superuser in single-user mode: no server, no port, no race. */
async function runSql(
  options: ClusterOptions,
  clusterDir: string,
  statements: readonly string[],
): Promise<void> {
  const settings = Object.entries({
    ...options.settings,
    exit_on_error: 'on',
    log_min_error_statement: 'panic',
  })
  const flags = settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const args = ['--single', '-D', clusterDir, ...flags, 'postgres']
  await run(options.runAs, options.binaries.postgres, args, `${statements.join('\n')}\n`)
}

async function checkVersion(clusterDir: string, version: string): Promise<void> {
  const ours = /\) (\d+)/.exec(version)?.[1]
  const theirs = (await readFile(join(clusterDir, 'PG_VERSION'), 'utf8').catch(undefinedIfMissing))?.trim()
  if (theirs === undefined) {
    throw new PostgresFault(
      'cluster_unusable',
      `${clusterDir} has files but is no PostgreSQL cluster (it has no PG_VERSION). Move it away, or choose ` +
        `another folder by DATA_DIR. ${bringYourOwn}`,
    )
  }
  if (theirs !== ours) {
    throw new PostgresFault(
      'cluster_version',
      `${clusterDir} was made by PostgreSQL ${theirs}; this release of Hookseal brings ${version}. Start the release that ` +
        'made it and write the data out with pg_dump, move the folder away, start this release and read the data in ' +
        `with psql. ${bringYourOwn}`,
    )
  }
}

/** PostgreSQL takes only files of its own user. Those of root (a restored backup) are given to it. */
async function handOver(clusterDir: string, owner: Owner, { runAs, log }: ClusterOptions): Promise<void> {
  if (runAs.owner === undefined || runAs.owner.uid === owner.uid) return
  log(`giving ${clusterDir} to user ${runAs.owner.uid}`)
  for (const entry of await readdir(clusterDir, { recursive: true })) {
    await chown(join(clusterDir, entry), runAs.owner.uid, runAs.owner.gid)
  }
  // Last, because its owner decides whether all this is needed.
  await chown(clusterDir, runAs.owner.uid, runAs.owner.gid)
}

/** Safe in a URL and in an SQL literal as it is. */
function newPassword(): string {
  return randomBytes(24).toString('base64url')
}

function passwordFileOf(dataDir: string): string {
  return join(dataDir, 'postgres.password')
}

async function readPassword(dataDir: string): Promise<string | undefined> {
  const text = await readFile(passwordFileOf(dataDir), 'utf8').catch(undefinedIfMissing)
  return text?.trim() || undefined
}

async function renewPassword(options: ClusterOptions): Promise<string> {
  options.log(`${passwordFileOf(options.dataDir)} is missing: setting a new password`)
  const password = newPassword()
  const clusterDir = clusterDirOf(options.dataDir)
  try {
    await runSql(options, clusterDir, [`alter role ${roleName} password '${password}'`])
  } catch (cause) {
    throw new PostgresFault(
      'cluster_unusable',
      `No password could be set in ${clusterDir}: ${describe(cause)}.`,
      { cause },
    )
  }
  await writePassword(options.dataDir, password)
  return password
}

async function writePassword(dataDir: string, password: string): Promise<void> {
  const file = passwordFileOf(dataDir)
  await writeFile(`${file}.new`, `${password}\n`, { mode: 0o600, flush: true })
  await rename(`${file}.new`, file)
}

/** Makes a rename outlast a power cut. */
async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder)
  await handle.sync()
}

function undefinedIfMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
