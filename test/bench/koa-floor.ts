/**
 * The floor under every publish: the same framework, the same request and the same reply, but neither
 * authentication nor validation nor database.
 */

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import { offer } from './child.ts'

const commands = {
  /** Starts to listen and gives the port. */
  async listen(): Promise<number> {
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  },
}

export type KoaFloor = typeof commands

const app = new Koa()

app.use(async ctx => {
  const chunks: Buffer[] = []
  for await (const chunk of ctx.req) chunks.push(chunk)
  const { service, event } = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  ctx.status = 202
  ctx.body = { id: randomUUID(), service, event, createdAt: new Date().toISOString() }
})

offer(commands)
