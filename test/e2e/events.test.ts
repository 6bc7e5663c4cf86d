/**
 * What the daemon says unasked: events without gaps, and the progress of one install.
 */
import assert from "node:assert/strict";
import { before, type TestContext, test } from "node:test";
import { serve } from "../support/daemon.js";
import { until } from "../support/deadline.js";
import { gateAt } from "../support/gate.js";
import { bulkyTar, layerDigests, tarOf, writeLayout } from "../support/images.js";
import { buildImage, startRegistry, type TestImage } from "../support/registry.js";
import { Sandbox } from "../support/sandbox.js";
import { type Json, type Notification, Wire } from "../support/wire.js";

let image: TestImage;

before(async () => {
  image = buildImage([await tarOf([{ name: "small", content: "small" }]), await bulkyTar("bulk", 300, 4096)]);
});

async function daemonFor(t: TestContext) {
  const sandbox = await Sandbox.create(t);
  await writeLayout(sandbox.file("layout"), { app: image });
  const { socket } = await serve(sandbox);
  return { reference: `oci:${sandbox.file("layout")}:app`, connect: () => Wire.connect(t, socket) };
}

const eventsOf = (wire: Wire, subscriptionId?: string): Json[] =>
  wire.notifications
    .filter(({ method }) => method === "event")
    .map(({ params }) => params)
    .filter((event) => subscriptionId === undefined || event.subscriptionId === subscriptionId);
const isEvent =
  (type: string, jobId?: string) =>
  ({ params }: Notification) =>
    params.type === type && (jobId === undefined || params.jobId === jobId);

test("a subscription sees a job from its creation to its end and the name, in order and without a gap", async (t) => {
  const { reference, connect } = await daemonFor(t);
  const [installs, watches] = [await connect(), await connect()];
  const subscribed = await watches.request("events/subscribe");
  assert.deepEqual(subscribed.snapshot, { jobs: [], roots: [] });
  const { jobId } = await installs.ready(reference, { name: "named" });
  await watches.notified("job.ready", isEvent("job.ready", jobId));
  const events = eventsOf(watches);
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, index) => subscribed.seq + 1 + index),
  );
  for (const event of events) {
    assert.equal(event.epoch, subscribed.epoch);
    assert.equal(event.subscriptionId, subscribed.subscriptionId);
  }
  const types = events.map(({ type }) => type);
  assert.equal(types[0], "job.created");
  assert.equal(types.at(-1), "job.ready");
  assert.ok(types.includes("name.changed"));
  const phases = events.filter(({ type }) => type === "job.phase").map(({ data }) => data.phase);
  assert.deepEqual(phases, ["resolve", "unpack", "link", "commit"]);
  const stored = events.filter(({ type, data }) => type === "job.layer" && data.layer.state === "stored");
  assert.deepEqual(stored.map(({ data }) => data.index).sort(), [0, 1]);
  const changed = events.find(({ type }) => type === "name.changed");
  const ready = events.at(-1).data.job;
  assert.equal(changed.name, "named");
  assert.deepEqual(changed.data, { rootId: ready.root.rootId, path: ready.name.path, generation: 1 });
  assert.equal(ready.state, "ready");
});

test("a client that was away resumes behind its last event and misses nothing", async (t) => {
  const { reference, connect } = await daemonFor(t);
  const [installs, first, always] = [await connect(), await connect(), await connect()];
  const { epoch } = await first.request("events/subscribe");
  await always.request("events/subscribe");
  const one = await installs.ready(reference, { name: "one" });
  const { params: last } = await first.notified("job.ready", isEvent("job.ready", one.jobId));
  await first.close();
  const two = await installs.ready(reference, { name: "two" });
  await always.notified("job.ready", isEvent("job.ready", two.jobId));

  const back = await connect();
  const resumed = await back.request("events/subscribe", { since: { epoch, seq: last.seq } });
  assert.equal(resumed.reset, undefined);
  const { params: end } = await back.notified("job.ready", isEvent("job.ready", two.jobId));
  // What comes behind that, as that the job is durable, is on its way to both.
  const until = (wire: Wire) => eventsOf(wire).filter(({ seq }) => seq <= end.seq);
  const content = (events: Json[]) => events.map(({ subscriptionId: _, ...event }) => event);
  assert.deepEqual(content(until(back)), content(until(always).filter(({ seq }) => seq > last.seq)));
});

test("an epoch of another daemon is answered with reset and a snapshot", async (t) => {
  const { reference, connect } = await daemonFor(t);
  const wire = await connect();
  const job = await wire.ready(reference);
  const { reset, snapshot } = await wire.request("events/subscribe", { since: { epoch: "another", seq: 1 } });
  assert.equal(reset, true);
  assert.deepEqual(snapshot.jobs, []);
  assert.equal(snapshot.roots[0].rootId, job.root.rootId);
});

test("a filtered subscription sees only what it asked for; removal is told", async (t) => {
  const { reference, connect } = await daemonFor(t);
  const wire = await connect();
  const filter = { types: ["root.removed", "job.failed"] };
  const { subscriptionId } = await wire.request("events/subscribe", { filter });
  const job = await wire.ready(reference);
  await wire.install(`${reference}-missing`);
  await wire.request("root/remove", { name: "app" });
  await wire.notified("root.removed", isEvent("root.removed"));
  const [failed, removed, ...others] = eventsOf(wire, subscriptionId);
  assert.equal(failed.type, "job.failed");
  assert.equal(failed.data.job.error.code, "MANIFEST_UNKNOWN");
  assert.equal(removed.data.rootId, job.root.rootId);
  assert.deepEqual(others, []);
});

