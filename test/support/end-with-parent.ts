/**
 * Preloaded (`node --import`) into every service a test starts, beside the unchanged `src/main.ts`: when the
 * process that started it is gone, however it went, the service is told to stop. Without this a killed test
 * run would leave services, and the databases they started, behind.
 */

const stopMs = 20_000

process.once('disconnect', () => {
  process.kill(process.pid, 'SIGTERM')
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), stopMs).unref()
})

// The listener above would keep the process alive; whether it may end is for the service alone to say.
process.channel?.unref()
