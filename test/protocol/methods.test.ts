import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { StrataError } from "../../src/errors.js";
import { MAX_RUNNING_JOBS_PER_SESSION, MAX_SUBSCRIPTIONS, WORK_BURST } from "../../src/limits.js";
import { type MethodName, methods } from "../../src/messages/methods.js";
import { PROTOCOL_VERSION } from "../../src/messages/protocol.js";
import { fakeJob } from "../support/fake-services.js";
import { Peer, startHarness } from "./harness.js";

const happy: Record<Exclude<MethodName, "events/unsubscribe">, (jobId: string) => unknown> = {
  initialize: () => ({ clientInfo: { name: "test", version: "1" }, protocolVersions: [2, PROTOCOL_VERSION] }),
  "install/start": () => ({ reference: "oci:/images:app", name: "app" }),
  "install/plan": () => ({
    reference: "oci:/images:app",
    name: "app",
    platform: "linux/amd64",
    overlap: "b",
    link: "copy",
  }),
  "install/get": (jobId) => ({ jobId }),
  "install/wait": (jobId) => ({ jobId, timeoutMs: 1000 }),
  "install/list": () => ({ state: "ready", limit: 10 }),
  "install/cancel": (jobId) => ({ jobId }),
  "job/log": (jobId) => ({ jobId }),
  "image/status": () => ({ reference: "oci:/images:app" }),
  "root/list": () => ({}),
  "root/get": () => ({ name: "app" }),
  "root/remove": () => ({ rootId: "root-1" }),
  "root/rollback": () => ({ name: "app", generation: 1 }),
  "root/pin": () => ({ name: "app", pinned: true }),
  "root/hold": () => ({ rootId: "root-1", owner: "an editor" }),
  "root/release": () => ({ holdId: randomUUID() }),
  "layer/list": () => ({}),
  "store/export": () => ({ names: ["app"], path: "/exports/app.tar", codec: "none", force: true, workDoneToken: 1 }),
  "store/import": () => ({ path: "/exports/app.tar" }),
  "store/usage": () => ({}),
  "store/verify": () => ({ deep: true, repair: true, name: "app" }),
  "store/gc": () => ({ plan: true, keepBytes: 0, keepLast: 1 }),
  "events/subscribe": () => ({ filter: { types: ["job.ready"] } }),
  "server/status": () => ({}),
  "server/drain": () => ({}),
  "rpc.discover": () => ({}),
};

for (const [method, params] of Object.entries(happy)) {
  test(`${method} answers a result that fits its schema`, async (t) => {
    const { services, full } = await startHarness(t);
    const job = fakeJob({}, { state: "ready" });
    services.jobs.set(job.jobId, job);
    const peer = await Peer.connect(full);
    const { result, error } = await peer.call(method, params(job.jobId));
    assert.equal(error, undefined);
    methods[method as MethodName].result.parse(result);
  });

  test(`${method} refuses a parameter it does not know`, async (t) => {
    const { full } = await startHarness(t);
    const peer = await Peer.connect(full);
    const { error } = await peer.call(method, { ...(params(randomUUID()) as object), tpyo: 1 });
    assert.equal(error.code, -32602);
    assert.equal(error.data.code, "INVALID_PARAMS");
    assert.match(error.message, /tpyo/);
  });
}

test("events/unsubscribe ends the subscription, and an unknown one is refused", async (t) => {
  const { events, full } = await startHarness(t);
  const peer = await Peer.connect(full);
  const { subscriptionId } = (await peer.call("events/subscribe")).result;
  assert.deepEqual((await peer.call("events/unsubscribe", { subscriptionId })).result, {});
  events.publish({ type: "server.draining", data: {} });
  const again = await peer.call("events/unsubscribe", { subscriptionId });
  assert.equal(again.error.data.code, "INVALID_PARAMS");
  assert.equal(peer.events.length, 0);
});

test("a method that does not exist is UNKNOWN_METHOD", async (t) => {
  const { full } = await startHarness(t);
  const { error } = await (await Peer.connect(full)).call("install/begin", {});
  assert.equal(error.code, -32601);
  assert.equal(error.data.code, "UNKNOWN_METHOD");
});

test("a client without a common version learns which are supported", async (t) => {
  const { full } = await startHarness(t);
  const peer = await Peer.connect(full);
  const params = { clientInfo: { name: "test", version: "1" }, protocolVersions: [99] };
  const { error } = await peer.call("initialize", params);
  assert.equal(error.data.code, "UNSUPPORTED_VERSION");
  assert.deepEqual(error.data.details, { supported: [1] });
});

test("a read session may ask and not change", async (t) => {
  const { services, read } = await startHarness(t);
  const peer = await Peer.connect(read);
  const refused = await peer.call("install/start", { reference: "oci:/images:app" });
  assert.equal(refused.error.data.code, "NOT_ALLOWED");
  assert.equal(refused.error.data.exitCode, 77);
  assert.equal(services.requests.length, 0);
  assert.equal((await peer.call("root/list")).result.roots.length, 1);
});

