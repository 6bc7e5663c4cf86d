/**
 * Many that want the same: one download, one unpack, an answer for each; and what a job owes to those who asked for it.
 *
 * The registry stops in the middle of the blob until all have asked, so nothing here depends on who is quick.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, type TestContext, test } from "node:test";
import { type Daemon, fixtureImages, serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { type Gate, gateAt } from "../support/gate.js";
import { bulkyTar, layerDigests, tarOf } from "../support/images.js";
import { openFiles } from "../support/open-files.js";
import { buildImage, startRegistry, type TestImage, type TestRegistry } from "../support/registry.js";
import { fileScope, Sandbox, type Scope } from "../support/sandbox.js";
import { everythingBelow } from "../support/trees.js";
import { type Json, Wire } from "../support/wire.js";

const scope = fileScope();
let shared: Host;
before(async () => {
  shared = await host(scope);
});

interface Host {
  readonly sandbox: Sandbox;
  readonly daemon: Daemon;
}

interface Stage extends Host {
  readonly image: TestImage;
  readonly registry: TestRegistry;
  readonly gate: Gate;
  readonly reference: string;
  connect(): Promise<Wire>;
}

async function host(of: Scope): Promise<Host> {
  const sandbox = await Sandbox.create(of);
  return { sandbox, daemon: await serve(sandbox) };
}

/** An image that nobody has installed; on the daemon of all tests here, unless one must be alone on its own. */
async function stage(t: TestContext, on: Host = shared): Promise<Stage> {
  // Of noise: no two have a layer in common.
  const image = buildImage([await bulkyTar("alpha", 200, 4096), await bulkyTar("beta", 50, 4096)]);
  const gate = gateAt(layerDigests(image), 64 * 1024);
  const registry = await startRegistry({ images: { "app:1": image }, script: gate.script });
  t.after(() => registry.close());
  const reference = `${registry.host}/app:1`;
  return { ...on, image, registry, gate, reference, connect: () => Wire.connect(t, on.daemon.socket) };
}

const blobRequests = ({ image, registry: { requests } }: Stage) =>
  layerDigests(image).map((digest) => requests.filter(({ path }) => path.endsWith(`/blobs/${digest}`)).length);

const staged = ({ stateDir }: Sandbox) =>
  everythingBelow(join(stateDir, "staging")).filter((path) => path.includes("/"));

test("20 sessions that install one image get 20 answers from one download and one unpack", async (t) => {
  const own = await stage(t, await host(t));
  const { gate, reference, connect, sandbox } = own;
  const wires = await Promise.all(Array.from({ length: 20 }, connect));
  const jobs: Json[] = await Promise.all(wires.map((wire) => wire.request("install/start", { reference })));
  assert.equal(new Set(jobs.map(({ jobId }) => jobId)).size, 20);
  await gate.reached;
  gate.open();
  const ends = await Promise.all(wires.map((wire, i) => wire.request("install/wait", { jobId: jobs[i].jobId })));
  assert.deepEqual(
    ends.map(({ state }) => state),
    Array(20).fill("ready"),
  );
  assert.equal(new Set(ends.map(({ root }) => root.path)).size, 1);
  assert.deepEqual(blobRequests(own), [1, 1]);
  assert.deepEqual(await (wires[0] as Wire).counters(), { blobsRead: 2, layersUnpacked: 2, rootsLinked: 1 });
  assert.deepEqual(staged(sandbox), []);
});

test("20 sessions that install under names of their own share one root", async (t) => {
  const { gate, reference, connect } = await stage(t, await host(t));
  gate.open();
  const wires = await Promise.all(Array.from({ length: 20 }, connect));
  const ends = await Promise.all(wires.map((wire, i) => wire.ready(reference, { name: `name-${i}` })));
  assert.equal(new Set(ends.map(({ root }) => root.path)).size, 1);
  assert.equal(new Set(ends.map(({ name }) => name.path)).size, 20);
  const { roots } = await (wires[0] as Wire).request("root/list");
  assert.equal(roots.length, 1);
  assert.equal(roots[0].names.length, 20);
});

test("a cancel by who came first does not cancel the others, and nothing is fetched again", async (t) => {
  const own = await stage(t);
  const { gate, reference, connect } = own;
  const [first, ...others] = await Promise.all(Array.from({ length: 4 }, connect));
  const started = await (first as Wire).request("install/start", { reference });
  await gate.reached;
  const jobs = await Promise.all(others.map((wire) => wire.request("install/start", { reference })));
  for (const [i, wire] of others.entries()) {
    const { jobId } = jobs[i];
    await until("the job has joined", async () => (await wire.request("install/get", { jobId })).layers.length === 2);
  }
  await (first as Wire).request("install/cancel", { jobId: started.jobId });
  const cancelled = await (first as Wire).request("install/wait", { jobId: started.jobId });
  assert.deepEqual([cancelled.state, cancelled.error.code], ["cancelled", "CANCELLED"]);
  gate.open();
  const ends = await Promise.all(others.map((wire, i) => wire.request("install/wait", { jobId: jobs[i].jobId })));
  assert.deepEqual(
    ends.map(({ state }) => state),
    ["ready", "ready", "ready"],
  );
  assert.deepEqual(blobRequests(own), [1, 1]);
});

