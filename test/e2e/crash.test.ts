/**
 * The daemon dies, is told to stop, or meets another one: what was promised stands, what was half done is gone.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { before, test } from "node:test";
import { cli, cliJson, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { bulkyTar, layerDigests, tarOf, writeLayout } from "../support/images.js";
import { buildImage, startRegistry, type TestImage } from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { differences, everythingBelow, readTree } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

let image: TestImage;
let big: TestImage;

before(async () => {
  const small = await tarOf([{ name: "small", content: "stored before the crash" }]);
  image = buildImage([small, await bulkyTar("bulk", 400, 8192)]);
  big = buildImage([small, await bulkyTar("bulk", 6000, 4096)], { codec: "none" });
});

/** What daemons have in staging, each in a directory of its own. */
const staged = ({ stateDir }: Sandbox) => readdirSync(join(stateDir, "staging"));

/** The next daemon goes on with the jobs at once, in its own. */
function assertSwept(sandbox: Sandbox, left: readonly string[]): void {
  assert.deepEqual(
    staged(sandbox).filter((directory) => left.includes(directory)),
    [],
  );
}

/** Every root has its document and its tree, and every name leads to one. */
function assertNoHalfRoot({ stateDir }: Sandbox): void {
  for (const rootId of readdirSync(join(stateDir, "roots"))) {
    assert.deepEqual(readdirSync(join(stateDir, "roots", rootId)).sort(), ["root.json", "tree"]);
  }
  for (const name of readdirSync(join(stateDir, "names"))) assert.ok(existsSync(join(stateDir, "names", name)), name);
}

test("kill -9 while a blob arrives: nothing half is left, the stored layer is used, the same install works", async (t) => {
  const gate = gateAt(layerDigests(image).slice(1), 1536 * 1024);
  const registry = await startRegistry({ images: { "app:1": image }, script: gate.script });
  t.after(() => registry.close());
  const reference = `${registry.host}/app:1`;
  const sandbox = await Sandbox.create(t);
  const daemon = await serve(sandbox);
  const wire = await Wire.connect(t, daemon.socket);
  const { jobId } = await wire.request("install/start", { reference });
  await until("files of the second layer are in staging", () =>
    everythingBelow(join(sandbox.stateDir, "staging")).some((path) => path.includes("/bulk/file-")),
  );
  await until("the first layer is stored", async () => {
    const { layers } = await wire.request("install/get", { jobId });
    return layers[0]?.state === "stored";
  });
  daemon.kill("SIGKILL");
  assert.equal((await daemon.ended).signal, "SIGKILL");
  assert.deepEqual(readdirSync(join(sandbox.stateDir, "roots")), []);
  const left = staged(sandbox);
  assert.notDeepEqual(left, []);

  gate.open();
  const next = await serve(sandbox);
  assertSwept(sandbox, left);
  const again = await Wire.connect(t, next.socket);
  const job = await again.request("install/wait", { jobId });
  assert.equal(job.state, "ready");
  assert.equal((await again.ready(reference)).root.rootId, job.root.rootId);
  assert.deepEqual(
    job.layers.map(({ reused }: Json) => reused),
    [true, false],
  );
  assert.equal(readTree(job.root.path).entries.size, 402);
  assertNoHalfRoot(sandbox);
});

type Reached = (state: (...parts: string[]) => string[]) => boolean;
const isCommitted: Reached = (state) => state("roots").length > 0;
const moments: Readonly<Record<string, Reached>> = {
  "the first files are written": (state) => state("staging").some((path) => path.includes("/bulk/file-")),
  "a layer is committed": (state) => state("layers/sha256").some((path) => path.endsWith("/layer.json")),
  // Which may be over before anybody looks.
  "the root is being linked": (state) =>
    isCommitted(state) || state("staging").some((path) => /\/root\/tree\/./.test(path)),
  "the root is committed": isCommitted,
};

for (const [what, reached] of Object.entries(moments)) {
  test(`kill -9 as soon as ${what} leaves a store in which the same install works`, async (t) => {
    const sandbox = await Sandbox.create(t);
    await writeLayout(sandbox.file("layout"), { app: big });
    const reference = `oci:${sandbox.file("layout")}:app`;
    const daemon = await serve(sandbox);
    const wire = await Wire.connect(t, daemon.socket);
    wire.request("install/start", { reference }).catch(() => undefined);
    await until(what, () => reached((...parts) => everythingBelow(join(sandbox.stateDir, ...parts))));
    daemon.kill("SIGKILL");
    await daemon.ended;
    const left = staged(sandbox);
    const next = await serve(sandbox);
    assertSwept(sandbox, left);
    const job = await (await Wire.connect(t, next.socket)).ready(reference);
    assert.equal(readTree(job.root.path).entries.size, 6002);
    assertNoHalfRoot(sandbox);
  });
}

