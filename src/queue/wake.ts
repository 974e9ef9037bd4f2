/**
 * Wakes workers when there is something to do, so that an idle system delivers in milliseconds and not after a
 * poll. In this process by a call, in others by LISTEN/NOTIFY over at most one connection. Only a hint: a lost
 * one costs a poll interval and nothing else.
 */
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import type { Db } from '../store/db.ts'

export type Wake = {
  /** There is work: call after the commit that made it. */
  notify(): void
  /** Calls back whenever there may be work; returns the way to stop that. */
  onWake(callback: () => void): () => void
  stop(): Promise<void>
}

export type WakeOptions = {
  db: Db
  url: string
  /** Whether to listen to other processes: only workers do. */
  listen: boolean
  onError: (error: Error) => void
}

const channel = 'hookseal_wake'

/** One NOTIFY in this time is enough: a woken worker takes all there is. */
const notifyIntervalMs = 10

const reconnectDelayMs = 1_000

export function createWake(options: WakeOptions): Wake {
  const callbacks = new Set<() => void>()
  const wakeAll = () => callbacks.forEach(callback => callback())
  /** So that a process does not wake itself a second time by what it tells the others. */
  const ownName = randomUUID()
  let isStopped = false
  let listener: pg.Client | undefined
  let reconnectTimer: NodeJS.Timeout | undefined
  let notifyTimer: NodeJS.Timeout | undefined

  async function listen(): Promise<void> {
    const client = new pg.Client({
      connectionString: options.url,
      application_name: 'hookseal wake',
      keepAlive: true,
    })
    client.on('error', options.onError)
    client.on('end', listenAgain)
    client.on('notification', message => {
      if (message.payload !== ownName) wakeAll()
    })
    try {
      await client.connect()
      await client.query(`listen ${channel}`)
      listener = client
      // What was said while nobody listened is lost, so look once.
      wakeAll()
    } catch (error) {
      options.onError(error as Error)
      await client.end().catch(() => undefined) // It never connected; there is nothing to end.
      listenAgain()
    }
  }

  function listenAgain(): void {
    listener = undefined
    if (isStopped || reconnectTimer !== undefined) return
    reconnectTimer = setTimeout(() => {
      reconnectTimer = undefined
      void listen()
    }, reconnectDelayMs)
  }

  function sendNotify(): void {
    notifyTimer = undefined
    if (isStopped) return
    options.db.raw('select pg_notify(?, ?)', [channel, ownName]).catch(options.onError)
  }

  if (options.listen) void listen()

  return {
    notify() {
      wakeAll()
      notifyTimer ??= setTimeout(sendNotify, notifyIntervalMs)
    },
    onWake(callback) {
      callbacks.add(callback)
      return () => callbacks.delete(callback)
    },
    async stop() {
      isStopped = true
      clearTimeout(reconnectTimer)
      clearTimeout(notifyTimer)
      await listener?.end()
    },
  }
}
