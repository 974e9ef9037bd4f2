/**
 * How the secrets of an endpoint are kept: encrypted, and bound to the very row they belong to, so that a row
 * copied over another cannot be decrypted.
 */
import type { EndpointSecrets } from '../domain/subscription.ts'
import type { Keyring } from '../keyring.ts'

type WithKeyring = { keyring: Keyring }

export async function encryptEndpointSecrets(
  deps: WithKeyring,
  workspaceId: string,
  endpointId: string,
  secrets: EndpointSecrets,
): Promise<string | null> {
  if (Object.keys(secrets.headers).length === 0 && secrets.password === undefined) return null
  return deps.keyring.encrypt(JSON.stringify(secrets), [workspaceId, endpointId, 'secrets'])
}

/** Throws SecretUnavailable. */
export async function decryptEndpointSecrets(
  deps: WithKeyring,
  workspaceId: string,
  endpointId: string,
  encrypted: string | null,
): Promise<EndpointSecrets> {
  if (encrypted === null) return { headers: {} }
  return JSON.parse(
    await deps.keyring.decrypt(encrypted, [workspaceId, endpointId, 'secrets']),
  ) as EndpointSecrets
}

export async function encryptSigningKey(
  deps: WithKeyring,
  workspaceId: string,
  endpointId: string,
  keyId: string,
  signingKey: string,
): Promise<string> {
  return deps.keyring.encrypt(signingKey, [workspaceId, endpointId, keyId])
}

/** Throws SecretUnavailable. */
export async function decryptSigningKey(
  deps: WithKeyring,
  workspaceId: string,
  endpointId: string,
  keyId: string,
  encrypted: string,
): Promise<string> {
  return deps.keyring.decrypt(encrypted, [workspaceId, endpointId, keyId])
}
