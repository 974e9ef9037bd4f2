/** One service per data folder, and no lock that outlives its holder. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import { afterEach, beforeEach, describe, it } from 'mocha'
import { PostgresFault } from '#src/postgres/fault.ts'
import { lockDataDir } from '#src/postgres/lock.ts'

describe('the lock of a data folder', () => {
  let dataDir: string

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'hookseal-lock-'))
  })

  afterEach(async () => {
    await rm(dataDir, { recursive: true, force: true })
  })

  it('is had by one at a time, and by the next after its release', () => {
    const first = lockDataDir(dataDir)
    expect(() => lockDataDir(dataDir))
      .to.throw(PostgresFault, `in use by another Hookseal process (pid ${process.pid})`)
      .with.property('code', 'data_dir_in_use')

    first.release()
    first.release()
    const second = lockDataDir(dataDir)
    expect(() => lockDataDir(dataDir)).to.throw(PostgresFault)
    first.release()
    expect(() => lockDataDir(dataDir), 'the first has nothing left to release').to.throw(PostgresFault)
    second.release()
  })

  it('is held against another process, and ends with that process however it ends', async () => {
    const script = `
      import { lockDataDir } from ${JSON.stringify(import.meta.resolve('#src/postgres/lock.ts'))}
      lockDataDir(process.argv[1])
      console.log('locked')
      setInterval(() => {}, 1_000)
    `
    const holder = spawn(process.execPath, ['--input-type=module', '-e', script, dataDir])
    await once(holder.stdout, 'data')
    expect(() => lockDataDir(dataDir)).to.throw(PostgresFault, `(pid ${holder.pid})`)

    holder.kill('SIGKILL')
    await once(holder, 'exit')
    lockDataDir(dataDir).release()
  })

  it('does not depend on what the pid file says', async () => {
    await writeFile(join(dataDir, 'postgres.owner'), `${process.ppid}\n`)

    lockDataDir(dataDir).release()
  })

  it('stands when nobody keeps what it returned', async () => {
    lockDataDir(dataDir)
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    // A collected file is closed in a later turn.
    collectGarbage()
    await nextTurn()
    collectGarbage()

    expect(() => lockDataDir(dataDir))
      .to.throw(PostgresFault)
      .with.property('code', 'data_dir_in_use')
  })

  it('cannot be had in a folder that does not exist', () => {
    expect(() => lockDataDir(join(dataDir, 'missing')))
      .to.throw(PostgresFault, 'cannot be locked')
      .with.property('code', 'data_dir_unusable')
  })
})
