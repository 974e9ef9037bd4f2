/**
 * One connection of undici that tells a request what it is sent on. undici's own handlers learn neither the peer's
 * address nor whether the socket has carried a request before, and both decide something here.
 */

import type { Socket } from 'node:net'
import { Client } from 'undici'
import type { buildConnector, Dispatcher } from 'undici'

/** What a connection holds at the moment. */
export type Line = {
  socket: Socket | undefined
  /** Read once per socket, because it is asked for with each request. */
  remoteAddress: string | undefined
  /** It has carried a request: the receiver may close it at any time, even while the next one is on its way. */
  isUsed: boolean
}

/** A handler that is told the line of the connection that took its request, once it has been taken. */
export interface LineHandler extends Dispatcher.DispatchHandler {
  line: Line | undefined
}

export type ConnectionOptions = Omit<Client.Options, 'connect'> & { connect: buildConnector.connector }

export class Connection extends Client {
  readonly #line: Line

  constructor(origin: string | URL, { connect, ...options }: ConnectionOptions) {
    const line: Line = { socket: undefined, remoteAddress: undefined, isUsed: false }
    super(origin, {
      ...options,
      connect: (target, callback) =>
        connect(target, (...result) => {
          line.socket = result[1] ?? undefined
          line.remoteAddress = line.socket?.remoteAddress
          line.isUsed = false
          callback(...result)
        }),
    })
    this.#line = line
  }

  /** The handler must be a `LineHandler`. */
  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    ;(handler as LineHandler).line = this.#line
    return super.dispatch(options, handler)
  }
}
