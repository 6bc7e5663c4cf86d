/**
 * A process that takes the lock: `lock-holder.js PATH FLOCK`. It tries when a line comes in, or its input ends, and says how that
 * went in one JSON line. Refused, it tries again with the next line; else it keeps the lock until the next line, or for ever.
 */
import { createInterface } from "node:readline";
import { toStrataError } from "../../src/errors.js";
import { acquireLock } from "../../src/host/lock.js";
import { createLog } from "../../src/log.js";

const [, , path = "", flockProgram = ""] = process.argv;
const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const log = createLog("info", () => {});

process.stdin.resume();
setInterval(() => {}, 1 << 30);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
say({ ready: true, pid: process.pid });
for (let ended = false; !ended; ) {
  ended = (await lines.next()).done === true;
  try {
    const lock = await acquireLock(path, log, { flockProgram });
    say({ locked: true, how: lock.how, pid: process.pid });
    if ((await lines.next()).done === true) break;
    await lock.release();
    process.exit(0);
  } catch (error) {
    const { code, message, details } = toStrataError(error).toWire();
    say({ locked: false, code, message, holder: details?.pid, pid: process.pid });
    if (ended) process.exit(0);
  }
}
