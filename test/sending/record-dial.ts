/**
 * Records what the guard lets through, and dials it for real only on loopback: a broken guard must fail a test, not
 * knock at somebody's door.
 */

import net from 'node:net'
import { makeDial } from '#src/sending/connector.ts'
import type { Dial, DialTarget } from '#src/sending/connector.ts'

export function recordDial(dial: Dial = makeDial()): { dial: Dial; dialled: DialTarget[] } {
  const dialled: DialTarget[] = []
  return {
    dialled,
    dial(target, callback) {
      dialled.push(target)
      const addresses = target.addresses.map(({ address }) => address)
      const all = net.isIP(target.hostname) === 0 ? addresses : [...addresses, target.hostname]
      if (all.every(address => address.startsWith('127.'))) dial(target, callback)
      else callback(new Error('only loopback is dialled in tests'), null)
    },
  }
}