test("a read session may ask what roots cost, and roll nothing back", async (t) => {
  const { read } = await startHarness(t);
  const peer = await Peer.connect(read);
  assert.equal((await peer.call("store/usage", {})).result.apparentBytes, 10);
  assert.equal((await peer.call("root/rollback", { name: "app" })).error.data.code, "NOT_ALLOWED");
});

test("a read session may have an install planned, with what matters to the plan and nothing else", async (t) => {
  const { services, read } = await startHarness(t);
  const peer = await Peer.connect(read);
  const params = { reference: "oci:/images:app", overlap: "a", link: "symlink" };
  assert.equal((await peer.call("install/plan", params)).result.overlap, "a");
  for (const more of [{ priority: "normal" }, { durable: true }, { detach: true }, { workDoneToken: 1 }])
    assert.equal((await peer.call("install/plan", { ...params, ...more })).error.data.code, "INVALID_PARAMS");
  assert.deepEqual(services.plans, [params]);
  assert.equal(services.requests.length, 0);
});

test("a plan that the client cancels is told to stop, and its request ends as cancelled", async (t) => {
  const { services, read } = await startHarness(t);
  services.beforePlan = (signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(new StrataError("CANCELLED", "Cannot plan: cancelled")));
      peer.send({ jsonrpc: "2.0", method: "$/cancelRequest", params: { id: "call-1" } });
    });
  const peer = await Peer.connect(read);
  const { error } = await peer.call("install/plan", { reference: "oci:/images:app" });
  assert.deepEqual([error.code, error.data.code], [-32800, "REQUEST_CANCELLED"]);
});

test("a plan that fails says why", async (t) => {
  const { services, read } = await startHarness(t);
  services.beforePlan = async () => {
    throw new StrataError("MANIFEST_UNKNOWN", "Cannot find the image: there is none");
  };
  const { error } = await (await Peer.connect(read)).call("install/plan", { reference: "oci:/images:app" });
  assert.equal(error.data.code, "MANIFEST_UNKNOWN");
});

const notRollbacks: readonly object[] = [
  {},
  { name: "" },
  { name: "app", generation: 0 },
  { name: "app", generation: -1 },
  { name: "app", generation: 1.5 },
  { name: "app", generation: "1" },
  { rootId: "root-1" },
  { name: "app", rootId: "root-1" },
];
for (const params of notRollbacks) {
  test(`root/rollback takes a name and a number from 1, not ${JSON.stringify(params)}`, async (t) => {
    const { full } = await startHarness(t);
    const { error } = await (await Peer.connect(full)).call("root/rollback", params);
    assert.equal(error.data.code, "INVALID_PARAMS");
  });
}

test("an error of a service reaches the client with its code, hint and exit code", async (t) => {
  const { full } = await startHarness(t);
  const { error } = await (await Peer.connect(full)).call("install/get", { jobId: randomUUID() });
  assert.equal(error.code, -32000);
  assert.equal(error.data.code, "UNKNOWN_JOB");
  assert.equal(error.data.exitCode, 79);
  assert.equal(error.data.retryable, false);
});

test("a result that does not fit its schema is INTERNAL and logged, and says nothing else", async (t) => {
  const { services, full, logged } = await startHarness(t);
  const job = fakeJob({}, { createdAt: "yesterday" });
  services.jobs.set(job.jobId, job);
  const peer = await Peer.connect(full);
  const { error } = await peer.call("install/get", { jobId: job.jobId });
  assert.equal(error.data.code, "INTERNAL");
  assert.doesNotMatch(JSON.stringify(error), /yesterday|createdAt/);
  assert.match(JSON.stringify(logged), /createdAt/);
});

test("what a service throws without a code is INTERNAL, its cause stays in the log", async (t) => {
  const { services, full, logged } = await startHarness(t);
  services.roots.list = () => {
    throw new TypeError("secret detail");
  };
  const { error } = await (await Peer.connect(full)).call("root/list");
  assert.equal(error.data.code, "INTERNAL");
  assert.doesNotMatch(JSON.stringify(error), /secret/);
  assert.match(JSON.stringify(logged), /secret detail/);
});

test("server/status counts the sessions by scope", async (t) => {
  const { full, read } = await startHarness(t);
  const peer = await Peer.connect(full);
  await Peer.connect(read);
  const { result } = await peer.call("server/status");
  assert.deepEqual(result.sessions, { full: 1, read: 1 });
  assert.equal(result.epoch, "epoch-1");
});

test("server/drain asks the daemon once", async (t) => {
  const { services, full } = await startHarness(t);
  const peer = await Peer.connect(full);
  assert.deepEqual((await peer.call("server/drain")).result, { draining: true });
  assert.equal(services.drained, 1);
});

test("a session has at most 16 subscriptions", async (t) => {
  const { full } = await startHarness(t);
  const peer = await Peer.connect(full);
  const answers = await Promise.all(Array.from({ length: MAX_SUBSCRIPTIONS + 1 }, () => peer.call("events/subscribe")));
  const codes = answers.map(({ error }) => error?.data.code);
  assert.equal(codes.filter((code) => code === undefined).length, MAX_SUBSCRIPTIONS);
  assert.equal(codes.at(-1), "BUSY");
});

