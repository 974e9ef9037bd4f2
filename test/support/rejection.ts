/** What a promise is rejected with, for the tests of faults: a promise that is fulfilled fails the test. */
import { expect } from 'chai'

export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  return expect.fail('expected a rejection, but the promise was fulfilled')
}
