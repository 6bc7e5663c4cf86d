/**
 * A worker thread leaks a rejection, which ends it: in the middle of a job only that job fails, between two tasks nobody notices, and
 * the next install finds a new thread.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { checkStore } from "../support/check-store.js";
import { serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { bulkyTar, layerDigests, tarOf } from "../support/images.js";
import { buildImage, startRegistry } from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";

/**
 * Loaded by every thread of the daemon: one whose script the file names, and that is as old as it says, takes the file and leaks, and what
 * it took is gone when it has ended.
 */
const leak = `
const { isMainThread } = require("node:worker_threads");
const { appendFileSync, readFileSync, renameSync, unlinkSync } = require("node:fs");
const file = process.env.LEAK_IN;
const startedAt = Date.now();
const taken = file + ".taken";
const isTheOne = () => {
  try {
    const { script, before } = JSON.parse(readFileSync(file, "utf8"));
    if (!process.argv[1].endsWith(script) || startedAt >= before) return false;
    renameSync(file, taken);
    return true;
  } catch {
    return false;
  }
};
const leak = () => {
  if (!isTheOne()) return;
  process.on("exit", () => unlinkSync(taken));
  Promise.reject(new Error("leaked"));
};
if (!isMainThread) {
  // Its script is known once it runs.
  setTimeout(() => appendFileSync(file + ".threads", process.argv[1] + "\\n"));
  setInterval(leak, 10).unref();
}
`;
const [POOL_THREAD, TREE_THREAD] = ["piscina/dist/worker.js", "workers/tree-thread.js"] as const;

test("a rejection that a worker leaks fails its job at most: the daemon lives, and the next install works", async (t) => {
  const held = buildImage([await bulkyTar("held", 100, 8192)]);
  const gate = gateAt(layerDigests(held), 64 * 1024);
  const others = ["first", "second", "third"].map(async (word) => [
    `app:${word}`,
    buildImage([await tarOf([{ name: word }])]),
  ]);
  const registry = await startRegistry({
    images: { "app:held": held, ...Object.fromEntries(await Promise.all(others)) },
    script: gate.script,
  });
  t.after(() => registry.close());
  const sandbox = await Sandbox.create(t);
  const [preload, file] = [sandbox.file("leak.cjs"), sandbox.file("leak-in")];
  writeFileSync(preload, leak);
  writeFileSync(`${file}.threads`, "");
  const env = { STRATAD_WORKERS: "2", NODE_OPTIONS: `--require=${preload}`, LEAK_IN: file };
  const daemon = await serve(sandbox, { env });
  const wire = await Wire.connect(t, daemon.socket);
  const leakIn = async (script: string, before = Date.now()): Promise<void> => {
    // As a whole, or a thread may read half of it.
    writeFileSync(`${file}.new`, JSON.stringify({ script, before }));
    renameSync(`${file}.new`, file);
    await until(`${script} has ended`, () => !existsSync(file) && !existsSync(`${file}.taken`));
  };
  const crashesLogged = (count: number): Promise<true> =>
    until(`${count} threads are missed`, () => daemon.log().split("worker.crashed").length > count);

  await until(
    "both pool threads are there",
    () => readFileSync(`${file}.threads`, "utf8").split(POOL_THREAD).length > 2,
  );

  const { jobId } = await wire.request("install/start", { reference: `${registry.host}/app:held` });
  await gate.reached;
  // A thread may be busy with the warming of a daemon that has just started.
  await until("a worker has the layer", async () => {
    const { layers } = await wire.request("install/get", { jobId });
    return layers[0]?.bytesDone > 0;
  });
  // One of them has it.
  const both = Date.now();
  for (let threads = 0; threads < 2; threads += 1) await leakIn(POOL_THREAD, both);
  const { state, error } = await wire.request("install/wait", { jobId });
  assert.deepEqual([state, error.code, error.retryable], ["failed", "WORKER_CRASHED", true]);
  await wire.ready(`${registry.host}/app:first`);

  await leakIn(POOL_THREAD);
  await crashesLogged(3);
  await wire.ready(`${registry.host}/app:second`);

  await leakIn(TREE_THREAD);
  // Nobody is told that this one ended: an install may be the first to notice.
  const noticing = await wire.install(`${registry.host}/app:third`);
  if (noticing.state !== "ready") assert.equal(noticing.error.code, "WORKER_CRASHED");
  await wire.ready(`${registry.host}/app:third`);

  gate.open();
  await wire.ready(`${registry.host}/app:held`);
  daemon.kill("SIGTERM");
  assert.equal((await daemon.ended).exitCode, 0);
  assert.deepEqual(checkStore(sandbox.stateDir, { swept: true }), []);
});
