/**
 * The log: JSON lines on standard output, one wide line per thing that happened. No secret reaches it:
 * what could hold one is not logged, and the redaction below is the second net.
 */
import { pino, stdSerializers, type DestinationStream, type LoggerOptions } from 'pino'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

export type Log = {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Writes to standard output, or to `destination`. */
export function createLog(options: { level: LogLevel; role: string }, destination?: DestinationStream): Log {
  const settings: LoggerOptions = {
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
  }
  return destination === undefined ? pino(settings) : pino(settings, destination)
}

/** In these PostgreSQL repeats the failing row: a payload, or what else a tenant stored. */
const rowFields = new Set(['detail', 'where', 'internalQuery'])

function describeError(error: Error): object {
  const fields = Object.entries(stdSerializers.err(error))
  return Object.fromEntries(fields.filter(([name]) => !rowFields.has(name)))
}
