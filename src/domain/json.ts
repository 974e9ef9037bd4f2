/**
 * Reads a JSON document without altering the parts that are not ours. A payload must reach its receivers as the
 * bytes that came (number spelling, key order, escapes, even duplicate members), which no parsed value can give
 * back; the envelope around it is ours and is read strictly, so that two readers cannot take it for two things.
 *
 * A scanner checks the whole document's syntax and finds the raw parts; only what is left, the envelope, is handed
 * to `JSON.parse`. That is faster than parsing everything, because a payload never becomes objects.
 */
import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { AppError, faultsMax, invalid, type Fault } from '../errors.ts'

/** Levels of objects and arrays that an envelope may have. */
export const envelopeDepthMax = 32

/**
 * Levels of objects and arrays inside one raw part (RFC 8259 section 9 lets a parser limit them). PHP's parser stops
 * at 512 unless told otherwise, Python's near 1,000, and a delivery wraps the payload in levels of its own.
 */
export const payloadDepthMax = 500

/**
 * Values outside raw parts. The largest batch has some 9,000; a body of nothing but tiny members would otherwise hold
 * up every other request for half a second.
 */
export const envelopeValuesMax = 20_000

/** Which parts of a document stay bytes; made once per kind of document by `rawPaths`. */
export type RawPaths = {
  readonly isRaw: boolean
  readonly members: readonly { readonly name: string; readonly bytes: Buffer; readonly paths: RawPaths }[]
  readonly elements: RawPaths | undefined
}

/**
 * Names the parts of a document that stay bytes, as JSON Pointers (RFC 6901, without escapes) in which `[]` is every
 * element of an array: `/payload`, `/events/[]/payload`, or the empty pointer for the whole document.
 */
export function rawPaths(...pointers: string[]): RawPaths {
  return buildPaths(
    pointers.map(pointer => {
      assert(
        pointer === '' || /^(\/[A-Za-z]+|\/\[\])+$/.test(pointer),
        `${pointer} is not a path of plain names and []`,
      )
      return pointer.split('/').slice(1)
    }),
  )
}

const nothingRaw = rawPaths()

/**
 * Reads one JSON document (RFC 8259). Parts at `raw` come back as a `Buffer`: exactly their bytes, without the white
 * space around them, sharing memory with `bytes`. A `Buffer` stands nowhere else in the result.
 *
 * Everywhere: fatal UTF-8, no byte order mark (section 8.1 lets a parser ignore it; ignoring would let two documents
 * that differ in bytes be one), nesting at most `envelopeDepthMax`, inside a raw part `payloadDepthMax`.
 * Outside raw parts: at most `envelopeValuesMax` values; no member twice in an object, names compared after decoding;
 * no control character (U+0000..U+001F, U+007F..U+009F) and no lone surrogate in a name or a string; no member
 * `__proto__`. Numbers are doubles, as `JSON.parse` has them.
 * Inside raw parts none of that is looked at.
 *
 * @throws AppError `invalid_utf8`; `invalid_json` with the place of a syntax error, or with `faults` for repeated
 *   members; `validation_failed` with `faults` for forbidden characters and names
 */
export function parseDocument(bytes: Buffer, raw: RawPaths = nothingRaw): unknown {
  if (!isUtf8(bytes)) throw notUtf8(bytes)

  const { slices, membersCount } = scan(bytes, raw)
  const envelope = withPlaceholders(bytes, slices)
  const document: unknown = JSON.parse(envelope)
  // Both tests are cheap and only say that a fault is possible or that one is there; the walk that says where is not.
  if (suspectPattern.test(envelope) || countMembers(document) !== membersCount) checkEnvelope(envelope)

  return slices.length === 0 ? document : withRawParts(document, raw, bytes, slices)
}

/**
 * The value of a raw part, for rules that look into it. Not for sending on: numbers are doubles, and the last of
 * repeated members wins. A member `__proto__` is an own property here, so look members up by `Object.hasOwn`.
 */