test("a session that has too many unfinished jobs is BUSY until some are over", async (t) => {
  const { services, full } = await startHarness(t);
  const peer = await Peer.connect(full);
  const start = () => peer.call("install/start", { reference: "oci:/images:app" });
  const unfinished = MAX_RUNNING_JOBS_PER_SESSION + 32;
  for (let n = 0; n < unfinished; n += 1) assert.equal((await start()).error, undefined);
  const { error } = await start();
  assert.equal(error.data.code, "BUSY");
  assert.ok(error.data.retryAfterMs > 0);
  for (const jobId of services.jobs.keys()) services.finish(jobId);
  assert.equal((await start()).error, undefined);
});

test("a token brings begin, reports and end of the job behind the answer", async (t) => {
  const { services, full } = await startHarness(t);
  const peer = await Peer.connect(full);
  const params = { reference: "oci:/images:app", workDoneToken: 7 };
  const { result: job } = await peer.call("install/start", params);
  const progress = { bytesDone: 0, bytesTotal: 100, layersDone: 0, layersTotal: 2, entriesDone: 0 };
  services.change(job.jobId, { state: "running", phase: "unpack", progress });
  const begin = await peer.until(({ method }) => method === "$/progress");
  assert.equal(begin.params.token, 7);
  assert.equal(begin.params.value.kind, "begin");
  assert.equal(begin.params.value.job.progress.bytesTotal, 100);
  services.change(job.jobId, { progress: { ...progress, bytesDone: 50, layersDone: 1 } });
  const report = await peer.until(({ params }) => params?.value?.kind === "report");
  assert.equal(report.params.value.percentage, 50);
  services.finish(job.jobId);
  const end = await peer.until(({ params }) => params?.value?.kind === "end");
  assert.equal(end.params.value.job.state, "ready");
  assert.equal(services.observers(job.jobId), 0);
  assert.equal(peer.frames[0].id, "call-1");
  assert.equal("workDoneToken" in (services.requests[0] ?? {}), false);
});

test("a token in use is refused, and free again behind the end", async (t) => {
  const { services, full } = await startHarness(t);
  const peer = await Peer.connect(full);
  const start = () => peer.call("install/start", { reference: "oci:/images:app", workDoneToken: "t" });
  const { result: job } = await start();
  assert.equal((await start()).error.data.code, "INVALID_PARAMS");
  services.finish(job.jobId);
  await peer.until(({ params }) => params?.value?.kind === "end");
  assert.equal((await start()).error, undefined);
});

test("a session that is gone leaves its jobs orphaned and unobserved", async (t) => {
  const { services, full } = await startHarness(t);
  const peer = await Peer.connect(full);
  const { result: job } = await peer.call("install/start", { reference: "oci:/images:app", workDoneToken: 1 });
  // By the token and by the session's budget.
  assert.equal(services.observers(job.jobId), 2);
  const orphaned = services.until("orphan");
  peer.socket.terminate();
  await orphaned;
  assert.equal(services.orphaned.length, 1);
  assert.equal(services.observers(job.jobId), 0);
  assert.equal(services.jobs.get(job.jobId)?.state, "queued");
});

test("rpc.discover describes every method as it is checked, and what is sent unasked", async (t) => {
  const { read } = await startHarness(t);
  const peer = await Peer.connect(read);
  const { result } = await peer.call("rpc.discover", {});
  assert.deepEqual(
    result.methods.map(({ name, "x-scope": scope }: { name: string; "x-scope": string }) => [name, scope]),
    Object.entries(methods).map(([name, { scope }]) => [name, scope]),
  );
  const of = (wanted: string) => result.methods.find(({ name }: { name: string }) => name === wanted);
  assert.deepEqual(
    of("install/wait").params.map(({ name, required }: { name: string; required: boolean }) => [name, required]),
    [
      ["jobId", true],
      ["timeoutMs", false],
    ],
  );
  assert.equal(of("root/get").result.schema.properties.rootId.type, "string");
  assert.ok(result["x-notifications"].event.properties.type.enum.includes("name.removed"));
});

test("an id that would come back as another is refused", async (t) => {
  const { full } = await startHarness(t);
  const peer = await Peer.connect(full);
  peer.send('{"jsonrpc":"2.0","id":9007199254740993,"method":"server/status"}');
  const { id, error } = await peer.until(() => true);
  assert.deepEqual([id, error.code], [null, -32600]);
});

test("a job that is only found again by its key is no work, however often", async (t) => {
  const { full, services } = await startHarness(t);
  services.nextJob = { state: "failed" };
  const peer = await Peer.connect(full);
  const asked = Array.from({ length: WORK_BURST + 5 }, () =>
    peer.call("install/start", { reference: "oci:/images:app", requestKey: "key" }),
  );
  const answers = await Promise.all(asked);
  assert.deepEqual(
    answers.flatMap(({ error }) => error ?? []),
    [],
  );
  assert.equal(new Set(answers.map(({ result }) => result.jobId)).size, 1);
});
