/**
 * Processes of the benchmark's own (receiver, sender, load, floor, database) and the calls between them and
 * `main.ts`: a child offers named commands, the parent calls them. A child ends when its channel closes. That
 * is how the parent ends it, and also what happens when the parent is killed, so nothing is left behind.
 */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export type Commands = Record<string, (...input: never[]) => unknown>

export type Child<C extends Commands> = {
  /** Runs a command in the child; rejects with the child's error, or when the child ends first. */
  call<Name extends keyof C>(name: Name, ...input: Parameters<C[Name]>): Promise<Awaited<ReturnType<C[Name]>>>
  /** Closes the channel and waits until the process has ended; kills it after 15 s. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Starts a file of this folder as a process. Aborting `signal` ends it. Its output goes to stderr. */
export function startChild<C extends Commands>(file: `./${string}.ts`, signal: AbortSignal): Child<C> {
  signal.throwIfAborted()
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), {
    // Keeps typed arrays as they are.
    serialization: 'advanced',
    stdio: ['ignore', process.stderr, process.stderr, 'ipc'],
    // A group of its own: Ctrl-C in a terminal reaches the parent alone, which then ends its children in order.
    detached: true,
  })
  const calls = new Map<number, PromiseWithResolvers<unknown>>()
  const exited = once(child, 'exit')
  let callsCount = 0

  child.on('message', ({ id, value, error }: Answer) => {
    const call = calls.get(id)
    calls.delete(id)
    if (error === undefined) call?.resolve(value)
    else call?.reject(error)
  })
  void exited.then(() => {
    for (const call of calls.values()) call.reject(new Error(`${file} ended while it was asked something`))
  })

  const disconnect = (): void => {
    if (child.connected) child.disconnect()
  }
  signal.addEventListener('abort', disconnect)

  return {
    call(name, ...input) {
      const call = Promise.withResolvers<unknown>()
      const id = ++callsCount
      calls.set(id, call)
      const question: Question = { id, name: String(name), input }
      child.send(question, error => error && call.reject(error))
      return call.promise as Promise<never>
    },
    async [Symbol.asyncDispose]() {
      signal.removeEventListener('abort', disconnect)
      disconnect()
      const killTimer = setTimeout(() => child.kill('SIGKILL'), endMs)
      await exited
      clearTimeout(killTimer)
    },
  }
}

/** In the child: offers its commands to the parent, and ends the process, after `onEnd`, with the channel. */
export function offer(commands: Commands, onEnd: () => Promise<void> = async () => {}): void {
  const byName = new Map(Object.entries(commands))

  const answer = async ({ id, name, input }: Question): Promise<void> => {
    const reply: Answer = { id }
    try {
      reply.value = await byName.get(name)?.(...(input as never[]))
    } catch (error) {
      reply.error = error
    }
    if (process.connected) process.send?.(reply)
  }
  const end = async (): Promise<void> => {
    await Promise.race([onEnd(), delay(endMs)])
    process.exit()
  }
  process.on('message', (question: Question) => void answer(question))
  process.once('disconnect', () => void end())
}

type Question = { id: number; name: string; input: unknown[] }
type Answer = { id: number; value?: unknown; error?: unknown }

const endMs = 15_000
