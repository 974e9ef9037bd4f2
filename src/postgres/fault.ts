/**
 * What can keep our own PostgreSQL from starting. The code is the contract; the message is for the person
 * who starts the service: it names the folder or program, and says what to do.
 */

export type PostgresFaultCode =
  /** The platform package is not installed, or there is none for this platform. */
  | 'postgres_missing'
  /** The programs are there but do not run here. */
  | 'postgres_unusable'
  /** The data folder cannot be written, or belongs to someone else. */
  | 'data_dir_unusable'
  /** Another process runs a service on the same data folder. */
  | 'data_dir_in_use'
  /** The cluster was made by another major version. */
  | 'cluster_version'
  /** The cluster could not be made, or is none. */
  | 'cluster_unusable'
  /** The port that was asked for is taken. */
  | 'port_in_use'
  /** The server did not come up; the message ends with what it wrote to its log. */
  | 'start_failed'

export class PostgresFault extends Error {
  readonly code: PostgresFaultCode

  constructor(code: PostgresFaultCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options)
    this.name = 'PostgresFault'
    this.code = code
  }
}

/** The way out that every message may offer: a PostgreSQL of the operator's own. */
export const bringYourOwn =
  'To use a PostgreSQL of your own instead, set DATABASE_URL (postgres://user:password@host:5432/database).'
