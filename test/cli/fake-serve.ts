/**
 * Stands in for main.js where the command line starts a daemon: takes the state directory for itself, listens, writes daemon.json.
 *
 * FAKE_SERVE says what it does instead: `fail` (with an error of ours in its log), `crash` (without), `late`
 * (it listens only when others have found its lock twice), or `by hand` (it says that no command started it). FAKE_VERSION is what it says it is.
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { loadConfig } from "../../src/config.js";
import { StrataError } from "../../src/errors.js";
import { createLog } from "../../src/log.js";
import { FakeDaemon, initialized } from "./support.js";

const log = createLog("info", (line) => process.stderr.write(line));
const fail = (error: StrataError) => {
  log.error("serve.failed", { ...error.toWire() });
  process.exit(error.exitCode);
};

const { HOME = "/", FAKE_SERVE, FAKE_VERSION = "0.1.0" } = process.env;
if (FAKE_SERVE === "fail") fail(new StrataError("STORE_VERSION", "Cannot open the store: it has version 9"));
if (FAKE_SERVE === "crash") throw new Error("out of luck");

const paths = { uid: process.getuid?.() ?? 0, system: false, home: HOME, tmpdir: HOME };
const config = await loadConfig({ env: process.env, flags: {}, ...paths });
const lock = join(config.stateDir, "lock");
await mkdir(lock).catch(() => fail(new StrataError("STORE_LOCKED", "Cannot lock the store: another has it")));
await mkdir(config.runtimeDir, { recursive: true, mode: 0o700 });

if (FAKE_SERVE === "late") {
  const refusals = async () =>
    (await readFile(join(config.stateDir, "daemon.log"), "utf8")).split("STORE_LOCKED").length - 1;
  while ((await refusals()) < 2) await nextTurn();
}

const instanceId = `fake-${process.pid}`;
const stop = async () => {
  await daemon.stop();
  await rm(join(config.runtimeDir, "daemon.json"));
  await rm(lock, { recursive: true });
};
const daemon = await FakeDaemon.start(config.socket, {
  initialize: () => ({ ...initialized, instanceId, serverInfo: { name: "stratad", version: FAKE_VERSION } }),
  "install/list": () => ({ jobs: [] }),
  "server/status": () => ({
    version: FAKE_VERSION,
    protocol: [1],
    instanceId,
    epoch: "e",
    pid: process.pid,
    stateDir: config.stateDir,
    startedAt: new Date().toISOString(),
    draining: false,
    sessions: { full: 1, read: 0 },
    jobs: { queued: 0, running: 0, ready: 0, failed: 0, cancelled: 0 },
    workers: { total: 1, busy: 0, queuedTasks: 0 },
    store: { layers: 0, roots: 0, names: 0, bytes: 0 },
    counters: { blobsRead: 0, layersUnpacked: 0, rootsLinked: 0 },
  }),
  "server/drain": () => {
    // After the answer.
    setImmediate(() => void stop());
    return { draining: true };
  },
});
const document = {
  schema: 1,
  pid: process.pid,
  pidStartTime: "0",
  bootId: "b",
  instanceId,
  version: FAKE_VERSION,
  protocol: [1],
  endpoints: [{ kind: "unix", path: config.socket, scope: "full" }],
  stateDir: config.stateDir,
  startedAt: new Date().toISOString(),
  background: FAKE_SERVE !== "by hand",
};
await writeFile(join(config.runtimeDir, "daemon.json"), JSON.stringify(document));
log.info("started", { idleExitMs: config.idleExitMs });
