/**
 * The shape of the source as src/README.md describes it, read from the files themselves: who may import whom, where
 * SQL and the environment may appear. A check that saw nothing would pass, so each tells what it has seen.
 */
import { readdir, readFile } from 'node:fs/promises'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { before, describe, it } from 'mocha'

/** Rooms are the folders of src, and its single files by their name; a room may import itself. */
const mayImport: Record<string, readonly string[]> = {
  errors: [],
  ids: [],
  log: [],
  keyring: ['errors', 'domain'],
  domain: ['errors'],
  config: ['errors', 'domain', 'keyring', 'log'],
  'kept-keys': ['config', 'keyring'],
  store: ['domain', 'errors', 'ids'],
  queue: ['store/db', 'errors', 'ids'],
  sending: ['domain', 'errors'],
  postgres: [],
  deps: ['config', 'domain', 'ids', 'keyring', 'log', 'queue', 'sending', 'services', 'store'],
  services: ['deps', 'domain', 'store', 'queue', 'sending', 'errors', 'ids', 'keyring', 'log'],
  jobs: ['deps', 'domain', 'store', 'queue', 'sending', 'services', 'errors', 'ids', 'keyring', 'log'],
  http: ['deps', 'domain', 'store', 'services', 'errors', 'ids', 'config', 'log'],
  portal: ['http', 'services'],
  context: [
    'config',
    'deps',
    'domain',
    'errors',
    'ids',
    'jobs',
    'kept-keys',
    'keyring',
    'log',
    'postgres',
    'queue',
    'sending',
    'services',
    'store',
  ],
  cli: ['config', 'context'],
  main: ['config', 'context', 'kept-keys', 'http', 'jobs', 'cli'],
}

/** What breaks the table, with its reason; the list is to shrink. */
const exceptions: Record<string, string> = {
  'cli -> postgres': 'the demo starts the service on a database of its own that it throws away',
}

/** The files that a process starts with. */
const entryFile = /^src\/(main|cli)\.ts$|^src\/cli\//

/** Where statements may stand. */
const sqlFile = /^(src\/(store|queue)|migrations)\//

/** As `exceptions`. */
const sqlExceptions: Record<string, string> = {
  'src/http/routes/health.ts': 'a `select 1`, which asks whether the database answers at all',
}

type SourceFile = { path: string; text: string }

describe('the source', () => {
  let files: SourceFile[]

  before(async () => {
    const root = fileURLToPath(new URL('../', import.meta.url))
    const lists = await Promise.all(
      ['src', 'migrations'].map(async folder =>
        (await readdir(posix.join(root, folder), { recursive: true })).map(name => posix.join(folder, name)),
      ),
    )
    const paths = lists.flat().filter(path => path.endsWith('.ts'))
    files = await Promise.all(
      paths.map(async path => ({ path, text: await readFile(posix.join(root, path), 'utf8') })),
    )
  })

  it('is all read, and has every room that the map names', () => {
    expect(files.length).to.be.greaterThan(80)
    const rooms = new Set(files.filter(({ path }) => path.startsWith('src/')).map(({ path }) => roomOf(path)))
    const known = Object.keys(mayImport)
    expect([...rooms].filter(room => !known.includes(room))).to.deep.equal([])
    expect(rooms).to.include.all.keys(
      'domain',
      'store',
      'queue',
      'sending',
      'services',
      'jobs',
      'http',
      'main',
    )
  })

  it('has arrows between rooms in one direction only', () => {
    const arrows = files.flatMap(arrowsOf)
    expect(arrows.length).to.be.greaterThan(300)

    const wrong = arrows.filter(({ from, to }) => {
      const [room, target] = [roomOf(from), roomOf(to)]
      if (room === target || exceptions[`${room} -> ${target}`] !== undefined) return false
      const allowed = mayImport[room] ?? []
      return !allowed.includes(target) && !allowed.includes(to.slice('src/'.length, -'.ts'.length))
    })
    expect(wrong.map(({ from, to }) => `${from} -> ${to}`)).to.deep.equal([])
  })

  it('would show a wrong arrow, in whichever form it is written', () => {
    const forms = [
      `import { run } from '../http/app.ts'`,
      `import type { Route } from '../http/app.ts'`,
      `import {\n  run,\n  type Route,\n} from '../http/app.ts'`,
      `export * from '../http/app.ts'`,
      `const app = await import('../http/app.ts')`,
      `import '../http/app.ts'`,
    ]
    for (const text of forms) {
      expect(arrowsOf({ path: 'src/store/events.ts', text }), text).to.deep.equal([
        { from: 'src/store/events.ts', to: 'src/http/app.ts' },
      ])
    }
  })

  it('imports by relative path inside src, and nothing of the tests', () => {
    const found = files.filter(({ text }) => /from '(#|.*\/test\/)/.test(text))
    expect(found.map(({ path }) => path)).to.deep.equal([])
  })

  it('reads the environment where a process starts and nowhere else', () => {
    const found = files.filter(({ text }) => /\bprocess\s*\.\s*env\b/.test(withoutComments(text)))
    expect(found.map(({ path }) => path)).to.include('src/main.ts')
    expect(found.map(({ path }) => path).filter(path => !entryFile.test(path))).to.deep.equal([])
  })

  it('has statements in the store, the queue and the migrations alone', () => {
    const found = files.filter(({ text }) => hasSql(withoutComments(text))).map(({ path }) => path)
    expect(found.length).to.be.greaterThan(10)
    expect(found.filter(path => !sqlFile.test(path) && sqlExceptions[path] === undefined)).to.deep.equal([])
  })

  it('has rules without a clock, randomness or input of their own', () => {
    const impure =
      /\bDate\.now\(|\bnew Date\(\)|Math\.random\(|performance\.now|from 'node:(fs|net|http|dns|child_process|timers)/
    const rules = files.filter(({ path }) => path.startsWith('src/domain/'))
    expect(rules.length).to.be.greaterThan(10)
    expect(
      rules.filter(({ text }) => impure.test(withoutComments(text))).map(({ path }) => path),
    ).to.deep.equal([])
  })

  it('says at the head of every file what it is for', () => {
    const silent = files.filter(({ text }) => !/^(#!.*\n)?\/\*\*[\s*]*[A-Z`][^\n]{15,}/.test(text))
    expect(silent.map(({ path }) => path)).to.deep.equal([])
  })

  it('points to nothing outside the project', () => {
    const found = files.filter(({ text }) => /\.\.\/shared|\/work\/|\/home\//.test(text))
    expect(found.map(({ path }) => path)).to.deep.equal([])
  })
})

function roomOf(path: string): string {
  const [, first = ''] = path.split('/')
  return first.replace(/\.ts$/, '')
}

function arrowsOf({ path, text }: SourceFile): { from: string; to: string }[] {
  const specifiers = withoutComments(text).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g)
  return [...specifiers]
    .map(([, specifier]) => ({ from: path, to: posix.join(posix.dirname(path), specifier!) }))
    .filter(({ to }) => to.startsWith('src/') && to.endsWith('.ts'))
}

/** Good enough for our sources: no string of theirs holds the beginning of a comment. */
function withoutComments(text: string): string {
  return text.replaceAll(/\/\*(?! sql)[\s\S]*?\*\//g, '').replaceAll(/(?<![:'"`/])\/\/.*$/gm, '')
}

function hasSql(text: string): boolean {
  const statement =
    /[`']\s*(select\s+[\w("*]|insert into |update \w+\s+set |delete from |with \w+ as |set local |create table )/i
  return /\/\* sql \*\/|\.raw\(/.test(text) || statement.test(text)
}
