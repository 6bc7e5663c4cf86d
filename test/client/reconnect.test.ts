import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { WebSocketServer } from "ws";
import { type Job, StratadClient, StrataError, type SubscriptionItem } from "../../src/client/client.js";
import { SUBPROTOCOL } from "../../src/messages/protocol.js";
import { type Harness, startHarness, temporaryDirectory } from "../protocol/harness.js";

const reference = "oci:/images:app";
const event = { type: "job.layer", data: {} } as const;
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

async function connect(t: TestContext, harness: Harness, reconnect = true): Promise<StratadClient> {
  const client = await StratadClient.connect({ endpoint: harness.full, reconnect, reconnectTimeoutMs: 5000 });
  t.after(() => client.close());
  return client;
}

async function take(items: AsyncIterator<SubscriptionItem>, count: number): Promise<SubscriptionItem[]> {
  const taken: SubscriptionItem[] = [];
  while (taken.length < count) {
    const { value } = await items.next();
    assert.ok(value !== undefined);
    taken.push(value);
  }
  return taken;
}

test("an install outlives its connection: one job, followed to its end", async (t) => {
  const harness = await startHarness(t);
  const { services, server } = harness;
  const client = await connect(t, harness);
  const install = client.install({ reference });
  const { jobId } = await install.started;
  for (let round = 0; round < 3; round += 1) {
    // The session's budget, and the token of the install.
    const again = services.until("observe", 2);
    await server.closeSessions(1001, "test");
    await again;
  }
  const progress = { bytesDone: 5, bytesTotal: 9, layersDone: 0, layersTotal: 1, entriesDone: 0 };
  services.change(jobId, { state: "running", progress });
  const seen: Job[] = [];
  for await (const job of install) {
    seen.push(job);
    if (job.state === "running") services.finish(jobId);
  }
  assert.deepEqual(new Set(seen.map((job) => job.jobId)), new Set([jobId]));
  assert.equal(seen.at(-1)?.state, "ready");
  assert.equal(services.jobs.size, 1);
  assert.equal(services.requests.length, 4);
});

test("a job that ends while nobody is connected is still seen to its end", async (t) => {
  const harness = await startHarness(t);
  const { services, server } = harness;
  const client = await connect(t, harness);
  const install = client.install({ reference });
  const { jobId } = await install.started;
  await server.closeSessions(1001, "test");
  services.finish(jobId);
  assert.equal((await install.finished).state, "ready");
  assert.equal(services.jobs.size, 1);
});

test("a daemon that takes no start is waited at for the job it has", async (t) => {
  const harness = await startHarness(t);
  const { services, server } = harness;
  const client = await connect(t, harness);
  const install = client.install({ reference });
  const { jobId } = await install.started;
  services.refuseStart = new StrataError("SHUTTING_DOWN", "Cannot start: stopping");
  const waited = services.until("wait");
  await server.closeSessions(1001, "test");
  await waited;
  services.finish(jobId);
  assert.equal((await install.finished).state, "ready");
  assert.equal(services.jobs.size, 1);
});

test("an install that is lost before its answer is repeated and makes one job", async (t) => {
  const harness = await startHarness(t);
  const { services, server } = harness;
  const client = await connect(t, harness);
  const install = client.install({ reference });
  await services.until("start");
  // The answer is on its way at the same time as this close.
  await server.closeSessions(1001, "test");
  const { jobId } = await install.started;
  services.finish(jobId);
  assert.equal((await install.finished).state, "ready");
  assert.equal(services.jobs.size, 1);
});

test("a daemon that restarts and knows the job no more gets the install again", async (t) => {
  const first = await startHarness(t);
  const client = await connect(t, first);
  const install = client.install({ reference });
  const lost = (await install.started).jobId;
  await first.server.close();
  const second = await startHarness(t, { directory: first.directory });
  await second.services.until("observe");
  const [jobId] = [...second.services.jobs.keys()];
  assert.ok(jobId !== undefined && jobId !== lost);
  second.services.finish(jobId);
  assert.equal((await install.finished).jobId, jobId);
});

test("a subscription resumes behind its last event: none lost, none twice", async (t) => {
  const harness = await startHarness(t);
  const { events, server } = harness;
  const client = await connect(t, harness);
  const subscription = client.subscribe();
  const [snapshot] = await take(subscription, 1);
  assert.equal(snapshot?.type, "snapshot");
  const seqs: number[] = [];
  for (let round = 0; round < 4; round += 1) {
    for (let n = 0; n < 50; n += 1) events.publish(event);
    seqs.push(...(await take(subscription, 25)).map(({ seq }) => seq));
    await server.closeSessions(1001, "test");
    for (let n = 0; n < 50; n += 1) events.publish(event);
  }
  seqs.push(...(await take(subscription, 300)).map(({ seq }) => seq));
  assert.deepEqual(seqs, range(1, 400));
});

