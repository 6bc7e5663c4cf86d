import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { StratadClient } from "../../src/client/client.js";
import { loadConfig } from "../../src/config.js";
import { MAX_DAEMON_LOG_BYTES } from "../../src/limits.js";
import { parse } from "./json.js";
import {
  type CliResult,
  FakeDaemon,
  isolated,
  makeJob,
  makeScratch,
  readyJob,
  runHere,
  type Scratch,
} from "./support.js";

const script = fileURLToPath(new URL("fake-serve.js", import.meta.url));

let scratch: Scratch;
beforeEach(() => {
  scratch = makeScratch();
});
afterEach(async () => {
  try {
    await drain();
  } finally {
    scratch.remove();
  }
});

const command = (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<CliResult> =>
  runHere(args, { cwd: scratch.path, script, env: { ...isolated(scratch.path), ...env } });

const state = () => join(scratch.path, "data", "stratad");
const daemonLog = () => join(state(), "daemon.log");
const startsIn = (log: string) => log.split("\n").filter((line) => line.includes('"event":"started"')).length;

/** Ends what a test started, and returns when nobody holds the state directory any more. */
async function drain(): Promise<void> {
  const untilMs = performance.now() + 10_000;
  while (existsSync(join(state(), "lock"))) {
    assert.ok(performance.now() < untilMs, "the daemon did not end");
    const client = await StratadClient.connect({ env: isolated(scratch.path), reconnect: false }).catch(
      () => undefined,
    );
    await client?.request("server/drain", {}).catch(() => undefined);
    await client?.close();
  }
}

describe("a command without a daemon", () => {
  it("starts one, and the next command uses it", async () => {
    for (let times = 0; times < 2; times += 1) {
      const { code, stdout, stderr } = await command(["ps", "--json"]);
      assert.deepEqual([code, parse(stdout), stderr], [0, { jobs: [] }, ""]);
    }
    const log = readFileSync(daemonLog(), "utf8");
    assert.equal(startsIn(log), 1);
    assert.match(log, /"idleExitMs":600000/);
    assert.equal(statSync(daemonLog()).mode & 0o777, 0o600);
  });

  it("shares the one that another command starts at the same time", async () => {
    const results = await Promise.all(Array.from({ length: 4 }, () => command(["ps", "--json"])));
    for (const { code, stdout } of results) assert.deepEqual([code, parse(stdout)], [0, { jobs: [] }]);
    assert.equal(startsIn(readFileSync(daemonLog(), "utf8")), 1);
  });

  it("waits for the one that another command started, however often its own finds the directory taken", async () => {
    const env = { FAKE_SERVE: "late" };
    const results = await Promise.all([command(["ps", "--json"], env), command(["ps", "--json"], env)]);
    for (const { code, stdout } of results) assert.deepEqual([code, parse(stdout)], [0, { jobs: [] }]);
    assert.equal(startsIn(readFileSync(daemonLog(), "utf8")), 1);
  });

  it("follows one that is lost in the moment of its restart, and starts none of its own", async () => {
    const config = await loadConfig({
      env: isolated(scratch.path),
      flags: {},
      uid: process.getuid?.() ?? 0,
      system: false,
      home: scratch.path,
      tmpdir: scratch.path,
    });
    mkdirSync(config.runtimeDir, { recursive: true, mode: 0o700 });
    mkdirSync(config.stateDir, { recursive: true });
    const dying = createServer();
    const gone = new Promise<void>((resolve) => dying.on("upgrade", (_, socket) => resolve() ?? socket.destroy()));
    await once(dying.listen(config.socket), "listening");
    const installing = command(["install", "oci:/images:gcc-amd64", "--json"]);
    await gone;
    dying.close();
    await once(dying, "close");
    const starts: unknown[] = [];
    const restarted = await FakeDaemon.start(config.socket, {
      "install/start": ({ params, progress }) => {
        starts.push(params.reference);
        setImmediate(() => progress(readyJob()));
        return makeJob();
      },
    });
    const { code, stdout } = await installing;
    await restarted.stop();
    assert.deepEqual([code, parse(stdout).state, starts], [0, "ready", ["oci:/images:gcc-amd64"]]);
    assert.equal(existsSync(daemonLog()), false);
  });

  it("tells why the daemon did not start, with its code", async () => {
    const { code, stdout } = await command(["ps", "--json"], { FAKE_SERVE: "fail" });
    assert.equal(code, 74);
    assert.equal(parse(stdout).error.code, "STORE_VERSION");
  });

  it("tells what a daemon that crashed said last, and where its log is", async () => {
    const { code, stdout } = await command(["ps", "--json"], { FAKE_SERVE: "crash" });
    assert.equal(code, 69);
    const { error } = parse(stdout);
    assert.equal(error.code, "DAEMON_UNREACHABLE");
    assert.match(error.message, /it ended with exit code 1$/);
    assert.deepEqual(error.details, { log: daemonLog(), said: "Error: out of luck" });
  });

  it("cuts the log of the daemon before it where that was too long", async () => {
    mkdirSync(state(), { recursive: true });
    writeFileSync(daemonLog(), "x".repeat(MAX_DAEMON_LOG_BYTES + 1));
    assert.equal((await command(["ps"])).code, 0);
    assert.ok(statSync(daemonLog()).size < 1000);
  });

  it("finds the one it started though the configuration puts its socket elsewhere", async () => {
    const env = { STRATAD_RUNTIME_DIR: join(scratch.path, "else") };
    try {
      assert.equal((await command(["ps"], env)).code, 0);
      assert.equal((await command(["ps"], env)).code, 0);
      assert.equal(startsIn(readFileSync(daemonLog(), "utf8")), 1);
    } finally {
      const socket = join(scratch.path, "else", "stratad.sock");
      const client = await StratadClient.connect({ endpoint: socket, reconnect: false });
      await client.request("server/drain", {});
      await client.close();
    }
  });
});

describe("a daemon of an older release", () => {
  it("is drained and replaced", async () => {
    assert.equal((await command(["ps"], { FAKE_VERSION: "0.0.1" })).code, 0);
    const { code, stderr } = await command(["ps"]);
    assert.equal(code, 0);
    assert.equal(stderr, "Waiting for the daemon of release 0.0.1 to finish its jobs\n");
    assert.equal(parse((await command(["endpoint", "--json"])).stdout).version, "0.1.0");
  });

  it("is used where it was started by hand: its settings are not known to a command", async () => {
    await command(["ps"], { FAKE_VERSION: "0.0.1", FAKE_SERVE: "by hand" });
    assert.equal((await command(["ps"])).stderr, "");
    assert.equal(parse((await command(["endpoint", "--json"])).stdout).version, "0.0.1");
  });

  it("is used where it is newer, or was named", async () => {
    await command(["ps"], { FAKE_VERSION: "9.0.0" });
    await command(["ps"]);
    assert.equal(parse((await command(["endpoint", "--json"])).stdout).version, "9.0.0");
  });
});

describe("endpoint", () => {
  it("starts a daemon only when told, and prints its daemon.json", async () => {
    const none = await command(["endpoint", "--json"]);
    const { code, hint } = parse(none.stdout).error;
    assert.deepEqual([none.code, code, hint], [69, "DAEMON_UNREACHABLE", "`--spawn` starts a daemon."]);
    assert.ok(!existsSync(state()));
    const { stdout } = await command(["endpoint", "--json", "--spawn"]);
    const socket = join(scratch.path, "run", "stratad", "stratad.sock");
    assert.deepEqual(parse(stdout), parse(readFileSync(join(scratch.path, "run", "stratad", "daemon.json"), "utf8")));
    assert.equal((await command(["endpoint"])).stdout, `full  unix:${socket}\n`);
  });
});
