/** What is linked of an image while its last layer is still on its way: nobody sees it before the root stands, and a repair undoes it. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { layerDigests, noise, tarOf } from "../support/images.js";
import { buildImage, startRegistry } from "../support/registry.js";
import { lastFirst, Sandbox } from "../support/sandbox.js";
import { readTree } from "../support/trees.js";
import { Wire } from "../support/wire.js";

const inode = (path: string): number => statSync(path).ino;

/** An image of a layer that is stored and one whose download is held; the first is linked already. */
async function halfLinked(t: TestContext) {
  const lower = await tarOf([{ name: "usr/own", content: "own" }]);
  const upper = await tarOf([{ name: "opt/other", content: noise(64 * 1024) }]);
  const [one, both] = [buildImage([lower]), buildImage([lower, upper])];
  const gate = gateAt(layerDigests(both).slice(1), 1024);
  const scope = lastFirst(t);
  const registry = await startRegistry({ images: { "one:1": one, "both:1": both }, script: gate.script });
  scope.after(() => registry.close());
  const sandbox = await Sandbox.create(scope);
  const wire = await Wire.connect(scope, (await serve(sandbox, { env: { STRATAD_WORKERS: "2" } })).socket);
  await wire.ready(`${registry.host}/one:1`);
  const { jobId } = await wire.request("install/start", { reference: `${registry.host}/both:1`, name: "both" });
  await gate.reached;
  const state = (...parts: string[]) => join(sandbox.stateDir, ...parts);
  const linked = () => readdirSync(state("staging"), { recursive: true, encoding: "utf8" }).find(isLinked);
  await until("the stored layer is linked", () => linked() !== undefined);
  const layers = readdirSync(state("layers/sha256"));
  return { gate, wire, jobId, state, stored: state("layers/sha256", layers[0] ?? "", "tree/usr/own") };
}

const isLinked = (path: string): boolean => path.endsWith("root/tree/usr/own");

test("a stored layer is linked while another is on its way, and the root appears whole", async (t) => {
  const { gate, wire, jobId, state, stored } = await halfLinked(t);
  assert.equal(statSync(stored).nlink, 3);
  assert.equal(readdirSync(state("roots")).length, 1);
  assert.equal((await wire.counters()).rootsLinked, 1);
  gate.open();
  const { root, error } = await wire.request("install/wait", { jobId });
  assert.equal(error, undefined);
  assert.deepEqual([...readTree(root.path).entries.keys()], ["opt", "opt/other", "usr", "usr/own"]);
  assert.equal(inode(join(root.path, "usr/own")), inode(stored));
  assert.deepEqual((await wire.request("store/verify", { deep: true })).findings, []);
});

test("a job that is cancelled leaves nothing of what was linked", async (t) => {
  const { gate, wire, jobId, state, stored } = await halfLinked(t);
  await wire.request("install/cancel", { jobId });
  const job = await wire.request("install/wait", { jobId });
  assert.equal(job.state, "cancelled");
  assert.equal(statSync(stored).nlink, 2);
  assert.deepEqual(
    readdirSync(state("staging"), { recursive: true, encoding: "utf8" }).filter((path) => path.includes("/")),
    [],
  );
  gate.open();
});

test("a layer that is repaired meanwhile stands in the root as it was repaired", async (t) => {
  const { gate, wire, jobId, stored } = await halfLinked(t);
  const { atime, mtime, ino } = statSync(stored);
  writeFileSync(stored, "bad");
  utimesSync(stored, atime, mtime);
  const { findings, repairedTotal } = await wire.request("store/verify", { deep: true, repair: true });
  assert.deepEqual([findings, repairedTotal > 0], [[], true]);
  assert.notEqual(inode(stored), ino);
  gate.open();
  const { root } = await wire.request("install/wait", { jobId });
  assert.equal(readFileSync(join(root.path, "usr/own"), "utf8"), "own");
  assert.equal(inode(join(root.path, "usr/own")), inode(stored));
  assert.deepEqual((await wire.request("store/verify", { deep: true })).findings, []);
});