export function parseRaw(raw: Buffer): unknown {
  return JSON.parse(raw.toString('utf8'))
}

function buildPaths(paths: readonly string[][]): RawPaths {
  const below = (token: string): string[][] =>
    paths.filter(([first]) => first === token).map(path => path.slice(1))
  const names = new Set(paths.flatMap(([first]) => (first === undefined || first === '[]' ? [] : [first])))
  const elements = below('[]')
  return {
    isRaw: paths.some(path => path.length === 0),
    members: [...names].map(name => ({ name, bytes: Buffer.from(name), paths: buildPaths(below(name)) })),
    elements: elements.length === 0 ? undefined : buildPaths(elements),
  }
}

type Layout = {
  /** Where raw parts start and end, in pairs, in the order of the document. */
  slices: number[]
  /** Members of all objects outside raw parts. */
  membersCount: number
}

const quote = 0x22
const comma = 0x2c
const minus = 0x2d
const dot = 0x2e
const zero = 0x30
const nine = 0x39
const colon = 0x3a
const openBracket = 0x5b
const backslash = 0x5c
const openBrace = 0x7b
const closeBrace = 0x7d

// What closes each open level, kept between calls because a scan never yields; the first belongs to the document.
const closers = new Uint8Array(envelopeDepthMax + payloadDepthMax + 1)

/**
 * Checks the syntax of a whole document and finds its raw parts. One loop with a stack of its own, never recursive:
 * a body of nothing but `[` is refused at the limit instead of overflowing the call stack.
 */
function scan(bytes: Buffer, root: RawPaths): Layout {
  const slices: number[] = []
  const pathsAt: (RawPaths | undefined)[] = []
  let membersCount = 0
  let valuesCount = 0
  let depth = 0
  let depthMax = envelopeDepthMax
  let rawStart = 0
  let rawDepth = -1
  let paths: RawPaths | undefined = root
  let at = skipSpace(bytes, 0)

  for (;;) {
    if (rawDepth < 0 && ++valuesCount > envelopeValuesMax) throw tooMany(bytes, at)
    if (depth > 0) {
      const parent = pathsAt[depth]
      if (closers[depth] === closeBrace) {
        const nameEnd = skipName(bytes, at)
        if (rawDepth < 0) membersCount++
        paths = parent === undefined ? undefined : memberPaths(parent, bytes, at, nameEnd)
        at = skipColon(bytes, nameEnd)
      } else {
        paths = parent?.elements
      }
    }
    if (paths?.isRaw) {
      rawStart = at
      rawDepth = depth
      depthMax = depth + payloadDepthMax
      paths = undefined
    }

    const first = bytes[at]
    if (first === openBrace || first === openBracket) {
      if (depth === depthMax) throw tooDeep(bytes, at, rawDepth < 0 ? envelopeDepthMax : payloadDepthMax)
      const closer = first + 2
      at = skipSpace(bytes, at + 1)
      if (bytes[at] !== closer) {
        depth++
        closers[depth] = closer
        pathsAt[depth] = paths
        continue
      }
      at++
    } else {
      at = skipScalar(bytes, at)
    }

    // A value has ended: close what ends with it, until a comma announces the next one.
    for (;;) {
      if (depth === rawDepth) {
        slices.push(rawStart, at)
        rawDepth = -1
        depthMax = envelopeDepthMax
      }
      at = skipSpace(bytes, at)
      if (depth === 0) {
        if (at < bytes.length) throw syntaxError(bytes, at, 'the end of the document')
        return { slices, membersCount }
      }
      if (bytes[at] === comma) {
        at = skipSpace(bytes, at + 1)
        break
      }
      if (bytes[at] !== closers[depth])
        throw syntaxError(bytes, at, closers[depth] === closeBrace ? '"," or "}"' : '"," or "]"')
      depth--
      at++
    }
  }
}

