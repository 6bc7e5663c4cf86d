import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { answeredCli, initialized, isolated, readyJob, runCli } from "./support.js";

const cli = answeredCli();

/** A daemon that the command finds as a user's: by the configuration, with a daemon.json, of a state directory that stands. */
function foundEnvironment(): NodeJS.ProcessEnv {
  const env = { ...isolated(cli.path), STRATAD_SOCKET: cli.socket() };
  const stateDir = join(cli.path, "data/stratad");
  const runtimeDir = join(cli.path, "run/stratad");
  for (const directory of [stateDir, runtimeDir]) mkdirSync(directory, { recursive: true });
  writeFileSync(join(runtimeDir, "daemon.json"), JSON.stringify({ stateDir, background: true }));
  return env;
}

test("an install is asked before zod is loaded, which its answer is checked by", async (t) => {
  const daemon = await cli.serve({ "install/start": () => readyJob() });
  const held = join(cli.path, "zod.sock");
  let asked: Promise<unknown> | undefined;
  const holder = createServer((socket) => {
    const letGo = () => socket.destroy();
    asked = daemon.called("install/start");
    asked.then(letGo, letGo);
  });
  holder.listen(held);
  await once(holder, "listening");
  t.after(() => holder.close());
  const hold = new URL("../support/hold-modules.js", import.meta.url);
  const holding = { HOLD_MODULES: "/node_modules/zod/", HOLD_AT: held, NODE_OPTIONS: `--import=${hold}` };
  const env = { ...foundEnvironment(), ...holding };
  const { code, stdout } = await runCli(["install", "busybox"], { env, cwd: cli.path });
  assert.deepEqual([code, stdout], [0, "/state/names/gcc-amd64\n"]);
  assert.notEqual(asked, undefined, "zod was not loaded at all");
  await asked;
  assert.deepEqual(
    daemon.calls.map(({ method }) => method),
    ["initialize", "install/start"],
  );
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
