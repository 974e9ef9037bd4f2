/**
 * `node src/cli/receive.ts PORT SIGNING_KEY`: a receiver to try things with. Takes what comes to any path of
 * 127.0.0.1, and prints whether its signatures are valid and its body. Runs until it is ended.
 */
import { startReceiver } from './demo/receiver.ts'
import { say, verdicts } from './demo/transcript.ts'

/** EX_USAGE of sysexits.h. */
const exitUsage = 64

const [port = '', signingKey = ''] = process.argv.slice(2)
if (!/^\d{1,5}$/.test(port) || signingKey === '') {
  process.stderr.write('Usage: node src/cli/receive.ts PORT SIGNING_KEY\n')
  process.exit(exitUsage)
}

const { url } = await startReceiver({
  port: Number(port),
  signingKeyOf: () => signingKey,
  onReceived: got =>
    say(`received ${got.eventId}  attempt ${got.attempt}  ${verdicts(got)}\n${got.body.toString()}`),
})
say(`receiving on ${url}`)
