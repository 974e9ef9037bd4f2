import { mock } from 'node:test'
import { expect } from 'chai'
import { afterEach, beforeEach, describe, it } from 'mocha'
import { createSlots, slotLimits, type Slots } from '#src/jobs/slots.ts'

const { perEndpointMax, perOriginMax, inFlightMax, waitMaxMs } = slotLimits

function sizeOf({ inFlight, firstWaiting, retriesWaiting }: Slots): number {
  return inFlight + firstWaiting + retriesWaiting
}

describe('the slots', () => {
  let nowMs: number
  let freedCount: number
  let slots: Slots
  /** Names of what has started, in that order; of what was given back; and how to end what runs. */
  let started: string[]
  let givenBack: string[]
  let running: Map<string, () => void>

  beforeEach(() => {
    mock.timers.enable({ apis: ['setInterval', 'setTimeout'] })
    nowMs = 0
    freedCount = 0
    started = []
    givenBack = []
    running = new Map()
    slots = createSlots({ now: () => nowMs, onFree: () => freedCount++ })
  })

  afterEach(() => {
    slots.close()
    mock.timers.reset()
  })

  function add(name: string, endpointId: string, origin = 'https://example.com', isRetry = false): void {
    slots.add({
      isRetry,
      endpointId,
      origin,
      start: () => {
        started.push(name)
        return new Promise(resolve => running.set(name, resolve))
      },
      giveBack: () => givenBack.push(name),
    })
  }

  function addMany(count: number, endpointId: string, origin?: string): void {
    for (let i = 0; i < count; i++) add(`${endpointId} ${i}`, endpointId, origin)
  }

  /** Ends what runs under this name, and lets all that follows from it happen. */
  async function end(name: string): Promise<void> {
    running.get(name)!()
    running.delete(name)
    await new Promise(resolve => setImmediate(resolve))
  }

  function pass(ms: number): void {
    nowMs += ms
    mock.timers.tick(ms)
  }

  it('start what comes at once while there is room', () => {
    add('one', 'a')

    expect(started).to.deep.equal(['one'])
    expect([slots.inFlight, sizeOf(slots), slots.waitingFor('a')]).to.deep.equal([1, 1, 0])
  })

  it('give an endpoint so many and no more; the next starts when one of them ends', async () => {
    addMany(perEndpointMax + 2, 'a')
    expect([slots.inFlight, slots.waitingFor('a'), sizeOf(slots)]).to.deep.equal([
      perEndpointMax,
      2,
      perEndpointMax + 2,
    ])

    await end('a 3')

    expect(started).to.have.lengthOf(perEndpointMax + 1)
    expect(started.at(-1)).to.equal(`a ${perEndpointMax}`)
    expect([slots.inFlight, slots.waitingFor('a'), freedCount]).to.deep.equal([perEndpointMax, 1, 1])
  })

  it('give an origin so many over all its endpoints, and leave the others theirs', async () => {
    const endpoints = perOriginMax / perEndpointMax + 1
    for (let i = 0; i < endpoints; i++) addMany(perEndpointMax, `endpoint ${i}`)
    expect(slots.inFlight).to.equal(perOriginMax)

    add('elsewhere', 'b', 'https://other.example')
    expect(started.at(-1)).to.equal('elsewhere')

    await end('endpoint 0 0')
    expect(started.at(-1)).to.equal(`endpoint ${endpoints - 1} 0`)
    expect(slots.inFlight).to.equal(perOriginMax + 1)
  })

  it('give the process so many over all origins', async () => {
    const origins = Math.ceil(inFlightMax / perEndpointMax) + 1
    for (let i = 0; i < origins; i++) addMany(perEndpointMax, `endpoint ${i}`, `https://${i}.example`)
    expect(slots.inFlight).to.equal(inFlightMax)

    await end('endpoint 7 0')

    expect(slots.inFlight).to.equal(inFlightMax)
    expect(started).to.have.lengthOf(inFlightMax + 1)
  })

  it('go to the endpoints of an origin in turn, however much one of them has in line', async () => {
    for (let i = 0; i < perOriginMax / perEndpointMax; i++) addMany(perEndpointMax, `first ${i}`)
    addMany(6, 'hog')
    add('modest 0', 'modest')
    add('modest 1', 'modest')

    for (let i = 0; i < 5; i++) await end(`first 0 ${i}`)

    expect(started.slice(perOriginMax)).to.deep.equal(['hog 0', 'modest 0', 'hog 1', 'modest 1', 'hog 2'])
  })

  it('give back what has waited too long, in its order, and nothing that came later', () => {
    addMany(perEndpointMax, 'a')
    add('early 1', 'a')
    add('early 2', 'a')
    pass(waitMaxMs / 2)
    add('late', 'a')

    pass(waitMaxMs / 2)

    expect(givenBack).to.deep.equal(['early 1', 'early 2'])
    expect([slots.inFlight, slots.waitingFor('a')]).to.deep.equal([perEndpointMax, 1])
  })

  it('go on after a line was given back, also at an origin that was full', async () => {
    for (let i = 0; i < perOriginMax / perEndpointMax; i++) addMany(perEndpointMax, `first ${i}`)
    add('waiting', 'other')
    pass(waitMaxMs)
    expect(givenBack).to.deep.equal(['waiting'])

    await end('first 0 0')
    add('again', 'other')

    expect(started.at(-1)).to.equal('again')
    expect(sizeOf(slots)).to.equal(perOriginMax)
  })

  it('give everything in line back when they close, and start nothing any more', async () => {
    addMany(perEndpointMax + 2, 'a')

    slots.close()
    add('too late', 'b')

    expect(givenBack).to.deep.equal([`a ${perEndpointMax}`, `a ${perEndpointMax + 1}`, 'too late'])
    await end('a 0')
    expect(started).to.have.lengthOf(perEndpointMax)
  })

  it('are drained when the last has ended, or else not within the time', async () => {
    add('one', 'a')
    add('two', 'b')
    slots.close()
    const tooSoon = slots.drained(1_000)
    pass(1_000)
    expect(await tooSoon).to.equal(false)

    const drained = slots.drained(1_000)
    await end('one')
    await end('two')

    expect(await drained).to.equal(true)
    expect(await slots.drained(0)).to.equal(true)
  })

  it('count first attempts and retries in line apart', () => {
    addMany(perEndpointMax, 'a')
    add('first', 'a')
    add('retry', 'a', undefined, true)
    add('another retry', 'a', undefined, true)
    expect([slots.firstWaiting, slots.retriesWaiting]).to.deep.equal([1, 2])

    pass(waitMaxMs)
    expect([slots.firstWaiting, slots.retriesWaiting]).to.deep.equal([0, 0])
  })

  it('hold nothing of an endpoint that is through', async () => {
    for (let round = 0; round < 3; round++) {
      addMany(perEndpointMax + 3, 'a')
      for (let i = 0; i < perEndpointMax + 3; i++) await end(`a ${i}`)
    }

    expect([sizeOf(slots), slots.inFlight, slots.waitingFor('a')]).to.deep.equal([0, 0, 0])
    expect(started).to.have.lengthOf(3 * (perEndpointMax + 3))
    expect(givenBack).to.deep.equal([])
  })
})