/** The paths below the member whose name, with its quotes, lies at `start`..`end`. */
function memberPaths(parent: RawPaths, bytes: Buffer, start: number, end: number): RawPaths | undefined {
  for (const member of parent.members) {
    if (isNamed(bytes, start, end, member.bytes)) return member.paths
  }
  if (parent.members.length === 0 || !bytes.subarray(start, end).includes(backslash)) return undefined
  const name: unknown = JSON.parse(bytes.toString('utf8', start, end))
  return parent.members.find(member => member.name === name)?.paths
}

function isNamed(bytes: Buffer, start: number, end: number, name: Buffer): boolean {
  if (end - start !== name.length + 2) return false
  for (let i = 0; i < name.length; i++) {
    if (bytes[start + 1 + i] !== name[i]) return false
  }
  return true
}

function skipName(bytes: Buffer, at: number): number {
  if (bytes[at] !== quote) throw syntaxError(bytes, at, 'a member name in double quotes')
  return skipString(bytes, at)
}

function skipColon(bytes: Buffer, at: number): number {
  const colonAt = skipSpace(bytes, at)
  if (bytes[colonAt] !== colon) throw syntaxError(bytes, colonAt, '":"')
  return skipSpace(bytes, colonAt + 1)
}

function skipSpace(bytes: Buffer, start: number): number {
  let at = start
  while (at < bytes.length) {
    const byte = bytes[at] as number
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) return at
    at++
  }
  return at
}

function skipScalar(bytes: Buffer, at: number): number {
  const first = at < bytes.length ? (bytes[at] as number) : 0
  if (first === quote) return skipString(bytes, at)
  if (first === minus || isDigit(first)) return skipNumber(bytes, at)
  if (first === 0x74) return skipWord(bytes, at, 'true')
  if (first === 0x66) return skipWord(bytes, at, 'false')
  if (first === 0x6e) return skipWord(bytes, at, 'null')
  throw syntaxError(bytes, at, 'a value')
}

/** RFC 8259 section 7; the bytes are known to be UTF-8. */
function skipString(bytes: Buffer, start: number): number {
  let at = start + 1
  while (at < bytes.length) {
    const byte = bytes[at] as number
    if (byte === quote) return at + 1
    if (byte === backslash) at = skipEscape(bytes, at)
    else if (byte < 0x20) throw syntaxError(bytes, at, 'control characters in a string to be escaped')
    else at++
  }
  throw syntaxError(bytes, at, 'a closing double quote')
}

const simpleEscapes = new Set(Buffer.from('"\\/bfnrt'))

function skipEscape(bytes: Buffer, start: number): number {
  const kind = bytes[start + 1]
  if (kind !== undefined && simpleEscapes.has(kind)) return start + 2
  if (kind !== 0x75) throw syntaxError(bytes, start + 1, 'one of "\\/bfnrtu after a backslash')
  for (let at = start + 2; at < start + 6; at++) {
    if (!isHexDigit(bytes[at])) throw syntaxError(bytes, at, 'four hexadecimal digits after \\u')
  }
  return start + 6
}

/** RFC 8259 section 6. */
function skipNumber(bytes: Buffer, start: number): number {
  let at = bytes[start] === minus ? start + 1 : start
  at = bytes[at] === zero ? at + 1 : skipDigits(bytes, at)
  if (bytes[at] === dot) at = skipDigits(bytes, at + 1)
  if (bytes[at] === 0x65 || bytes[at] === 0x45) {
    const isSigned = bytes[at + 1] === 0x2b || bytes[at + 1] === minus
    at = skipDigits(bytes, isSigned ? at + 2 : at + 1)
  }
  return at
}

function skipDigits(bytes: Buffer, start: number): number {
  let at = start
  while (at < bytes.length && isDigit(bytes[at] as number)) at++
  if (at === start) throw syntaxError(bytes, at, 'a digit')
  return at
}

