/**
 * The operator key and the encryption key: as given in the settings, or made at the first start and kept in DATA_DIR.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Config } from './config.ts'
import { parseEncryptionKeys, type EncryptionKey } from './keyring.ts'

export type Keys = { operatorKey: string; encryptionKeys: readonly EncryptionKey[] }

export function operatorKeyPath(dataDir: string): string {
  return join(dataDir, 'operator.key')
}

/** Keys that the settings leave out are read from DATA_DIR, and made there at the first start. */
export async function readKeys(config: Config): Promise<Keys> {
  return {
    operatorKey: config.operatorKey ?? (await keptOperatorKey(config.dataDir)),
    encryptionKeys: config.encryptionKeys ?? (await keptEncryptionKeys(config.dataDir)),
  }
}

async function keptOperatorKey(dataDir: string): Promise<string> {
  const path = operatorKeyPath(dataDir)
  const key = await keptKey(path, newOperatorKey)
  if (key.length < 32)
    throw new Error(`${path} is damaged: it holds no key. Delete it, and a new key is made.`)
  return key
}

async function keptEncryptionKeys(dataDir: string): Promise<readonly EncryptionKey[]> {
  const path = join(dataDir, 'encryption.key')
  const parsed = parseEncryptionKeys(await keptKey(path, newEncryptionKey))
  // A new key would leave everything encrypted so far unreadable, so a damaged file ends the start.
  if ('fault' in parsed)
    throw new Error(`${path} is damaged: ${parsed.fault}. Restore it from a backup of DATA_DIR.`)
  return parsed.keys
}

async function keptKey(path: string, make: () => string): Promise<string> {
  await mkdir(join(path, '..'), { recursive: true })
  try {
    // wx: two processes that start at once agree on the key of the one that was first.
    await using file = await open(path, 'wx', 0o600)
    const key = make()
    await file.writeFile(`${key}\n`)
    await file.sync()
    return key
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return (await readFile(path, 'utf8')).trim()
  }
}

function newOperatorKey(): string {
  return `op_${randomBytes(32).toString('base64url')}`
}

function newEncryptionKey(): string {
  return `k1:${randomBytes(32).toString('base64')}`
}