test("when all have cancelled the work ends, staging is empty, and the same install works at once", async (t) => {
  const { sandbox, gate, reference, connect } = await stage(t);
  const wires = await Promise.all([connect(), connect()]);
  const jobs = await Promise.all(wires.map((wire) => wire.request("install/start", { reference })));
  await gate.reached;
  for (const [i, wire] of wires.entries()) await wire.request("install/cancel", { jobId: jobs[i].jobId });
  const again = wires[0].request("install/start", { reference });
  gate.open();
  const { jobId } = await again;
  assert.equal((await wires[0].request("install/wait", { jobId })).state, "ready");
  for (const { jobId } of jobs) assert.equal((await wires[1].request("install/get", { jobId })).state, "cancelled");
  await until("staging is empty", () => staged(sandbox).length === 0);
});

test("an archive that is looked through for jobs that are cancelled meanwhile is closed behind that", async (t) => {
  const { sandbox, daemon } = await host(t);
  const archive = sandbox.file("members.tar");
  writeFileSync(archive, await tarOf(Array.from({ length: 9000 }, (_, i) => ({ name: `blobs/${i}` }))));
  const wire = await Wire.connect(t, daemon.socket);
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const { jobId } = await wire.request("install/start", { reference: `oci-archive:${archive}:app` });
    await wire.request("install/cancel", { jobId });
    assert.notEqual((await wire.request("install/wait", { jobId })).state, "ready");
  }
  await until("the archive is closed", () => !openFiles(daemon.pid).includes(archive));
});

test("closing the session that asked does not end its job", async (t) => {
  const { gate, reference, connect } = await stage(t);
  const [asks, watches] = await Promise.all([connect(), connect()]);
  const { jobId } = await asks.request("install/start", { reference });
  await gate.reached;
  await asks.close();
  assert.equal((await watches.request("install/get", { jobId })).state, "running");
  gate.open();
  assert.equal((await watches.request("install/wait", { jobId })).state, "ready");
});

test("a job whose session is closed ends when another session cancels it", async (t) => {
  const { gate, reference, connect } = await stage(t);
  const [asks, cancels] = await Promise.all([connect(), connect()]);
  const { jobId } = await asks.request("install/start", { reference });
  await gate.reached;
  await asks.close();
  await until("the session is gone", async () => (await cancels.request("server/status")).sessions.full === 1);
  await cancels.request("install/cancel", { jobId });
  assert.equal((await cancels.request("install/wait", { jobId })).state, "cancelled");
});

test("who waits for a job is interested in it: a cancel by who started it does not end it", async (t) => {
  const { gate, reference, connect } = await stage(t);
  const [asks, waits] = await Promise.all([connect(), connect()]);
  const { jobId } = await asks.request("install/start", { reference });
  await gate.reached;
  const end = waits.request("install/wait", { jobId });
  await waits.request("server/status");
  assert.equal((await asks.request("install/cancel", { jobId })).state, "running");
  gate.open();
  assert.equal((await end).state, "ready");
});

test("who may only read and waits for a job keeps nobody from cancelling it", async (t) => {
  const { gate, reference, connect, daemon } = await stage(t);
  const [asks, waits] = await Promise.all([connect(), Wire.connect(t, daemon.readOnlySocket)]);
  const { jobId } = await asks.request("install/start", { reference });
  await gate.reached;
  const end = waits.request("install/wait", { jobId });
  await waits.request("server/status");
  await asks.request("install/cancel", { jobId });
  assert.equal((await end).state, "cancelled");
});

test("install/wait that runs out of time answers with the job as it stands", async (t) => {
  const { gate, reference, connect } = await stage(t);
  const wire = await connect();
  const { jobId } = await wire.request("install/start", { reference });
  await gate.reached;
  const job = await wire.request("install/wait", { jobId, timeoutMs: 1 });
  assert.equal(job.state, "running");
  gate.open();
  assert.equal((await wire.request("install/wait", { jobId })).state, "ready");
});

