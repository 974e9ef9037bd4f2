/**
 * Settings of our own server, each with its reason. They are given on the command line at every start, so a
 * new release changes them without touching the cluster; what PostgreSQL's own default does well is not
 * here. fsync and synchronous_commit stay on: a 202 for a publish means that it is on disk.
 */

/** Everything the server is started with; `overrides` win, except over where it listens. */
export function serverSettings(options: {
  port: number
  overrides: Readonly<Record<string, string>>
  platform: NodeJS.Platform
}): Record<string, string> {
  return {
    ...(options.platform === 'darwin' ? macSettings : {}),
    ...tuning,
    ...options.overrides,
    // Loopback TCP with a password, not a Unix socket: a socket's path may have 107 bytes at most (a deep
    // DATA_DIR has more), and its folder would have to be open to both the service's and the server's user.
    listen_addresses: '127.0.0.1',
    port: String(options.port),
    unix_socket_directories: '',
  }
}

const tuning: Record<string, string> = {
  // Enough for two service processes with their pools and a person with psql. Each costs memory only in use.
  max_connections: '100',
  // Holds the hot part of a queue: its open rows, and the tip of every index. Small enough for 1 GB machines.
  shared_buffers: '256MB',

  // After a checkpoint the first change of each page is written to the WAL as a whole page of 8 KiB, and the pages a
  // queue changes are written again and again. Checkpoints far apart save both. The price is recovery after a crash,
  // which may have to read this much WAL.
  checkpoint_timeout: '15min',
  max_wal_size: '2GB',
  // Segments are kept for reuse through a quiet hour instead of being deleted and made again in the next peak.
  min_wal_size: '256MB',

  // Every claim and settle leaves a dead row version. The default waits for 20 % of a table to be dead, which
  // in a table of millions is a long tail of dead rows in front of every claim.
  autovacuum_naptime: '10s',
  autovacuum_vacuum_scale_factor: '0.05',
  autovacuum_vacuum_max_threshold: '50000',
  autovacuum_vacuum_insert_scale_factor: '0.1',
  // Statistics of a table that is emptied and filled within minutes are stale at once; a stale plan scans it.
  autovacuum_analyze_scale_factor: '0.05',
  // The default is so gentle that it loses against a queue under load.
  autovacuum_vacuum_cost_limit: '1000',

  // Our statements take a millisecond; compiling one takes a hundred.
  jit: 'off',
  // Parallel workers cost more than they save on short statements, and their shared memory does not fit the
  // 64 MB of /dev/shm that a container has.
  max_parallel_workers_per_gather: '0',
  max_parallel_maintenance_workers: '0',
  // Disks are SSDs: a random page costs about what a sequential one does. The default avoids indexes.
  random_page_cost: '1.1',

  // A service killed inside a long statement must not hold its row locks until that statement ends.
  client_connection_check_interval: '5s',

  // Key values and statement texts are the tenants' data: they stay out of the server's log.
  log_error_verbosity: 'terse',
  log_min_error_statement: 'panic',
  log_checkpoints: 'off',
}

const macSettings: Record<string, string> = {
  // The default on macOS leaves a commit in the drive's cache, where a power cut loses it.
  wal_sync_method: 'fsync_writethrough',
}