test("whoever has a snapshot and every event behind it knows which names there are, and what keeps a root", async (t) => {
  const { reference, connect } = await daemonFor(t);
  const [wire, watches] = [await connect(), await connect()];
  const { root } = await wire.ready(reference, { name: "one" });
  await wire.ready(reference, { name: "two" });
  // Not that the jobs are durable, which may still be on its way.
  const types = ["name.removed", "root.changed", "root.removed"];
  await watches.request("events/subscribe", { filter: { types } });
  const { subscriptionId: of } = await watches.request("events/subscribe", { filter: { names: ["one"], types } });
  await wire.request("root/remove", { name: "one" });
  await wire.request("root/pin", { name: "two", pinned: true });
  const { holdId } = await wire.request("root/hold", { name: "two", owner: "an editor" });
  await wire.request("root/pin", { name: "two", pinned: false });
  await wire.request("root/release", { holdId });
  await wire.request("root/remove", { name: "two" });
  await watches.notified("root.removed", isEvent("root.removed"));
  const { rootId } = root;
  const told = eventsOf(watches).filter(({ subscriptionId }) => subscriptionId !== of);
  assert.deepEqual(
    told.map(({ type, name, data }) => ({ type, name, ...data })),
    [
      { type: "name.removed", name: "one", rootId },
      { type: "root.changed", name: undefined, rootId, pinned: true },
      { type: "root.changed", name: undefined, rootId, pinned: true, heldFor: "an editor" },
      { type: "root.changed", name: undefined, rootId, pinned: false, heldFor: "an editor" },
      { type: "root.changed", name: undefined, rootId, pinned: false },
      { type: "name.removed", name: "two", rootId },
      { type: "root.removed", name: undefined, rootId },
    ],
  );
  const ofOne = eventsOf(watches, of).map(({ type }) => type);
  assert.deepEqual(ofOne, ["name.removed"]);
});

test("a typo in a filter is an error", async (t) => {
  const { connect } = await daemonFor(t);
  const wire = await connect();
  const { data } = await wire.refused("events/subscribe", { filter: { types: ["job.redy"] } });
  assert.equal(data.code, "INVALID_PARAMS");
});

test("$/progress begins with the totals, never falls, and ends with the job", async (t) => {
  const gate = gateAt(layerDigests(image).slice(1), 512 * 1024);
  const registry = await startRegistry({ images: { "app:1": image }, script: gate.script });
  t.after(() => registry.close());
  const { connect } = await daemonFor(t);
  const wire = await connect();
  const progressOf = (token: unknown): Json[] =>
    wire.notifications
      .filter(({ method, params }) => method === "$/progress" && params.token === token)
      .map(({ params }) => params.value);
  const reference = `${registry.host}/app:1`;
  const { jobId } = await wire.request("install/start", { reference, workDoneToken: "token-1" });
  await wire.notified("a report in the middle", ({ method, params }) => {
    const { kind, job } = params.value ?? {};
    return method === "$/progress" && kind === "report" && job.progress.bytesDone > 0;
  });
  gate.open();
  await wire.request("install/wait", { jobId });
  await wire.notified("the end", ({ method, params }) => method === "$/progress" && params.value.kind === "end");
  const values = progressOf("token-1");
  const kinds = values.map(({ kind }) => kind);
  assert.deepEqual(kinds, ["begin", ...Array(kinds.length - 2).fill("report"), "end"]);
  const [begin, end] = [values[0], values.at(-1)];
  assert.match(begin.title, /app:1/);
  assert.equal(begin.cancellable, true);
  assert.equal(begin.job.progress.layersTotal, 2);
  assert.equal(end.job.state, "ready");
  const done = values.map(({ job }) => job.progress.bytesDone);
  assert.deepEqual(
    done,
    done.slice().sort((a, b) => a - b),
  );
  const percentages = values.flatMap(({ percentage }) => percentage ?? []);
  assert.deepEqual(
    percentages,
    percentages.slice().sort((a, b) => a - b),
  );
});

test("$/cancelRequest ends the request with -32800 and never the job", async (t) => {
  const gate = gateAt(layerDigests(image), 100);
  const registry = await startRegistry({ images: { "app:1": image }, script: gate.script });
  t.after(() => registry.close());
  const { connect } = await daemonFor(t);
  const wire = await connect();
  const { jobId } = await wire.request("install/start", { reference: `${registry.host}/app:1` });
  const stateOf = async () => (await wire.request("install/get", { jobId })).state;
  await until("the job runs", async () => (await stateOf()) === "running");
  const waiting = wire.refused("install/wait", { jobId });
  wire.notify("$/cancelRequest", { id: wire.lastId });
  assert.equal((await waiting).rpc, -32800);
  assert.equal(await stateOf(), "running");
  gate.open();
  assert.equal((await wire.request("install/wait", { jobId })).state, "ready");
});