function skipWord(bytes: Buffer, start: number, word: string): number {
  for (let i = 1; i < word.length; i++) {
    if (bytes[start + i] !== word.charCodeAt(i)) throw syntaxError(bytes, start, 'a value')
  }
  return start + word.length
}

function isDigit(byte: number): boolean {
  return byte >= zero && byte <= nine
}

function isHexDigit(byte: number | undefined): boolean {
  if (byte === undefined) return false
  const lower = byte | 0x20
  return isDigit(byte) || (lower >= 0x61 && lower <= 0x66)
}

/** The document as text, each raw part replaced by its number. */
function withPlaceholders(bytes: Buffer, slices: readonly number[]): string {
  let text = ''
  let from = 0
  for (let i = 0; i < slices.length; i += 2) {
    text += bytes.toString('utf8', from, slices[i]) + i / 2
    from = slices[i + 1] as number
  }
  return text + bytes.toString('utf8', from)
}

/** Puts the bytes where `withPlaceholders` left numbers; goes no deeper than the paths do. */
function withRawParts(value: unknown, paths: RawPaths, bytes: Buffer, slices: readonly number[]): unknown {
  if (paths.isRaw) {
    assert(typeof value === 'number')
    return bytes.subarray(slices[value * 2], slices[value * 2 + 1])
  }
  if (Array.isArray(value)) {
    if (paths.elements === undefined) return value
    for (let i = 0; i < value.length; i++) value[i] = withRawParts(value[i], paths.elements, bytes, slices)
  } else if (isObject(value)) {
    for (const { name, paths: below } of paths.members) {
      if (Object.hasOwn(value, name)) value[name] = withRawParts(value[name], below, bytes, slices)
    }
  }
  return value
}

/**
 * Members of all objects of a parsed envelope: fewer than the scanner saw if any was repeated, since `JSON.parse`
 * keeps the last only. Recursive, but the scanner has bounded the depth.
 */
function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  let count = 0
  if (Array.isArray(value)) {
    for (const element of value) count += countMembers(element)
  } else if (isObject(value)) {
    for (const name in value) count += 1 + countMembers(value[name])
  }
  return count
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

