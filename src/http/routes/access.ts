/** What lets clients in: access keys and trusted issuers, of an organization or of one workspace. */
import type { Scope } from '../../domain/access.ts'
import type { Owner } from '../../domain/tenancy.ts'
import * as accessKeys from '../../services/access-keys.ts'
import * as trustedIssuers from '../../services/trusted-issuers.ts'
import type { PageQuery } from '../../store/db.ts'
import { presentAccessKey, presentPage, presentTrustedIssuer } from '../present.ts'
import type { Access, Route, RouteRequest } from '../route.ts'

type Level = { prefix: string; access: Access; suffix: string; owner: (request: RouteRequest) => Owner }

const organizationLevel: Level = {
  prefix: '/organizations/:organizationId',
  access: { level: 'organization', scope: 'keys:write' },
  suffix: 'OfOrganization',
  owner: ({ organizationId }) => ({ organizationId, workspaceId: null }),
}

const workspaceLevel: Level = {
  prefix: '',
  access: { level: 'workspace', scope: 'keys:write' },
  suffix: 'OfWorkspace',
  owner: ({ organizationId, workspaceId }) => ({ organizationId, workspaceId }),
}

function accessKeyRoutes({ prefix, access, suffix, owner }: Level): Route[] {
  return [
    {
      method: 'post',
      path: `${prefix}/access-keys`,
      operationId: `createAccessKey${suffix}`,
      summary: 'Create an access key; its secret is shown this once',
      access,
      body: 'access-key-create',
      replies: { 201: 'access-key-created' },
      async handle(request) {
        const { name, scopes, expiresAt } = request.body as {
          name: string
          scopes: Scope[]
          expiresAt?: string
        }
        const input = { name, scopes, expiresAt: expiresAt === undefined ? null : new Date(expiresAt) }
        const made = await accessKeys.createAccessKey(request.deps, request.caller, owner(request), input)
        return { status: 201, body: { ...presentAccessKey(made.key), secret: made.secret } }
      },
    },
    {
      method: 'get',
      path: `${prefix}/access-keys`,
      operationId: `listAccessKeys${suffix}`,
      summary: 'List access keys',
      access,
      query: 'page-query',
      replies: { 200: 'access-keys-page' },
      async handle(request) {
        const page = await accessKeys.listAccessKeys(request.deps, owner(request), request.query as PageQuery)
        return { status: 200, body: presentPage(page, presentAccessKey) }
      },
    },
    {
      method: 'delete',
      path: `${prefix}/access-keys/:id`,
      operationId: `revokeAccessKey${suffix}`,
      summary: 'Revoke an access key; holds on every process within 5 s',
      access,
      replies: { 204: null },
      async handle(request) {
        await accessKeys.revokeAccessKey(request.deps, owner(request), request.id)
        return { status: 204 }
      },
    },
  ]
}

function trustedIssuerRoutes({ prefix, access, suffix, owner }: Level): Route[] {
  return [
    {
      method: 'post',
      path: `${prefix}/trusted-issuers`,
      operationId: `createTrustedIssuer${suffix}`,
      summary: 'Trust the tokens of an issuer',
      access,
      body: 'trusted-issuer-create',
      replies: { 201: 'trusted-issuer' },
      async handle(request) {
        const input = request.body as trustedIssuers.TrustedIssuerInput
        const made = await trustedIssuers.createTrustedIssuer(
          request.deps,
          request.caller,
          owner(request),
          input,
        )
        return { status: 201, body: presentTrustedIssuer(made) }
      },
    },
    {
      method: 'get',
      path: `${prefix}/trusted-issuers`,
      operationId: `listTrustedIssuers${suffix}`,
      summary: 'List trusted issuers',
      access,
      query: 'page-query',
      replies: { 200: 'trusted-issuers-page' },
      async handle(request) {
        const page = await trustedIssuers.listTrustedIssuers(
          request.deps,
          owner(request),
          request.query as PageQuery,
        )
        return { status: 200, body: presentPage(page, presentTrustedIssuer) }
      },
    },
    {
      method: 'delete',
      path: `${prefix}/trusted-issuers/:id`,
      operationId: `removeTrustedIssuer${suffix}`,
      summary: 'Trust an issuer no more',
      access,
      replies: { 204: null },
      async handle(request) {
        await trustedIssuers.removeTrustedIssuer(request.deps, owner(request), request.id)
        return { status: 204 }
      },
    },
  ]
}

export const organizationAccess = [
  ...accessKeyRoutes(organizationLevel),
  ...trustedIssuerRoutes(organizationLevel),
]

export const workspaceAccess = [...accessKeyRoutes(workspaceLevel), ...trustedIssuerRoutes(workspaceLevel)]