test("a restarted daemon answers for what is installed, from its scan", async (t) => {
  const sandbox = await Sandbox.create(t);
  await writeLayout(sandbox.file("layout"), { app: image });
  const reference = `oci:${sandbox.file("layout")}:app`;
  const daemon = await serve(sandbox);
  const job = await (await Wire.connect(t, daemon.socket)).ready(reference);
  const tree = readTree(job.root.path);
  daemon.kill("SIGKILL");
  await daemon.ended;
  const wire = await Wire.connect(t, (await serve(sandbox)).socket);
  const status = await wire.request("image/status", { reference });
  assert.equal(status.installed, true);
  assert.equal(status.roots[0].path, job.root.path);
  const repeated = await wire.ready(reference);
  assert.equal(repeated.root.path, job.root.path);
  assert.deepEqual(await wire.counters(), { blobsRead: 0, layersUnpacked: 0, rootsLinked: 0 });
  assert.deepEqual(differences(readTree(job.root.path), tree), []);
});

test("SIGTERM lets the running job finish, takes no new ones, and the daemon exits with 0", async (t) => {
  const gate = gateAt(layerDigests(image), 64 * 1024);
  const registry = await startRegistry({ images: { "app:1": image }, script: gate.script });
  t.after(() => registry.close());
  const reference = `${registry.host}/app:1`;
  const sandbox = await Sandbox.create(t);
  const daemon = await serve(sandbox);
  const wire = await Wire.connect(t, daemon.socket);
  await wire.request("events/subscribe");
  const { jobId } = await wire.request("install/start", { reference });
  await gate.reached;
  daemon.kill("SIGTERM");
  await wire.notified("server.draining", ({ params }) => params.type === "server.draining");
  const refused = await wire.refused("install/start", { reference, name: "later" });
  assert.deepEqual([refused.data.code, refused.data.retryable, refused.data.exitCode], ["SHUTTING_DOWN", true, 75]);
  assert.equal((await wire.request("server/status")).draining, true);
  const end = wire.request("install/wait", { jobId });
  gate.open();
  assert.equal((await end).state, "ready");
  const { exitCode, signal } = await daemon.ended;
  assert.deepEqual([exitCode, signal], [0, null]);
  assert.deepEqual(readdirSync(sandbox.runtimeDir), []);
  assert.equal(readTree(join(sandbox.stateDir, "names/app")).entries.size, 402);
  assert.deepEqual(await sandbox.processes(), []);
});

test("a second SIGTERM ends at once, and the store is still sound", async (t) => {
  const gate = gateAt(layerDigests(image), 64 * 1024);
  const registry = await startRegistry({ images: { "app:1": image }, script: gate.script });
  t.after(() => registry.close());
  const reference = `${registry.host}/app:1`;
  const sandbox = await Sandbox.create(t);
  const daemon = await serve(sandbox);
  const wire = await Wire.connect(t, daemon.socket);
  await wire.request("events/subscribe");
  await wire.request("install/start", { reference });
  await gate.reached;
  daemon.kill("SIGTERM");
  await wire.notified("server.draining", ({ params }) => params.type === "server.draining");
  daemon.kill("SIGTERM");
  await daemon.ended;
  gate.open();
  const next = await Wire.connect(t, (await serve(sandbox)).socket);
  assert.equal((await next.ready(reference)).state, "ready");
});

test("a second daemon on the same state directory ends at once with STORE_LOCKED and the first's pid", async (t) => {
  const sandbox = await Sandbox.create(t);
  const daemon = await serve(sandbox);
  const env = { XDG_RUNTIME_DIR: sandbox.file("tmp") };
  const { exitCode, stderr } = await cli(sandbox, ["serve"], { env });
  assert.equal(exitCode, 75);
  assert.match(stderr, /STORE_LOCKED/);
  assert.match(stderr, new RegExp(`\\b${daemon.pid}\\b`));
  const said = stderr.split("\n").find((line) => line.startsWith("{") && line.includes("STORE_LOCKED")) ?? "{}";
  assert.equal(JSON.parse(said).details.pid, daemon.pid);
  const status: Json = await cliJson(sandbox, ["status"]);
  assert.equal(status.server.pid, daemon.pid);
});