// DEL and the C1 controls, any escape but \" \\ \/, and the one name that a later `target[name] = value` would take
// for a prototype. C0 controls and lone surrogates can only come as escapes: raw ones are no JSON and no UTF-8.
const suspectPattern = /[\u007f-\u009f]|\\[^"\\/]|__proto__/

// Cc is U+0000..U+001F and U+007F..U+009F; with the u flag, Cs matches a surrogate only when it stands alone.
const forbiddenPattern = /[\p{Cc}\p{Cs}]/u

type Level = { names: Set<string> | undefined; token: string | number; isNameNext: boolean }

/** Walks the text of an envelope that is known to be JSON, and throws what breaks the rules on names and strings. */
function checkEnvelope(text: string): void {
  const repeated: Fault[] = []
  const forbidden: Fault[] = []
  const levels: Level[] = []
  let at = 0
  while (at < text.length) {
    const character = text[at]
    const level = levels.at(-1)
    if (character === '"') {
      const end = stringEnd(text, at)
      const decoded = String(JSON.parse(text.slice(at, end)))
      if (level?.isNameNext) checkName(decoded, levels, repeated, forbidden)
      else checkCharacters(decoded, levels, 'must', forbidden)
      at = end
      continue
    }
    if (character === '{') levels.push({ names: new Set(), token: '', isNameNext: true })
    else if (character === '[') levels.push({ names: undefined, token: 0, isNameNext: false })
    else if (character === '}' || character === ']') levels.pop()
    else if (character === ',' && level) startNext(level)
    at++
  }
  if (repeated.length > 0) throw repeatedMembers(repeated)
  if (forbidden.length > 0) throw invalid(forbidden)
}

/** The index behind the closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  let at = start + 1
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at + 1
}

function startNext(level: Level): void {
  if (typeof level.token === 'number') level.token++
  else level.isNameNext = true
}

function checkName(name: string, levels: readonly Level[], repeated: Fault[], forbidden: Fault[]): void {
  const level = levels.at(-1)
  assert(level?.names)
  checkCharacters(name, levels.slice(0, -1), 'has a member name that must', forbidden)
  level.isNameNext = false
  level.token = name
  if (level.names.has(name)) addFault(repeated, levels, 'is given more than once')
  if (name === '__proto__') addFault(forbidden, levels, 'is not a name that a member can have')
  level.names.add(name)
}

function checkCharacters(text: string, levels: readonly Level[], lead: string, faults: Fault[]): void {
  const character = forbiddenPattern.exec(text)?.[0]
  if (character === undefined) return
  const code = character.charCodeAt(0)
  const what = code >= 0xd800 ? 'lone surrogate' : 'control character'
  addFault(
    faults,
    levels,
    `${lead} not contain the ${what} U+${code.toString(16).toUpperCase().padStart(4, '0')}`,
  )
}

function addFault(faults: Fault[], levels: readonly Level[], detail: string): void {
  if (faults.length < faultsMax) faults.push({ pointer: pointerTo(levels), detail })
}

/** Characters of a name that a pointer shows: a name can be as long as the body. */
const tokenLengthMax = 64

function pointerTo(levels: readonly Level[]): string {
  return levels
    .map(({ token }) => String(token))
    .map(token => (token.length > tokenLengthMax ? `${token.slice(0, tokenLengthMax)}…` : token))
    .map(
      token =>
        `/${token
          .replaceAll('~', '~0')
          .replaceAll('/', '~1')
          .replace(/[\p{Cc}\p{Cs}]/gu, '\ufffd')}`,
    )
    .join('')
}

function repeatedMembers(faults: readonly Fault[]): AppError {
  const pointers = faults.map(({ pointer }) => pointer).join(', ')
  return new AppError('invalid_json', `Members must not be repeated: ${pointers}.`, { faults })
}

function notUtf8(bytes: Buffer): AppError {
  // Decoding puts U+FFFD in place of what is broken, so the copy differs from the original there, or just behind.
  const decoded = Buffer.from(bytes.toString('utf8'))
  const at = bytes.findIndex((byte, i) => byte !== decoded[i])
  return new AppError('invalid_utf8', `The body must be UTF-8 (RFC 3629); it is broken near byte ${at}.`)
}

function tooDeep(bytes: Buffer, at: number, depthMax: number): AppError {
  return new AppError('invalid_json', `${placeOf(bytes, at)}: nested deeper than ${depthMax} levels.`)
}

function tooMany(bytes: Buffer, at: number): AppError {
  return new AppError('invalid_json', `${placeOf(bytes, at)}: more than ${envelopeValuesMax} values.`)
}

const byteOrderMark = Buffer.from('\ufeff')

function syntaxError(bytes: Buffer, at: number, expected: string): AppError {
  if (bytes.subarray(0, 3).equals(byteOrderMark)) {
    return new AppError(
      'invalid_json',
      'The body must not start with a byte order mark (RFC 8259 section 8.1).',
    )
  }
  const found = at < bytes.length ? '' : ', found the end of the body'
  return new AppError('invalid_json', `${placeOf(bytes, at)}: expected ${expected}${found}.`)
}

/** Lines and columns count from 1, columns in UTF-16 units as editors do; the byte counts from 0. */
function placeOf(bytes: Buffer, at: number): string {
  let line = 1
  let lineStart = 0
  for (let i = 0; i < at; i++) {
    if (bytes[i] !== 0x0a) continue
    line++
    lineStart = i + 1
  }
  const column = bytes.toString('utf8', lineStart, at).length + 1
  return `Line ${line}, column ${column} (byte ${at})`
}
