import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { WebSocketServer } from "ws";
import { type Job, StratadClient, StrataError } from "../../src/client/client.js";
import { createToken } from "../../src/protocol/tokens.js";
import { startHarness, temporaryDirectory } from "../protocol/harness.js";
import { fakeJob } from "../support/fake-services.js";

// node:test fails a test for every unhandled rejection: each test here is one for that too.

const reference = "oci:/images:app";

test("a client knows the daemon it is connected to, and asks it", async (t) => {
  const { full } = await startHarness(t);
  const client = await StratadClient.connect({ endpoint: full });
  assert.equal(client.server.instanceId, "instance-1");
  assert.equal(client.server.scope, "full");
  assert.deepEqual(client.server.capabilities.overlaps, ["c"]);
  assert.equal((await client.status(reference)).installed, true);
  assert.equal((await client.request("root/list", {})).roots.length, 1);
  await client.close();
});

test("a client reaches a TCP endpoint with its token, and is NOT_ALLOWED without", async (t) => {
  const tokens = { full: createToken(), read: createToken() };
  const listeners = [{ kind: "tcp", host: "127.0.0.1", port: 0, tokens } as const];
  const { server } = await startHarness(t, { listeners });
  const endpoint = server.endpoints[0]?.url ?? "";
  const client = await StratadClient.connect({ endpoint, token: tokens.read });
  assert.equal(client.server.scope, "read");
  await client.close();
  await assert.rejects(StratadClient.connect({ endpoint, env: {} }), { code: "NOT_ALLOWED" });
});

test("a socket path with a colon and a question mark is only a path", async (t) => {
  const path = join(await temporaryDirectory(t), "a:b?c.sock");
  await startHarness(t, { listeners: [{ kind: "unix", path, scope: "read" }] });
  const client = await StratadClient.connect({ endpoint: `unix:${path}` });
  await client.close();
});

test("where nobody listens it is DAEMON_UNREACHABLE, also behind a stale daemon.json", async (t) => {
  const directory = await temporaryDirectory(t);
  const endpoint = join(directory, "nobody.sock");
  await assert.rejects(StratadClient.connect({ endpoint }), { code: "DAEMON_UNREACHABLE", message: /ENOENT/ });
  const env = { XDG_RUNTIME_DIR: directory };
  await assert.rejects(StratadClient.connect({ env }), { code: "DAEMON_UNREACHABLE" });
});

test("a daemon that takes connections and says nothing is DAEMON_UNREACHABLE in time", async (t) => {
  const path = join(await temporaryDirectory(t), "mute.sock");
  const mute = createServer().on("upgrade", () => undefined);
  mute.listen(path);
  await once(mute, "listening");
  t.after(() => {
    mute.close();
    mute.closeAllConnections();
  });
  const connecting = StratadClient.connect({ endpoint: path, connectTimeoutMs: 30 });
  await assert.rejects(connecting, { code: "DAEMON_UNREACHABLE", message: /within 30 ms/ });
});

test("a signal ends the connecting", async (t) => {
  const { full } = await startHarness(t);
  const connecting = StratadClient.connect({ endpoint: full, signal: AbortSignal.abort() });
  await assert.rejects(connecting, { code: "REQUEST_CANCELLED" });
});

test("errors of the daemon are StrataErrors with all they carry", async (t) => {
  const { services, full } = await startHarness(t);
  const client = await StratadClient.connect({ endpoint: full });
  services.refuseStart = new StrataError("BUSY", "Cannot start: full", { retryAfterMs: 7, details: { a: 1 } });
  const install = client.install({ reference });
  await assert.rejects(install.finished, (error: StrataError) => {
    assert.ok(error instanceof StrataError);
    assert.deepEqual([error.code, error.options.retryAfterMs, error.options.details], ["BUSY", 7, { a: 1 }]);
    return true;
  });
  await assert.rejects(install.started, { code: "BUSY" });
  await client.close();
});

test("a refused install that nobody looks at is no unhandled rejection", async (t) => {
  const { services, full } = await startHarness(t);
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", note);
  t.after(() => process.off("unhandledRejection", note));
  const client = await StratadClient.connect({ endpoint: full });
  services.refuseStart = new StrataError("BUSY", "Cannot start: full");
  client.install({ reference });
  await services.until("start");
  await client.request("server/status", {});
  await new Promise(setImmediate);
  assert.deepEqual(unhandled, []);
  await client.close();
});

