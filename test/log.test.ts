/** The log is read by people who may not see what tenants stored, so what could hold it is left out. */
import { expect } from 'chai'
import { describe, it } from 'mocha'
import { createLog } from '#src/log.ts'

describe('the log', () => {
  function logged(write: (log: ReturnType<typeof createLog>) => void): Record<string, unknown> {
    let text = ''
    write(createLog({ level: 'info', role: 'all' }, { write: line => (text += line) }))
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
  }

  it('says when, what and by which role, a line of JSON each', () => {
    const line = logged(log => log.info({ deliveryId: 'd1' }, 'delivery.attempted'))
    expect(line).to.include({ level: 'info', role: 'all', deliveryId: 'd1', msg: 'delivery.attempted' })
    expect(new Date(line['time'] as string).getTime()).to.be.closeTo(Date.now(), 60_000)
  })

  it('keeps the code and the message of an error of the database, and not the row that it repeats', () => {
    const error = Object.assign(new Error('null value in column "workspace_id"'), {
      code: '23502',
      detail: 'Failing row contains (payload of a tenant).',
      where: 'payload of a tenant',
    })
    const line = logged(log => log.warn({ err: error }, 'publish.group_failed'))
    expect(line['err']).to.include({ code: '23502', message: 'null value in column "workspace_id"' })
    expect(JSON.stringify(line)).not.to.include('payload of a tenant')
  })

  for (const name of ['authorization', 'secret', 'signingKey', 'password']) {
    it(`hides what is called ${name}`, () => {
      const line = logged(log => log.info({ [name]: 'hunter2', within: { [name]: 'hunter2' } }, 'x'))
      expect(JSON.stringify(line)).not.to.include('hunter2')
    })
  }

  it('is silent below its level', () => {
    expect(logged(log => log.debug({}, 'x'))).to.deep.equal({})
  })
})
