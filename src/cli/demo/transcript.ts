/** The lines that the demo prints. Colour only where somebody looks: `styleText` asks the stream and NO_COLOR. */
import { styleText } from 'node:util'
import type { Received } from './check.ts'

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

export function sayHeading(text: string): void {
  say(`\n${styleText('bold', text)}`)
}

/** A line of columns. */
export function sayRow(name: string, ...cells: readonly string[]): void {
  const [last = '', ...before] = cells.toReversed()
  const columns = [name.padEnd(nameWidth), ...before.toReversed().map(cell => cell.padEnd(cellWidth)), last]
  say(`  ${columns.join('  ').trimEnd()}`)
}

export function sayReceived(got: Received): void {
  const line = [
    got.subscription.padEnd(nameWidth),
    got.event.padEnd(cellWidth),
    `attempt ${got.attempt}`,
    verdicts(got),
    `answered ${got.answered}`,
  ]
  say(`  ${line.join('  ')}`)
}

export function verdicts(got: Pick<Received, 'isStandardValid' | 'isMessageBirdValid'>): string {
  return `webhook-signature ${verdict(got.isStandardValid)}  MessageBird-Signature ${verdict(got.isMessageBirdValid)}`
}

export function complain(line: string): void {
  process.stderr.write(`${styleText('red', line, { stream: process.stderr })}\n`)
}

/** Of the longest subscription and the longest event of the demo. */
const nameWidth = 8
const cellWidth = 17

function verdict(isValid: boolean): string {
  return isValid ? styleText('green', 'valid') : styleText('red', 'WRONG')
}