test("params that do not fit are refused by the daemon, and by the client what no frame takes", async (t) => {
  const { services, full } = await startHarness(t);
  const client = await StratadClient.connect({ endpoint: full });
  const start = (params: object) => client.request("install/start", { reference, requestKey: "once", ...params });
  await assert.rejects(start({ reference: "" }), { code: "INVALID_PARAMS", message: /install\/start: reference: / });
  await assert.rejects(start({ reference: "x".repeat(300_000) }), {
    code: "INVALID_PARAMS",
    message: /a frame of 300/,
  });
  await assert.rejects(start({ name: 1n }), { code: "INVALID_PARAMS", message: /they are no JSON$/ });
  assert.equal(services.requests.length, 0);
  assert.equal((await client.status(reference)).installed, true);
  await client.close();
});

test("an answer that does not fit its schema is UNSUPPORTED_VERSION", async (t) => {
  const path = join(await temporaryDirectory(t), "odd.sock");
  const http = createServer();
  const odd = new WebSocketServer({ server: http });
  odd.on("connection", (socket) => {
    socket.on("message", (text) => {
      socket.send("not JSON");
      socket.send(JSON.stringify({ jsonrpc: "2.0", id: JSON.parse(String(text)).id, result: { odd: true } }));
    });
  });
  http.listen(path);
  await once(http, "listening");
  t.after(() => http.close());
  await assert.rejects(StratadClient.connect({ endpoint: path }), { code: "UNSUPPORTED_VERSION" });
});

test("a signal cancels the request at the daemon and not the job", async (t) => {
  const { services, full } = await startHarness(t);
  const client = await StratadClient.connect({ endpoint: full });
  const job = fakeJob();
  services.jobs.set(job.jobId, job);
  const cancel = new AbortController();
  const asked = services.until("wait");
  const waiting = client.request("install/wait", { jobId: job.jobId }, { signal: cancel.signal });
  await asked;
  cancel.abort();
  await assert.rejects(waiting, { code: "REQUEST_CANCELLED" });
  assert.equal((await client.request("install/get", { jobId: job.jobId })).state, "queued");
  await client.close();
});

test("an install yields the job as it changes, and ends behind the terminal one", async (t) => {
  const { services, full } = await startHarness(t);
  const client = await StratadClient.connect({ endpoint: full });
  const observed = services.until("observe");
  const install = client.install({ reference, name: "app" });
  const { jobId } = await install.started;
  await observed;
  const states: [Job["state"], number][] = [];
  const progress = { bytesDone: 1, bytesTotal: 9, layersDone: 0, layersTotal: 1, entriesDone: 0 };
  for await (const job of install) {
    states.push([job.state, job.progress.bytesDone]);
    if (job.state === "queued") services.change(jobId, { state: "running", progress });
    else if (job.state === "running") services.finish(jobId);
  }
  assert.deepEqual(states, [
    ["queued", 0],
    ["running", 1],
    ["ready", 1],
  ]);
  assert.equal((await install.finished).jobId, jobId);
  assert.equal(services.requests[0]?.name, "app");
  const again: string[] = [];
  for await (const job of install) again.push(job.state);
  assert.deepEqual(again, ["ready"]);
  await client.close();
});

test("a failed install finishes with the job, which has the error", async (t) => {
  const { services, full } = await startHarness(t);
  services.nextJob = { state: "failed", error: new StrataError("OFFLINE", "Cannot fetch: offline").toWire() };
  const client = await StratadClient.connect({ endpoint: full });
  const job = await client.install({ reference }).finished;
  assert.equal(job.error?.code, "OFFLINE");
  await client.close();
});

test("cancel withdraws the interest and the install ends cancelled", async (t) => {
  const { full } = await startHarness(t);
  const client = await StratadClient.connect({ endpoint: full });
  const install = client.install({ reference });
  assert.equal((await install.cancel()).state, "cancelled");
  assert.equal((await install.finished).state, "cancelled");
  await client.close();
});

test("a signal ends the following of an install, and the job goes on", async (t) => {
  const { services, full } = await startHarness(t);
  const client = await StratadClient.connect({ endpoint: full });
  const stop = new AbortController();
  const install = client.install({ reference }, { signal: stop.signal });
  const { jobId } = await install.started;
  stop.abort();
  await assert.rejects(install.finished, { code: "REQUEST_CANCELLED" });
  assert.equal(services.jobs.get(jobId)?.state, "queued");
  await client.close();
});

test("closing the client ends what waits, and nothing is left unhandled", async (t) => {
  const { services, full } = await startHarness(t);
  const client = await StratadClient.connect({ endpoint: full });
  const install = client.install({ reference });
  client.install({ reference });
  await install.started;
  const subscription = client.subscribe();
  assert.equal((await subscription.next()).value?.type, "snapshot");
  const next = subscription.next();
  await client.close();
  await assert.rejects(install.finished, { code: "REQUEST_CANCELLED" });
  assert.deepEqual(await next, { done: true, value: undefined });
  await assert.rejects(client.request("root/list", {}), { code: "REQUEST_CANCELLED" });
  assert.equal(services.jobs.size, 2);
});
