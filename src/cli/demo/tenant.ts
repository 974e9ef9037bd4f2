/** The service's API as the demo's tenant uses it. */

/** Rejects where the reply is not a success, with what it says. */
export type Call = <Reply>(method: 'GET' | 'POST', path: string, body?: object) => Promise<Reply>

/** The calls of who has this access key. */
export function callerOf(url: string, accessKey: string, signal: AbortSignal): Call {
  return async <Reply>(method: string, path: string, body?: object) => {
    const response = await fetch(url + path, {
      method,
      headers: { authorization: `AccessKey ${accessKey}`, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
      signal,
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`)
    return JSON.parse(text) as Reply
  }
}

/** Makes a workspace, as the operator, and an access key for it that can do no more than the demo needs. */
export async function createTenant(call: Call): Promise<{ path: string; accessKey: string }> {
  const organization = await call<{ id: string }>('POST', '/organizations', { name: 'Acme' })
  const workspaces = `/organizations/${organization.id}/workspaces`
  const workspace = await call<{ id: string }>('POST', workspaces, { name: 'Shop' })
  const path = `/workspaces/${workspace.id}`
  const scopes = ['subscriptions:write', 'events:publish', 'deliveries:read']
  const { secret } = await call<{ secret: string }>('POST', `${path}/access-keys`, { name: 'Demo', scopes })
  return { path, accessKey: secret }
}
