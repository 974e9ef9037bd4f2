/**
 * Organizations, their workspaces, and what lets a client in: access keys and trusted issuers.
 */
import type { Scope } from './access.ts'

export type Organization = { id: string; name: string; createdAt: Date; updatedAt: Date }

export type Workspace = { id: string; organizationId: string; name: string; createdAt: Date; updatedAt: Date }

/** Where keys and issuers live: an organization as a whole, or one of its workspaces. */
export type Owner = { organizationId: string; workspaceId: string | null }

export type AccessKey = Owner & {
  id: string
  name: string
  scopes: Scope[]
  /** The first characters of the secret, by which people tell keys apart. */
  hint: string
  expiresAt: Date | null
  createdAt: Date
}

export type TrustedIssuer = Owner & {
  id: string
  issuer: string
  audience: string
  jwksUrl: string | null
  jwks: { keys: Record<string, unknown>[] } | null
  algorithms: string[]
  scopes: Scope[]
  /** The claim that holds the token's scopes: a list, or a string with spaces between. */
  scopeClaim: string
  createdAt: Date
}
