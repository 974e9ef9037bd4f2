/** Organizations and their workspaces. */
import * as organizations from '../../services/organizations.ts'
import * as workspaces from '../../services/workspaces.ts'
import type { PageQuery } from '../../store/db.ts'
import { presentOrganization, presentPage, presentWorkspace } from '../present.ts'
import type { Route } from '../route.ts'

type Named = { name: string }

export const createOrganization: Route = {
  method: 'post',
  path: '/organizations',
  operationId: 'createOrganization',
  summary: 'Create an organization',
  access: { level: 'operator' },
  body: 'organization-create',
  replies: { 201: 'organization' },
  async handle({ deps, body }) {
    const organization = await organizations.createOrganization(deps, body as Named)
    return created(`/organizations/${organization.id}`, presentOrganization(organization))
  },
}

export const listOrganizations: Route = {
  method: 'get',
  path: '/organizations',
  operationId: 'listOrganizations',
  summary: 'List organizations',
  access: { level: 'operator' },
  query: 'page-query',
  replies: { 200: 'organizations-page' },
  async handle({ deps, query }) {
    const page = await organizations.listOrganizations(deps, query as PageQuery)
    return { status: 200, body: presentPage(page, presentOrganization) }
  },
}

export const getOrganization: Route = {
  method: 'get',
  path: '/organizations/:organizationId',
  operationId: 'getOrganization',
  summary: 'Get an organization',
  access: { level: 'organization', scope: undefined },
  replies: { 200: 'organization' },
  async handle({ deps, organizationId }) {
    return {
      status: 200,
      body: presentOrganization(await organizations.getOrganization(deps, organizationId)),
    }
  },
}

export const updateOrganization: Route = {
  method: 'patch',
  path: '/organizations/:organizationId',
  operationId: 'updateOrganization',
  summary: 'Rename an organization',
  access: { level: 'operator' },
  body: 'organization-patch',
  replies: { 200: 'organization' },
  async handle({ deps, organizationId, body }) {
    const organization = await organizations.renameOrganization(deps, organizationId, body as Named)
    return { status: 200, body: presentOrganization(organization) }
  },
}

export const deleteOrganization: Route = {
  method: 'delete',
  path: '/organizations/:organizationId',
  operationId: 'deleteOrganization',
  summary: 'Delete an organization with all that it owns',
  access: { level: 'operator' },
  replies: { 204: null },
  async handle({ deps, organizationId }) {
    await organizations.removeOrganization(deps, organizationId)
    return { status: 204 }
  },
}

export const createWorkspace: Route = {
  method: 'post',
  path: '/organizations/:organizationId/workspaces',
  operationId: 'createWorkspace',
  summary: 'Create a workspace',
  access: { level: 'organization', scope: 'workspaces:write' },
  body: 'workspace-create',
  replies: { 201: 'workspace' },
  async handle({ deps, organizationId, body }) {
    const workspace = await workspaces.createWorkspace(deps, organizationId, body as Named)
    return created(`/organizations/${organizationId}/workspaces/${workspace.id}`, presentWorkspace(workspace))
  },
}

export const listWorkspaces: Route = {
  method: 'get',
  path: '/organizations/:organizationId/workspaces',
  operationId: 'listWorkspaces',
  summary: 'List the workspaces of an organization',
  access: { level: 'organization', scope: undefined },
  query: 'page-query',
  replies: { 200: 'workspaces-page' },
  async handle({ deps, organizationId, query }) {
    const page = await workspaces.listWorkspaces(deps, organizationId, query as PageQuery)
    return { status: 200, body: presentPage(page, presentWorkspace) }
  },
}

export const getWorkspace: Route = {
  method: 'get',
  path: '',
  operationId: 'getWorkspace',
  summary: 'Get a workspace',
  access: { level: 'workspace', scope: undefined },
  replies: { 200: 'workspace' },
  async handle({ deps, organizationId, workspaceId }) {
    return {
      status: 200,
      body: presentWorkspace(await workspaces.getWorkspace(deps, organizationId, workspaceId)),
    }
  },
}

export const updateWorkspace: Route = {
  method: 'patch',
  path: '',
  operationId: 'updateWorkspace',
  summary: 'Rename a workspace',
  access: { level: 'workspace', scope: 'workspaces:write' },
  body: 'workspace-patch',
  replies: { 200: 'workspace' },
  async handle({ deps, organizationId, workspaceId, body }) {
    const workspace = await workspaces.renameWorkspace(deps, organizationId, workspaceId, body as Named)
    return { status: 200, body: presentWorkspace(workspace) }
  },
}

export const deleteWorkspace: Route = {
  method: 'delete',
  path: '',
  operationId: 'deleteWorkspace',
  summary: 'Delete a workspace with all that it owns',
  access: { level: 'workspace', scope: 'workspaces:write' },
  replies: { 204: null },
  async handle({ deps, organizationId, workspaceId }) {
    await workspaces.removeWorkspace(deps, organizationId, workspaceId)
    return { status: 204 }
  },
}

function created(location: string, body: unknown) {
  return { status: 201, body, headers: { location } }
}