test("a filtered subscription resumes from the bookmark, not from its last event", async (t) => {
  const harness = await startHarness(t, { hub: { maxRingEvents: 5 } });
  const { events, server } = harness;
  const client = await connect(t, harness);
  const subscription = client.subscribe({ filter: { types: ["job.ready"] } });
  await take(subscription, 1);
  for (let n = 0; n < 20; n += 1) events.publish(event);
  events.bookmark();
  // An answered request stands behind the bookmark in the same connection.
  await client.request("server/status", {});
  await server.closeSessions(1001, "test");
  events.publish({ type: "job.ready", data: {} });
  assert.deepEqual(
    (await take(subscription, 1)).map(({ type, seq }) => [type, seq]),
    [["job.ready", 21]],
  );
});

test("what cannot be replayed becomes one reset with the present state", async (t) => {
  const first = await startHarness(t);
  const client = await connect(t, first);
  const subscription = client.subscribe();
  await take(subscription, 1);
  first.events.publish(event);
  await take(subscription, 1);
  await first.server.close();
  const second = await startHarness(t, { directory: first.directory, hub: { epoch: "epoch-2" } });
  const [reset] = await take(subscription, 1);
  assert.ok(reset?.type === "reset");
  assert.deepEqual([reset.epoch, reset.seq, reset.snapshot.roots.length], ["epoch-2", 0, 1]);
  second.events.publish(event);
  const [live] = await take(subscription, 1);
  assert.deepEqual([live?.type, live?.epoch, live?.seq], ["job.layer", "epoch-2", 1]);
  assert.equal(client.server.epoch, "epoch-2");
});

test("leaving the loop of a subscription closes it at the daemon", async (t) => {
  const harness = await startHarness(t);
  const client = await connect(t, harness);
  for (let n = 0; n < 40; n += 1) {
    for await (const item of client.subscribe()) {
      assert.equal(item.type, "snapshot");
      break;
    }
    await client.request("server/status", {});
  }
});

test("a request waits for a lost connection to come back", async (t) => {
  const harness = await startHarness(t);
  const client = await connect(t, harness);
  await harness.server.closeSessions(1001, "test");
  assert.equal((await client.request("root/list", {})).roots.length, 1);
});

test("a removal that was under way when the connection was lost is DAEMON_UNREACHABLE, not repeated", async (t) => {
  const { server, services, full } = await startHarness(t);
  let removals = 0;
  const asked = new Promise<void>((resolve) => {
    services.roots.remove = () => {
      removals += 1;
      resolve();
      return new Promise(() => undefined);
    };
  });
  const client = await StratadClient.connect({ endpoint: full });
  t.after(() => client.close());
  const rejected = assert.rejects(client.request("root/remove", { name: "app" }), { code: "DAEMON_UNREACHABLE" });
  await asked;
  await server.closeSessions(1001, "test");
  await rejected;
  await client.request("root/list", {});
  assert.equal(removals, 1);
});

test("a question that was under way when the connection was lost is asked again, but not for ever", async (t) => {
  const { server, services, full } = await startHarness(t);
  let questions = 0;
  let losses = 0;
  const { usage } = services.store;
  services.store.usage = async () => {
    questions += 1;
    if (questions > losses) return usage();
    void server.closeSessions(1001, "test");
    return new Promise(() => undefined);
  };
  const client = await StratadClient.connect({ endpoint: full });
  t.after(() => client.close());
  losses = 2;
  assert.equal((await client.request("store/usage", {})).apparentBytes, 10);
  assert.equal(questions, 3);
  losses = Number.POSITIVE_INFINITY;
  await assert.rejects(client.request("store/usage", {}), { code: "DAEMON_UNREACHABLE" });
  assert.equal(questions, 3 + 4);
});

test("a start with a key that was lost before its answer is asked again and makes one job, one without is not", async (t) => {
  const { server, services, full } = await startHarness(t);
  const client = await StratadClient.connect({ endpoint: full });
  t.after(() => client.close());
  const lost = async () => {
    await services.until("start");
    await server.closeSessions(1001, "test");
  };
  const closing = lost();
  const { jobId } = await client.request("install/start", { reference, requestKey: "key" });
  await closing;
  assert.deepEqual([...services.jobs.keys()], [jobId]);
  services.installs.accepted = () => new Promise(() => undefined);
  const rejected = assert.rejects(client.request("install/start", { reference }), { code: "DAEMON_UNREACHABLE" });
  await lost();
  await rejected;
  assert.equal(services.jobs.size, 2);
});

/** Ways to be gone between the connection and the first answer. */
const lostAt = {
  "in the handshake": (server: Server, gone: () => void) =>
    server.on("upgrade", (_, socket) => gone() ?? socket.destroy()),
  "before its first answer": (server: Server, gone: () => void) => {
    const sockets = new WebSocketServer({ server, handleProtocols: () => SUBPROTOCOL });
    sockets.on("connection", (socket) => socket.on("message", () => gone() ?? socket.terminate()));
  },
};

