/**
 * The jobs that this process holds. A claim is kept alive by touching it; when the queue says that it is not ours
 * any more, what is on the wire for it is aborted and its results are recorded as superseded.
 */
import type { Log } from '../log.ts'
import { queueNames, type Claimed, type Queue, type QueueName } from '../queue/queue.ts'

export type Claim<Name extends QueueName = QueueName> = {
  name: Name
  job: Claimed<Name>
  /** What has to end before the job is done: its own handling, then each of its deliveries. */
  open: number
  /** Ends what is on the wire for it: the claim is lost, or the process has to leave. */
  abort: AbortController
}

export type Claims = {
  add<Name extends QueueName>(name: Name, job: Claimed<Name>): Claim<Name>
  remove(claim: Claim): void
  /**
   * Runs what locks job rows of this process while nothing else here does: a touch and a settle that overlap would
   * lock the same rows in different order, and one of them would die of the deadlock.
   */
  exclusively<Result>(work: () => Promise<Result>): Promise<Result>
  readonly size: number
  /** Ends what is on the wire for all of them. */
  abortAll(): void
  /** Stops touching; what is still held is picked up by another process after the heartbeat. */
  stop(): void
}

const touchIntervalMs = 3_000

export function createClaims(deps: { queue: Queue; log: Log }): Claims {
  const held = new Set<Claim>()
  let last: Promise<unknown> = Promise.resolve()
  let isTouching = false

  function exclusively<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = last.then(work)
    last = result.catch(() => undefined) // Whoever asked for it hears of its fault.
    return result
  }

  async function touchAll(): Promise<void> {
    for (const name of queueNames) {
      const ofQueue = [...held].filter(claim => claim.name === name)
      if (ofQueue.length === 0) continue
      const ours = await deps.queue.touch(
        name,
        ofQueue.map(({ job }) => job),
      )
      for (const claim of ofQueue) {
        // It may have been completed while the touch was under way.
        if (!ours.has(claim.job.id) && held.has(claim)) giveUp(claim)
      }
    }
  }

  function giveUp(claim: Claim): void {
    held.delete(claim)
    deps.log.warn({ queue: claim.name, jobId: claim.job.id }, 'claim.lost')
    claim.abort.abort()
  }

  const timer = setInterval(() => {
    if (isTouching) return
    isTouching = true
    exclusively(touchAll)
      .catch((error: unknown) => deps.log.warn({ err: error }, 'claim.touch_failed'))
      .finally(() => (isTouching = false))
  }, touchIntervalMs)

  return {
    add(name, job) {
      const claim = { name, job, open: 1, abort: new AbortController() }
      held.add(claim)
      return claim
    },
    remove: claim => held.delete(claim),
    exclusively,
    get size() {
      return held.size
    },
    abortAll: () => held.forEach(claim => claim.abort.abort()),
    stop: () => clearInterval(timer),
  }
}
