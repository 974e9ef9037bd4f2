/**
 * The API on one screen. Access, bodies and replies of each route are declared where it is defined.
 */
import { organizationAccess, workspaceAccess } from './routes/access.ts'
import * as deliveries from './routes/deliveries.ts'
import * as events from './routes/events.ts'
import * as health from './routes/health.ts'
import * as organizations from './routes/organizations.ts'
import * as subscriptions from './routes/webhook-subscriptions.ts'
import type { Route } from './route.ts'

/** What every process answers, also one that only works: whether it is alive and ready. */
export const operatingRoutes: readonly Route[] = [
  health.getLiveness, //                      GET    /healthz
  health.getReadiness, //                     GET    /readyz
]

export const routes: readonly Route[] = [
  ...operatingRoutes,

  organizations.createOrganization, //        POST   /organizations
  organizations.listOrganizations, //         GET    /organizations
  organizations.getOrganization, //           GET    /organizations/{organizationId}
  organizations.updateOrganization, //        PATCH  /organizations/{organizationId}
  organizations.deleteOrganization, //        DELETE /organizations/{organizationId}
  ...organizationAccess, //                          …/access-keys, …/trusted-issuers
  organizations.createWorkspace, //           POST   /organizations/{organizationId}/workspaces
  organizations.listWorkspaces, //            GET    /organizations/{organizationId}/workspaces

  // From here on W, that is /organizations/{organizationId}/workspaces/{workspaceId} or /workspaces/{workspaceId}.
  organizations.getWorkspace, //              GET    W
  organizations.updateWorkspace, //           PATCH  W
  organizations.deleteWorkspace, //           DELETE W
  ...workspaceAccess, //                             W/access-keys, W/trusted-issuers

  subscriptions.listAvailableWebhooks, //     GET    W/available-webhooks
  subscriptions.createSubscription, //        POST   W/webhook-subscriptions
  subscriptions.listSubscriptions, //         GET    W/webhook-subscriptions
  subscriptions.getSubscription, //           GET    W/webhook-subscriptions/{id}
  subscriptions.updateSubscription, //        PATCH  W/webhook-subscriptions/{id}
  subscriptions.deleteSubscription, //        DELETE W/webhook-subscriptions/{id}
  subscriptions.rotateSigningKey, //          POST   W/webhook-subscriptions/{id}/rotate-signing-key
  subscriptions.testSubscription, //          POST   W/webhook-subscriptions/{id}/test
  subscriptions.listSubscriptionLogs, //      GET    W/webhook-subscriptions/{id}/logs
  subscriptions.listSubscriptionLogDetails, // GET   W/webhook-subscriptions/{id}/logs/details

  events.publishEvent, //                     POST   W/events
  events.publishBatch, //                     POST   W/events/batch
  events.listEvents, //                       GET    W/events
  events.getEvent, //                         GET    W/events/{id}
  events.listEventDeliveries, //              GET    W/events/{id}/deliveries

  deliveries.listDeliveries, //               GET    W/deliveries
  deliveries.getDelivery, //                  GET    W/deliveries/{id}
  deliveries.listAttempts, //                 GET    W/deliveries/{id}/attempts
]

/** The paths a route answers under. */
export function pathsOf({ access, path }: Route): string[] {
  if (access.level !== 'workspace') return [path]
  return [`/workspaces/:workspaceId${path}`, `/organizations/:organizationId/workspaces/:workspaceId${path}`]
}