for (const [when, lose] of Object.entries(lostAt)) {
  test(`a daemon that is lost ${when} is dialled until its successor is there`, async (t) => {
    const directory = await temporaryDirectory(t);
    const endpoint = join(directory, "stratad.sock");
    const dying = createServer();
    const gone = new Promise<void>((resolve) => lose(dying, resolve));
    await once(dying.listen(endpoint), "listening");
    const connecting = StratadClient.connect({ endpoint, reconnectTimeoutMs: 60_000 });
    await gone;
    dying.close();
    await once(dying, "close");
    const { services } = await startHarness(t, { directory });
    const client = await connecting;
    t.after(() => client.close());
    const { jobId } = await client.install({ reference }).started;
    assert.deepEqual([...services.jobs.keys()], [jobId]);
  });

  test(`a daemon that is lost ${when} and has no successor is DAEMON_UNREACHABLE in the end`, async (t) => {
    const endpoint = join(await temporaryDirectory(t), "stratad.sock");
    const dying = createServer();
    let times = 0;
    lose(dying, () => {
      times += 1;
    });
    await once(dying.listen(endpoint), "listening");
    t.after(() => dying.close());
    const options = { endpoint, reconnectTimeoutMs: 60_000 };
    await assert.rejects(StratadClient.connect({ ...options, firstReconnectTimeoutMs: 0 }), {
      code: "DAEMON_UNREACHABLE",
    });
    assert.equal(times, 2);
    await assert.rejects(StratadClient.connect({ ...options, reconnect: false }), { code: "DAEMON_UNREACHABLE" });
    assert.equal(times, 3);
    const connecting = StratadClient.connect({ ...options, signal: AbortSignal.timeout(20) });
    await assert.rejects(connecting, { code: /REQUEST_CANCELLED|DAEMON_UNREACHABLE/ });
  });
}

test("a wait that is lost under way is asked again, and ends with the job", async (t) => {
  const harness = await startHarness(t);
  const { services, server } = harness;
  const client = await connect(t, harness);
  const { jobId } = await client.install({ reference }).started;
  let asked = services.until("wait");
  const waiting = client.wait(jobId);
  for (let round = 0; round < 3; round += 1) {
    await asked;
    asked = services.until("wait");
    await server.closeSessions(1001, "test");
  }
  await asked;
  services.finish(jobId);
  assert.deepEqual([(await waiting).jobId, (await waiting).state], [jobId, "ready"]);
  await assert.rejects(client.wait("00000000-0000-7000-8000-000000000000"), { code: "UNKNOWN_JOB" });
});

test("without reconnect everything ends with the connection", async (t) => {
  const harness = await startHarness(t);
  const client = await connect(t, harness, false);
  const install = client.install({ reference });
  await install.started;
  const subscription = client.subscribe();
  await take(subscription, 1);
  const next = subscription.next();
  const rejected = Promise.all([
    assert.rejects(install.finished, { code: "DAEMON_UNREACHABLE" }),
    assert.rejects(next, { code: "DAEMON_UNREACHABLE" }),
  ]);
  await harness.server.closeSessions(1001, "test");
  await rejected;
  await assert.rejects(client.request("root/list", {}), { code: "DAEMON_UNREACHABLE" });
});

test("whoever waits for a lost daemon is asked once, and may start the next one", async (t) => {
  const first = await startHarness(t);
  let asked = 0;
  const whenLost = async () => {
    asked += 1;
    await startHarness(t, { directory: first.directory });
  };
  const client = await StratadClient.connect({ endpoint: first.full, reconnectTimeoutMs: 60_000, whenLost });
  t.after(() => client.close());
  await first.server.closeSessions(1001, "test");
  await client.request("root/list", {});
  assert.equal(asked, 0);
  await first.server.close();
  await Promise.all([client.request("root/list", {}), client.request("root/list", {})]);
  assert.equal(asked, 1);
});

test("what keeps the next daemon from starting is what they hear who wait for it", async (t) => {
  const harness = await startHarness(t);
  const refusal = new StrataError("STORE_VERSION", "Cannot start");
  const whenLost = () => Promise.reject(refusal);
  const client = await StratadClient.connect({ endpoint: harness.full, reconnectTimeoutMs: 60_000, whenLost });
  t.after(() => client.close());
  await harness.server.close();
  await assert.rejects(client.request("root/list", {}), refusal);
});

test("a client that is closed while somebody is asked fails those who wait", async (t) => {
  const harness = await startHarness(t);
  let asked = (): void => undefined;
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const whenLost = () => new Promise<void>(() => asked());
  const client = await StratadClient.connect({ endpoint: harness.full, reconnectTimeoutMs: 60_000, whenLost });
  await harness.server.close();
  const waiting = assert.rejects(client.request("root/list", {}), { code: "REQUEST_CANCELLED" });
  await isAsked;
  await client.close();
  await waiting;
});

test("a daemon that does not come back is DAEMON_UNREACHABLE in the end", async (t) => {
  const harness = await startHarness(t);
  const client = await StratadClient.connect({ endpoint: harness.full, reconnectTimeoutMs: 50 });
  const install = client.install({ reference });
  await install.started;
  await harness.server.close();
  await assert.rejects(install.finished, { code: "DAEMON_UNREACHABLE" });
  await client.close();
});
