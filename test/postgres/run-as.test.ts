/** PostgreSQL's programs reach their folder, whoever we are and whatever is above it. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { afterEach, beforeEach, describe, it } from 'mocha'
import { PostgresFault } from '#src/postgres/fault.ts'
import { chooseRunAs, run } from '#src/postgres/run-as.ts'

const asRoot = process.getuid?.() === 0

describe('the user who runs PostgreSQL’s programs', () => {
  let folder: string
  let program: string

  beforeEach(async () => {
    // Of mode 0700, and it holds the program as well as the data: what a CI job's private folder looks like.
    folder = await mkdtemp(join(tmpdir(), 'hookseal-run-as-'))
    await mkdir(join(folder, 'data'), { mode: 0o711 })
    program = join(folder, 'program')
    await writeFile(program, '#!/bin/sh\necho "$0 $1 $(id -u) ${DATABASE_URL:-no secret}"\n', { mode: 0o755 })
  })

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  it('reaches a program and a folder below one that only we may enter, without being root', async () => {
    const { runAs, version } = await chooseRunAs({ program, folder: join(folder, 'data') })

    const uid = asRoot ? (runAs.owner?.uid ?? 'mapped') : process.getuid?.()
    expect(uid).not.to.equal(0)
    if (uid !== 'mapped') expect(version).to.equal(`${program} --version ${uid} no secret`)
  })

  it('is the one who owns the cluster already', async () => {
    const { runAs } = await chooseRunAs({
      program,
      folder: join(folder, 'data'),
      cluster: { uid: 65_533, gid: 65_533 },
    })

    expect(runAs.owner).to.deep.equal(asRoot ? { uid: 65_533, gid: 65_533 } : undefined)
  })

  it('gives a program its input and nothing of our environment', async () => {
    const { runAs } = await chooseRunAs({ program, folder })

    expect(await run(runAs, '/bin/cat', [], 'select 1')).to.equal('select 1')
    expect(
      (await run(runAs, '/usr/bin/env', []))
        .trim()
        .split('\n')
        .map(line => line.split('=')[0]),
    ).to.have.members(['PATH', 'LC_ALL', 'TZ'])
  })

  it('is not found for a program that does not run; the fault has every reason', async () => {
    await writeFile(program, '#!/bin/sh\necho "cannot open libicuuc.so.60" >&2\nexit 127\n')

    const fault = await chooseRunAs({ program, folder }).catch((error: unknown) => error)

    expect(fault).to.be.instanceOf(PostgresFault).with.property('code', 'postgres_unusable')
    expect((fault as PostgresFault).message)
      .to.match(/(as|in) [^:\n]*: .*cannot open libicuuc\.so\.60/)
      .and.include('DATABASE_URL')
  })
})
