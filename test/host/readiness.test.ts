import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { createReadiness, watchdogIntervalMs } from "../../src/host/readiness.js";
import { createLog } from "../../src/log.js";
import { until } from "../support/deadline.js";
import { toolOrSkip } from "../support/tools.js";

const directory = await mkdtemp(join(tmpdir(), "stratad-readiness-"));
after(() => rm(directory, { recursive: true, force: true }));
const lines: string[] = [];
const log = createLog("warn", (line) => lines.push(line));

/** A systemd-notify of our own: writes what it was told into a file. */
const told = join(directory, "told");
const recorder = join(directory, "systemd-notify");
await writeFile(told, "");
await writeFile(recorder, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> '${told}'\n`);
await chmod(recorder, 0o755);

test("without NOTIFY_SOCKET nobody is told, and nothing logged", async () => {
  lines.length = 0;
  assert.equal(await createReadiness({ env: {}, log, program: recorder }).notify("READY=1"), false);
  assert.deepEqual([await readFile(told, "utf8"), lines], ["", []]);
});

test("the state and the socket reach systemd-notify", async () => {
  const readiness = createReadiness({ env: { NOTIFY_SOCKET: "@sock" }, log, program: recorder });
  assert.equal(await readiness.notify("READY=1"), true);
  assert.equal(await readiness.notify("STATUS=two words"), true);
  assert.equal(await readFile(told, "utf8"), "@sock READY=1\n@sock STATUS=two words\n");
});

test("a missing systemd-notify is logged once, with what is done instead", async () => {
  lines.length = 0;
  const readiness = createReadiness({ env: { NOTIFY_SOCKET: "@sock" }, log, program: "/nonexistent/notify" });
  assert.equal(await readiness.notify("READY=1"), false);
  assert.equal(await readiness.notify("STOPPING=1"), false);
  assert.equal(lines.length, 1);
  assert.equal(JSON.parse(lines[0] ?? "").event, "readiness.unavailable");
});

const intervals: { env: NodeJS.ProcessEnv; expected: number | undefined }[] = [
  { env: {}, expected: undefined },
  { env: { WATCHDOG_USEC: "120000000" }, expected: 60_000 },
  { env: { WATCHDOG_USEC: "120000000", WATCHDOG_PID: "7" }, expected: 60_000 },
  { env: { WATCHDOG_USEC: "120000000", WATCHDOG_PID: "8" }, expected: undefined },
  { env: { WATCHDOG_USEC: "1" }, expected: 1 },
  { env: { WATCHDOG_USEC: "0" }, expected: undefined },
  { env: { WATCHDOG_USEC: "soon" }, expected: undefined },
  { env: { WATCHDOG_USEC: "999999999999999" }, expected: 2 ** 31 - 1 },
];
for (const { env, expected } of intervals) {
  test(`the watchdog of ${JSON.stringify(env)} beats every ${expected ?? "never"} ms`, () => {
    assert.equal(watchdogIntervalMs(env, 7), expected);
  });
}

test("the watchdog beats until it is stopped", async () => {
  await writeFile(told, "");
  const env = { NOTIFY_SOCKET: "@sock", WATCHDOG_USEC: "20000" };
  const readiness = createReadiness({ env, log, program: recorder });
  const keepAlive = setInterval(() => {}, 1 << 30);
  const stop = readiness.startWatchdog();
  const beats = async (): Promise<number> => (await readFile(told, "utf8")).split("@sock WATCHDOG=1\n").length - 1;
  await until("it beats", async () => (await beats()) >= 3);
  stop();
  // What was on its way is told; it would beat at each look.
  const seen: number[] = [];
  await until("it is still", async () => seen.push(await beats()) > 10 && seen.at(-1) === seen.at(-10));
  clearInterval(keepAlive);
});

const notifier = toolOrSkip("systemd-notify");
const python = toolOrSkip("python3");
test("a datagram socket receives READY=1 from systemd-notify", { skip: notifier.skip || python.skip }, async () => {
  const path = join(directory, "notify.sock");
  const receiver = spawn(
    python.path ?? "",
    [
      "-c",
      `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
print(s.recv(4096).decode().splitlines()[0], flush=True)
s.recvmsg(4096, 4096)`,
      path,
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const output = createInterface({ input: receiver.stdout })[Symbol.asyncIterator]();
  assert.equal((await output.next()).value, "bound");
  const sent = createReadiness({ env: { NOTIFY_SOCKET: path }, log }).notify("READY=1");
  assert.equal((await output.next()).value, "READY=1");
  assert.equal(await sent, true);
  if (receiver.exitCode === null) await once(receiver, "exit");
});
