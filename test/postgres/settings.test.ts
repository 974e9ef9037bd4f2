/** What our own server is started with. */
import { expect } from 'chai'
import { describe, it } from 'mocha'
import { serverSettings } from '#src/postgres/settings.ts'

describe('settings of our own server', () => {
  const options = { port: 5_555, overrides: {}, platform: 'linux' } as const

  it('never weaken durability', () => {
    for (const name of ['fsync', 'synchronous_commit', 'full_page_writes', 'wal_level']) {
      expect(serverSettings(options), name).not.to.have.property(name)
    }
  })

  it('flush the drive’s cache on macOS, where the default does not', () => {
    expect(serverSettings({ ...options, platform: 'darwin' })).to.include({
      wal_sync_method: 'fsync_writethrough',
    })
    expect(serverSettings(options)).not.to.have.property('wal_sync_method')
  })

  it('can be overridden', () => {
    expect(serverSettings(options)).to.include({ max_connections: '100' })
    expect(serverSettings({ ...options, overrides: { max_connections: '20', fsync: 'off' } })).to.include({
      max_connections: '20',
      fsync: 'off',
    })
  })

  it('keep the server on loopback whatever the overrides say', () => {
    const overrides = { listen_addresses: '*', port: '1', unix_socket_directories: '/tmp' }

    expect(serverSettings({ ...options, overrides })).to.include({
      listen_addresses: '127.0.0.1',
      port: '5555',
      unix_socket_directories: '',
    })
  })
})
