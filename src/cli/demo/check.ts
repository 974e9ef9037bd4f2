/**
 * Whether what came is what should have come. Pure, so that each way to fail can be shown to fail.
 */

/** An event that a subscription wants; both by their names in the demo. */
export type Wanted = { event: string; subscription: string }

/** One request at the receiver, as it saw it. */
export type Received = Wanted & {
  /** Counted from 1. */
  attempt: number
  isStandardValid: boolean
  isMessageBirdValid: boolean
  /** Whether the payload in the body is the one that was published. */
  isPayloadSame: boolean
  /** The status that the receiver answered with. */
  answered: number
}

/** What is wrong, a sentence each; empty when everything that is wanted came, genuine, and nothing else did. */
export function findFaults(wanted: readonly Wanted[], received: readonly Received[]): string[] {
  return [
    ...received.flatMap(findSignatureFaults),
    ...received.filter(({ isPayloadSame }) => !isPayloadSame).map(wrongPayload),
    ...wanted.filter(want => !received.some(got => isSame(want, got) && isTaken(got))).map(missing),
    ...received.filter(got => !wanted.some(want => isSame(want, got))).map(unwanted),
  ]
}

/** Whether the receiver took it, so that it is not sent again. */
export function isTaken({ answered }: Received): boolean {
  return answered >= 200 && answered <= 299
}

export function isSame(one: Wanted, other: Wanted): boolean {
  return one.event === other.event && one.subscription === other.subscription
}

function findSignatureFaults(got: Received): string[] {
  const headers = [
    ...(got.isStandardValid ? [] : ['webhook-signature']),
    ...(got.isMessageBirdValid ? [] : ['MessageBird-Signature']),
  ]
  return headers.map(header => `${header} does not verify: ${describe(got)}, attempt ${got.attempt}.`)
}

function wrongPayload(got: Received): string {
  return `The payload is not the one that was published: ${describe(got)}, attempt ${got.attempt}.`
}

function missing(want: Wanted): string {
  return `It was not delivered: ${describe(want)}.`
}

function unwanted(got: Received): string {
  return `It came although a filter excludes it: ${describe(got)}.`
}

function describe({ event, subscription }: Wanted): string {
  return `${event} for ${subscription}`
}
