import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ownVersion } from "../../src/version.js";
import { answeredCli, initialized, isolated, readyJob, runCli } from "./support.js";

const cli = answeredCli();

/** A daemon that the command finds as a user's: by the configuration, with a daemon.json, of a state directory that stands. */
function foundEnvironment(): NodeJS.ProcessEnv {
  const env = { ...isolated(cli.path), STRATAD_SOCKET: cli.socket() };
  const stateDir = join(cli.path, "data/stratad");
  const runtimeDir = join(cli.path, "run/stratad");
  for (const directory of [stateDir, runtimeDir]) mkdirSync(directory, { recursive: true });
  const document = {
    schema: 1,
    pid: process.pid,
    pidStartTime: "0",
    bootId: "b",
    instanceId: "i",
    version: "0.0.1",
    protocol: [1],
    endpoints: [{ kind: "unix", path: cli.socket(), scope: "full" }],
    stateDir,
    startedAt: new Date().toISOString(),
    background: true,
  };
  writeFileSync(join(runtimeDir, "daemon.json"), JSON.stringify(document));
  return env;
}

/** Installs by a daemon of some release, and tells whether the command loaded zod meanwhile. */
async function loadsZod(t: TestContext, version: string): Promise<boolean> {
  await cli.serve({
    initialize: () => ({ ...initialized, serverInfo: { name: "stratad", version } }),
    "install/start": () => readyJob(),
  });
  const told = join(cli.path, "zod.sock");
  let isLoaded = false;
  const listener = createServer((socket) => {
    isLoaded = true;
    socket.destroy();
  });
  listener.listen(told);
  await once(listener, "listening");
  t.after(() => listener.close());
  const hold = new URL("../support/hold-modules.js", import.meta.url);
  const holding = { HOLD_MODULES: "/node_modules/zod/", HOLD_AT: told, NODE_OPTIONS: `--import=${hold}` };
  const env = { ...foundEnvironment(), ...holding };
  const { code, stdout } = await runCli(["install", "busybox"], { env, cwd: cli.path });
  assert.deepEqual([code, stdout], [0, "/state/names/gcc-amd64\n"]);
  return isLoaded;
}

test("an install by a daemon of this release loads no zod: that one has checked all that it says", async (t) => {
  assert.equal(await loadsZod(t, await ownVersion()), false);
});

test("an install by a daemon of a newer release loads zod, which its answers are checked by", async (t) => {
  assert.equal(await loadsZod(t, "9.0.0"), true);
});

test("a daemon of an older release is asked whose it is before anything else", async () => {
  const older = { ...initialized, serverInfo: { name: "stratad", version: "0.0.1" } };
  const daemon = await cli.serve({
    initialize: () => older,
    "server/status": () => ({}),
    "install/start": () => readyJob(),
  });
  await runCli(["install", "busybox"], { env: foundEnvironment(), cwd: cli.path });
  assert.deepEqual(
    daemon.calls.map(({ method }) => method),
    ["initialize", "server/status"],
  );
});