test("the same requestKey gives the same job to every session, and refuses other params", async (t) => {
  const { gate, reference, connect } = await stage(t);
  const [one, other] = await Promise.all([connect(), connect()]);
  const params = { reference, requestKey: "key-1" };
  const [a, b] = await Promise.all([one.request("install/start", params), other.request("install/start", params)]);
  assert.equal(a.jobId, b.jobId);
  const refused = await other.refused("install/start", { ...params, name: "another" });
  assert.deepEqual([refused.data.code, refused.rpc], ["INVALID_PARAMS", -32602]);
  gate.open();
  assert.equal((await one.request("install/wait", { jobId: a.jobId })).state, "ready");
  const later = await one.request("install/start", params);
  assert.deepEqual([later.jobId, later.state], [a.jobId, "ready"]);
});

test("four jobs of a session run, the others wait; another session's run beside them", async (t) => {
  const { gate, reference, connect } = await stage(t);
  const [one, other] = [await connect(), await connect()];
  const jobs: Json[] = [];
  for (let i = 0; i < 6; i += 1) jobs.push(await one.request("install/start", { reference, name: `one-${i}` }));
  const beside = await other.request("install/start", { reference, name: "other" });
  const states = (): Promise<string[]> =>
    Promise.all(
      [...jobs, beside].map(async ({ jobId }) => (await other.request("install/get", { jobId })).state as string),
    );
  await gate.reached;
  assert.deepEqual(await states(), [...Array(4).fill("running"), "queued", "queued", "running"]);
  gate.open();
  await Promise.all([...jobs, beside].map(({ jobId }) => other.request("install/wait", { jobId })));
  assert.deepEqual(await states(), Array(7).fill("ready"));
});

test("a read-only session may ask and may not install", async (t) => {
  const { daemon, reference } = await stage(t);
  const wire = await Wire.connect(t, daemon.readOnlySocket);
  const refused = await wire.refused("install/start", { reference });
  assert.deepEqual([refused.data.code, refused.data.exitCode], ["NOT_ALLOWED", 77]);
  assert.equal((await wire.request("image/status", { reference })).installed, false);
});

test("what is installed is answered while all that a session may run waits for a download", async (t) => {
  const { gate, reference, connect } = await stage(t, await host(t));
  // Not written just now, so that one look tells what it names.
  const here = `oci:${fixtureImages}:gcc-amd64`;
  const wire = await connect();
  const first = await wire.ready(here);
  const jobs: Json[] = [];
  for (const name of ["a", "b", "c", "d", "e"]) jobs.push(await wire.request("install/start", { reference, name }));
  await gate.reached;
  const again = await wire.ready(here, { name: "again" });
  assert.equal(again.root.path, first.root.path);
  const { jobs: counts } = await wire.request("server/status");
  assert.deepEqual([counts.running, counts.queued], [4, 1]);
  gate.open();
  for (const { jobId } of jobs) assert.equal((await wire.request("install/wait", { jobId })).state, "ready");
});

/** As many layers as one registry may send at once, and none of them comes to its end before it is let. */
async function held(t: TestContext) {
  const tars = await Promise.all(Array.from({ length: 6 }, (_, i) => bulkyTar(`top-${i}`, 50, 4096)));
  const image = buildImage(tars);
  const gate = gateAt(layerDigests(image), 64 * 1024);
  const registry = await startRegistry({ images: { "app:1": image }, script: gate.script });
  t.after(() => registry.close());
  return { gate, reference: `${registry.host}/app:1` };
}

test("a registry that sends nothing more holds up no other", async (t) => {
  const { gate, reference } = await held(t);
  const wire = await Wire.connect(t, shared.daemon.socket);
  const { jobId } = await wire.request("install/start", { reference });
  await gate.reached;
  const registry = await startRegistry({ images: { "app:1": buildImage([await bulkyTar("other", 10, 4096)]) } });
  t.after(() => registry.close());
  await wire.ready(`${registry.host}/app:1`, { name: "other" });
  assert.equal((await wire.request("install/get", { jobId })).state, "running");
  gate.open();
  assert.equal((await wire.request("install/wait", { jobId })).state, "ready");
});

test("the only worker of a daemon waits for no download: what is here is installed meanwhile", async (t) => {
  const { gate, reference } = await held(t);
  const sandbox = await Sandbox.create(t);
  const daemon = await serve(sandbox, { env: { STRATAD_WORKERS: "1" } });
  const wire = await Wire.connect(t, daemon.socket);
  const { jobId } = await wire.request("install/start", { reference });
  await gate.reached;
  await wire.ready(`oci:${fixtureImages}:gcc-amd64`, { name: "here" });
  assert.equal((await wire.request("install/get", { jobId })).state, "running");
  gate.open();
  assert.equal((await wire.request("install/wait", { jobId })).state, "ready");
});
