/**
 * The foundation: tenants, who may call, subscriptions with their endpoints and keys, events, deliveries.
 * Locks: none that matter, everything here is new. Nothing older can run beside it.
 */
import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(foundationSql)
}

export function down(): Promise<void> {
  throw new Error('Migrations only roll forward: restore a backup to go back.')
}

const foundationSql = /* sql */ `
create table organizations (
  id uuid primary key,
  name text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz
);

-- version counts the changes of what its events are matched against. Every change bumps it first, and that
-- row lock also orders the changes of one workspace.
create table workspaces (
  id uuid primary key,
  organization_id uuid not null references organizations (id),
  name text not null,
  version bigint not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  unique (organization_id, id)
);

-- A key without a workspace belongs to its whole organization.
create table access_keys (
  id uuid primary key,
  organization_id uuid not null references organizations (id),
  workspace_id uuid,
  name text not null,
  scopes text[] not null,
  hint text not null,
  secret_sha256 bytea not null unique,
  expires_at timestamptz,
  created_at timestamptz not null default now(),
  revoked_at timestamptz,
  foreign key (organization_id, workspace_id) references workspaces (organization_id, id)
);
create index access_keys_by_owner on access_keys (organization_id, workspace_id, id);

create table trusted_issuers (
  id uuid primary key,
  organization_id uuid not null references organizations (id),
  workspace_id uuid,
  issuer text not null,
  audience text not null,
  jwks_url text,
  jwks jsonb,
  algorithms text[] not null,
  scopes text[] not null,
  scope_claim text not null,
  created_at timestamptz not null default now(),
  removed_at timestamptz,
  foreign key (organization_id, workspace_id) references workspaces (organization_id, id),
  check ((jwks_url is null) <> (jwks is null))
);
create index trusted_issuers_by_issuer on trusted_issuers (issuer) where removed_at is null;
create index trusted_issuers_by_owner on trusted_issuers (organization_id, workspace_id, id);

-- secrets is an encrypted document: custom header values and the basic auth password.
create table endpoints (
  id uuid primary key,
  workspace_id uuid not null references workspaces (id),
  url text not null,
  method text not null,
  params jsonb not null,
  header_names text[] not null,
  auth_username text,
  secrets text,
  signatures text[] not null,
  timeout_ms integer,
  retry_policy jsonb,
  success_status jsonb not null,
  status text not null check (status in ('active', 'disabled')),
  status_reason text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (workspace_id, id)
);

-- A key whose expires_at is set signs until then beside (or instead of) its successor.
create table signing_keys (
  id uuid primary key,
  workspace_id uuid not null,
  endpoint_id uuid not null,
  encrypted text not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  foreign key (workspace_id, endpoint_id) references endpoints (workspace_id, id) on delete cascade
);
create index signing_keys_by_endpoint on signing_keys (workspace_id, endpoint_id, id);

-- created_version: only events published at or after it are matched. changed_version: what a process that
-- holds the workspace in memory has to read again. Deleted rows stay, so that history keeps its names.
create table webhook_subscriptions (
  id uuid primary key,
  workspace_id uuid not null references workspaces (id),
  endpoint_id uuid not null,
  service text not null,
  event text not null,
  event_filters jsonb not null,
  filters_key text not null,
  format text not null,
  name text,
  description text,
  metadata jsonb,
  status text not null check (status in ('active', 'inactive')),
  created_version bigint not null,
  changed_version bigint not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  deleted_at timestamptz,
  unique (workspace_id, id),
  foreign key (workspace_id, endpoint_id) references endpoints (workspace_id, id)
);
create index webhook_subscriptions_by_change on webhook_subscriptions (workspace_id, changed_version);
create index webhook_subscriptions_by_endpoint on webhook_subscriptions (workspace_id, endpoint_id);
create index webhook_subscriptions_identical on webhook_subscriptions (workspace_id, service, event, filters_key)
  where deleted_at is null;

-- A table of its own, because a unique index cannot span the partitions of events.
create table idempotency_keys (
  workspace_id uuid not null,
  key text not null,
  body_sha256 bytea not null,
  event_ids uuid[] not null,
  created_at timestamptz not null default now(),
  primary key (workspace_id, key)
);
create index idempotency_keys_by_age on idempotency_keys (created_at);

-- Events, deliveries and attempts are partitioned by day (ids sort by time), so that a day can be dropped whole. No
-- foreign key touches them: it would block that drop.
create table events (
  workspace_id uuid not null,
  id uuid not null,
  workspace_version bigint not null,
  service text not null,
  event text not null,
  external_id text,
  occurred_at timestamptz,
  payload bytea not null,
  primary key (workspace_id, id)
) partition by range (id);

-- pending: due at next_attempt_at by the job that schedule_number names, unless something holds it.
create table deliveries (
  workspace_id uuid not null,
  id uuid not null,
  event_id uuid not null,
  subscription_id uuid not null,
  endpoint_id uuid not null,
  service text not null,
  event text not null,
  format text not null,
  status text not null check (status in ('pending', 'delivered', 'failed', 'cancelled', 'parked')),
  held_by text check (held_by in ('paused', 'endpoint', 'ordering', 'limit')),
  status_reason text,
  attempts_count integer not null,
  interruptions_count integer not null,
  schedule_number integer not null,
  next_attempt_at timestamptz,
  last_outcome text,
  last_response_status integer,
  updated_at timestamptz not null default now(),
  primary key (workspace_id, id)
) partition by range (id);
create index deliveries_by_subscription on deliveries (subscription_id, id);
create index deliveries_due on deliveries (next_attempt_at) where status = 'pending' and held_by is null;
create index deliveries_pending on deliveries (subscription_id, id) where status = 'pending';
create index deliveries_held on deliveries (workspace_id, subscription_id) where status = 'pending' and held_by is not null;

-- Attempts that have ended, append only. Those on the wire are in flights.
create table attempts (
  workspace_id uuid not null,
  delivery_id uuid not null,
  number integer not null,
  outcome text not null,
  started_at timestamptz not null,
  duration_ms integer not null,
  requests_count integer not null,
  remote_address text,
  error text,
  method text not null,
  url text not null,
  request_headers text not null,
  response_status integer,
  response_headers text,
  response_body bytea,
  response_is_truncated boolean not null default false,
  primary key (delivery_id, number)
) partition by range (delivery_id);

-- What is on the wire: one row for all attempts of a workspace that a worker starts together, written before
-- the first byte leaves and removed when the last of them has ended. A row per batch instead of a row per
-- attempt halves what the database does for a delivery. The arrays run in parallel.
create table flights (
  id uuid primary key,
  workspace_id uuid not null,
  started_at timestamptz not null,
  delivery_ids uuid[] not null,
  event_ids uuid[] not null,
  subscription_ids uuid[] not null,
  formats text[] not null,
  numbers integer[] not null
);
create index flights_by_workspace on flights (workspace_id);
-- Random ids do not compress; trying to costs more than writing them.
alter table flights
  alter column delivery_ids set storage external,
  alter column event_ids set storage external,
  alter column subscription_ids set storage external;

-- Deliveries as a reader sees them: the settled and waiting ones, and those whose first attempt is on the wire.
create view current_deliveries as
select workspace_id, id, event_id, subscription_id, endpoint_id, service, event, format, status, held_by,
       status_reason, attempts_count, next_attempt_at, last_outcome, last_response_status, updated_at
  from deliveries
union all
select f.workspace_id, e.delivery_id, e.event_id, e.subscription_id, s.endpoint_id, s.service, s.event, e.format,
       'pending', null, null, 0, null, null, null, f.started_at
  from flights f
 cross join lateral unnest(f.delivery_ids, f.event_ids, f.subscription_ids, f.formats, f.numbers)
       as e (delivery_id, event_id, subscription_id, format, number)
  join webhook_subscriptions s on s.workspace_id = f.workspace_id and s.id = e.subscription_id
 where e.number = 1
   and not exists (select from deliveries d where d.workspace_id = f.workspace_id and d.id = e.delivery_id);
`
