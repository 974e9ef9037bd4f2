/**
 * The log: JSON lines on standard output, one wide line per thing that happened. No secret reaches it:
 * what could hold one is not logged, and the redaction below is the second net.
 */
import { pino, stdSerializers } from 'pino'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

export type Log = {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export function createLog(options: { level: LogLevel; role: string }): Log {
  return pino({
    level: options.level,
    base: { service: 'hookseal', role: options.role, pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: label => ({ level: label }) },
    serializers: { err: describeError },
    redact: [
      'authorization',
      'secret',
      'signingKey',
      'password',
      '*.authorization',
      '*.secret',
      '*.signingKey',
      '*.password',
    ],
  })
}

/** PostgreSQL repeats the failing row in `detail` and `where`: a payload, or what else a tenant stored. */
function describeError(error: Error): object {
  const { detail, where, internalQuery, ...fields } = stdSerializers.err(error) as Record<string, unknown>
  return fields
}
