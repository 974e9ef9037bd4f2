/**
 * Who may do what: the scopes, and who calls.
 */

/** What an access key, a trusted issuer or a session may be allowed to do. */
export const scopes = [
  'workspaces:write',
  'subscriptions:read',
  'subscriptions:write',
  'events:publish',
  'events:read',
  'deliveries:read',
  'deliveries:write',
  'catalogue:write',
  'keys:write',
  'portal:write',
] as const

export type Scope = (typeof scopes)[number]

export type Caller =
  | { kind: 'operator' }
  | {
      kind: 'key' | 'service'
      organizationId: string
      /** Set when the caller is confined to one workspace. */
      workspaceId?: string
      scopes: ReadonlySet<Scope>
    }

/** Whether the caller lives in this organization, and in this workspace when one is named. */
export function isWithin(caller: Caller, organizationId: string, workspaceId?: string): boolean {
  if (caller.kind === 'operator') return true
  if (caller.organizationId !== organizationId) return false
  return caller.workspaceId === undefined || caller.workspaceId === workspaceId
}

export function hasScope(caller: Caller, scope: Scope): boolean {
  return caller.kind === 'operator' || caller.scopes.has(scope)
}

/** Scopes that the caller may not hand on, because it does not hold them itself. */
export function scopesBeyond(caller: Caller, wanted: readonly Scope[]): Scope[] {
  return wanted.filter(scope => !hasScope(caller, scope))
}

export function isScope(text: string): text is Scope {
  return (scopes as readonly string[]).includes(text)
}
