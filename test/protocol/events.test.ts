import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { DELIVERIES_A_TURN, DELIVERY_REST_MS, MAX_SUBSCRIPTIONS } from "../../src/limits.js";
import { createLog } from "../../src/log.js";
import type { EventFilter } from "../../src/messages/events.js";
import { EventHub, type EventHubOptions } from "../../src/protocol/events.js";
import { fakeJob } from "../support/fake-services.js";
import { type Frame, Peer, startHarness } from "./harness.js";

const jobIds = ["11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"] as const;

class Sink {
  flowing = true;
  slow = false;
  readonly frames: Frame[] = [];
  send(frame: string): void {
    this.frames.push(JSON.parse(frame));
  }
  closeSlow(): void {
    this.slow = true;
  }
  get seqs(): number[] {
    return this.frames.map(({ params }) => params.seq);
  }
}

class SlowSink extends Sink {
  override send(frame: string): void {
    for (const start = performance.now(); performance.now() - start < 1; );
    super.send(frame);
  }
}

function createHub(options: Partial<EventHubOptions> = {}): EventHub {
  const fail = (line: string) => assert.fail(line);
  return new EventHub({ epoch: "e", log: createLog("error", fail), ...options });
}

const event = { type: "job.phase", jobId: jobIds[0], data: {} } as const;
const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => from + n);

const anyStep = () =>
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant("publish" as const), count: fc.integer({ min: 1, max: 9 }) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("open" as const), back: fc.integer({ min: -1, max: 25 }) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("start" as const), which: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("stall" as const), which: fc.nat(5) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("drain" as const), which: fc.nat(5) }) },
  );

type Step = ReturnType<typeof anyStep> extends fc.Arbitrary<infer T> ? T : never;

test("every subscription gets each event behind its start once and in order, however it flows, or is closed as slow", () => {
  const run = (steps: Step[]) => {
    const hub = createHub({ maxRingEvents: 20 });
    const all: { sink: Sink; from: number; opened: ReturnType<EventHub["open"]>; started: boolean }[] = [];
    for (const now of steps) {
      if (now.do === "publish") for (let n = 0; n < now.count; n += 1) hub.publish(event);
      if (now.do === "open") {
        const sink = new Sink();
        const since = now.back < 0 ? undefined : { epoch: "e", seq: Math.max(0, hub.seq - now.back) };
        const opened = hub.open(sink, { since });
        assert.equal(opened.reset, since !== undefined && since.seq < hub.oldest - 1);
        assert.equal(opened.subscription.seq, opened.replayed ? since?.seq : hub.seq);
        all.push({ sink, from: opened.subscription.seq, opened, started: false });
      }
      const one = "which" in now ? all[now.which] : undefined;
      if (one === undefined) continue;
      if (now.do === "start" && !one.started) {
        one.started = true;
        one.opened.subscription.start();
      }
      one.sink.flowing = now.do !== "stall";
      if (now.do === "drain" && one.started) one.opened.subscription.pump();
    }
    for (const { sink, from, opened, started } of all) {
      sink.flowing = true;
      if (started) opened.subscription.pump();
      assert.deepEqual(sink.seqs, range(from + 1, from + sink.seqs.length));
      if (started && !sink.slow) assert.equal(from + sink.seqs.length, hub.seq);
      if (!started) assert.deepEqual(sink.seqs, []);
    }
    hub.close();
  };
  fc.assert(fc.property(fc.array(anyStep(), { maxLength: 60 }), run), { numRuns: 500 });
});

const filters: [string, EventFilter, number[]][] = [
  ["nothing", {}, [1, 2, 3, 4]],
  ["a job", { jobIds: [jobIds[1]] }, [2]],
  ["a name", { names: ["app"] }, [3]],
  ["types", { types: ["job.phase", "root.removed"] }, [1, 2, 4]],
  ["a job and a type that it has not", { jobIds: [jobIds[0]], types: ["name.changed"] }, []],
  ["an empty list", { types: [] }, []],
];
for (const [what, filter, seqs] of filters) {
  test(`a subscription filtered by ${what} gets those events, replayed and live`, () => {
    const hub = createHub();
    const live = new Sink();
    hub.open(live, { filter }).subscription.start();
    hub.publish(event);
    hub.publish({ type: "job.phase", jobId: jobIds[1], data: {} });
    hub.publish({ type: "name.changed", name: "app", data: {} });
    hub.publish({ type: "root.removed", data: {} });
    const replayed = new Sink();
    hub.open(replayed, { filter, since: { epoch: "e", seq: 0 } }).subscription.start();
    assert.deepEqual(live.seqs, seqs);
    assert.deepEqual(replayed.seqs, seqs);
    hub.close();
  });
}

test("the ring is bounded in bytes too", () => {
  const hub = createHub({ maxRingBytes: 10_000 });
  for (let n = 0; n < 30; n += 1) hub.publish({ type: "job.layer", data: { text: "é".repeat(500) } });
  assert.ok(hub.oldest > 20 && hub.oldest < 24, `oldest is ${hub.oldest}`);
  hub.close();
});

const elsewhere: [string, { epoch: string; seq: number }][] = [
  ["another epoch", { epoch: "other", seq: 3 }],
  ["the future", { epoch: "e", seq: 4 }],
];
for (const [what, since] of elsewhere) {
  test(`a position of ${what} is reset`, () => {
    const hub = createHub();
    for (let n = 0; n < 3; n += 1) hub.publish(event);
    const { reset, subscription } = hub.open(new Sink(), { since });
    assert.equal(reset, true);
    assert.equal(subscription.seq, 3);
    hub.close();
  });
}

test("what is published during a replay waits its turn until the receiver flows", () => {
  const hub = createHub();
  for (let n = 0; n < 3; n += 1) hub.publish(event);
  const sink = new Sink();
  sink.flowing = false;
  const { subscription } = hub.open(sink, { since: { epoch: "e", seq: 0 } });
  subscription.start();
  hub.publish(event);
  hub.bookmark();
  assert.deepEqual(sink.seqs, []);
  sink.flowing = true;
  subscription.pump();
  assert.deepEqual(sink.seqs, [1, 2, 3, 4]);
  hub.close();
});

test("thousands get each event in its order, so many in a turn", async () => {
  const hub = createHub();
  const sinks = Array.from({ length: 3 * DELIVERIES_A_TURN + 1 }, () => new Sink());
  for (const sink of sinks) hub.open(sink, {}).subscription.start();
  const sent = () => sinks.reduce((total, { frames }) => total + frames.length, 0);
  hub.publish(event);
  assert.equal(sent(), DELIVERIES_A_TURN);
  for (let n = 0; n < 9; n += 1) hub.publish(event);
  for (let before = sent(); before < 10 * sinks.length; before = sent()) {
    await nextTurn();
    assert.ok(sent() - before <= 2 * DELIVERIES_A_TURN);
  }
  for (const { seqs } of sinks) assert.deepEqual(seqs, range(1, 10));
  hub.close();
});

test("what is published right behind a pass over thousands goes to each of them in one go, after a rest", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const hub = createHub();
  const sinks = Array.from({ length: DELIVERIES_A_TURN + 1 }, () => new Sink());
  for (const sink of sinks) hub.open(sink, {}).subscription.start();
  const allHave = (upTo: number) => sinks.every(({ frames }) => frames.length === upTo);
  hub.publish(event);
  await nextTurn();
  assert.ok(allHave(1));
  hub.publish(event);
  t.mock.timers.tick(DELIVERY_REST_MS - 1);
  hub.publish(event);
  await nextTurn();
  assert.ok(allHave(1), "during the rest");
  t.mock.timers.tick(1);
  for (let turns = 0; turns < 3; turns += 1) await nextTurn();
  assert.ok(allHave(3), "after it");
  t.mock.timers.tick(DELIVERY_REST_MS);
  hub.publish(event);
  assert.equal(sinks[0]?.frames.length, 4, "at once, when nothing had come");
  hub.close();
});

test("what is published has gone to everybody when it is flushed", () => {
  const hub = createHub();
  const sinks = Array.from({ length: 2 * DELIVERIES_A_TURN }, () => new Sink());
  for (const sink of sinks) hub.open(sink, {}).subscription.start();
  for (let n = 0; n < 3; n += 1) hub.publish(event);
  hub.flush();
  for (const { seqs } of sinks) assert.deepEqual(seqs, range(1, 3));
  hub.close();
});

test("a bookmark says where the stream stands, and takes no number", () => {
  const hub = createHub();
  const sink = new Sink();
  hub.open(sink, { filter: { types: ["job.ready"] } }).subscription.start();
  hub.publish(event);
  hub.bookmark();
  hub.publish(event);
  hub.bookmark();
  assert.deepEqual(sink.seqs, [1, 2]);
  assert.deepEqual(
    sink.frames.map(({ params }) => params.type),
    ["bookmark", "bookmark"],
  );
  hub.close();
});

test("a bookmark goes to thousands in slices, and to each of them says what came last, events meanwhile too", async () => {
  const hub = createHub();
  const sinks = Array.from({ length: 64 }, () => new SlowSink());
  for (const sink of sinks) hub.open(sink, {}).subscription.start();
  const told = () => sinks.filter(({ frames }) => frames[0]?.params.type === "bookmark").length;
  hub.bookmark();
  const first = told();
  assert.ok(first < sinks.length, `${first} in one turn`);
  await nextTurn();
  await nextTurn();
  assert.ok(told() > first);
  hub.publish(event);
  const before = told();
  for (let turns = 0; turns < 10; turns += 1) await nextTurn();
  assert.equal(told(), before);
  for (const { seqs } of sinks) assert.equal(seqs.at(-1), 1);
  hub.close();
});

test("who wants nothing of what happens meanwhile gets its bookmark all the same", async () => {
  const hub = createHub();
  const sinks = Array.from({ length: 64 }, () => new SlowSink());
  for (const sink of sinks) hub.open(sink, { filter: { types: ["job.ready"] } }).subscription.start();
  hub.bookmark();
  hub.publish(event);
  for (let turns = 0; turns < 100; turns += 1) await nextTurn();
  assert.ok(sinks.every(({ frames }) => frames.length === 1 && frames[0]?.params.type === "bookmark"));
  assert.equal(sinks.at(-1)?.seqs[0], 1);
  hub.close();
});

test("an event that does not fit its schema is logged and takes no number", () => {
  const lines: string[] = [];
  const hub = createHub({ log: createLog("error", (line) => lines.push(line)) });
  hub.publish({ type: "no.such" as never, data: {} });
  hub.publish({ type: "job.ready", data: { n: 1n } });
  assert.equal(hub.seq, 0);
  assert.equal(lines.length, 2);
  hub.close();
});

test("a fresh subscription gets a snapshot in its answer and then live events", async (t) => {
  const { services, events, full } = await startHarness(t);
  const job = fakeJob();
  services.jobs.set(job.jobId, job);
  events.publish(event);
  const peer = await Peer.connect(full);
  const filter = { types: ["job.ready", "job.phase"] };
  const { result } = await peer.call("events/subscribe", { filter });
  assert.equal(result.seq, 1);
  assert.equal(result.epoch, "epoch-1");
  assert.equal(result.reset, undefined);
  assert.deepEqual(result.filter, filter);
  assert.equal(result.snapshot.jobs[0].jobId, job.jobId);
  assert.equal(result.snapshot.roots.length, 1);
  events.publish(event);
  const { params } = await peer.until(({ method }) => method === "event");
  assert.equal(params.subscriptionId, result.subscriptionId);
  assert.equal(params.seq, 2);
  assert.equal(params.jobId, jobIds[0]);
});

test("replay stands behind the answer, without gap or duplicate before what is live", async (t) => {
  const { events, full } = await startHarness(t);
  const data = { text: "x".repeat(2000) };
  for (let n = 0; n < 1500; n += 1) events.publish({ type: "job.layer", data });
  const peer = await Peer.connect(full);
  const answer = peer.call("events/subscribe", { since: { epoch: "epoch-1", seq: 100 } });
  const { result } = await answer;
  for (let n = 0; n < 500; n += 1) events.publish({ type: "job.layer", data });
  await peer.until(({ params }) => params?.seq === 2000);
  assert.equal(result.snapshot, undefined);
  assert.equal(result.seq, 100);
  assert.equal(peer.frames[0].id, "call-1");
  assert.deepEqual(
    peer.events.map(({ params }) => params.seq),
    range(101, 2000),
  );
});

test("a position that is too old is reset with a snapshot", async (t) => {
  const { events, full } = await startHarness(t, { hub: { maxRingEvents: 5 } });
  for (let n = 0; n < 10; n += 1) events.publish(event);
  const peer = await Peer.connect(full);
  const { result } = await peer.call("events/subscribe", { since: { epoch: "epoch-1", seq: 4 } });
  assert.equal(result.reset, true);
  assert.equal(result.seq, 10);
  assert.deepEqual(result.snapshot.jobs, []);
  const kept = await peer.call("events/subscribe", { since: { epoch: "epoch-1", seq: 5 } });
  assert.equal(kept.result.reset, undefined);
});

test("an idle subscription gets bookmarks", async (t) => {
  const { full } = await startHarness(t, { hub: { bookmarkIntervalMs: 5 } });
  const peer = await Peer.connect(full);
  await peer.call("events/subscribe", { filter: { types: [] } });
  assert.equal((await peer.until(({ params }) => params?.type === "bookmark")).params.seq, 0);
});

test("what happens while a snapshot is viewed is an event behind it, once", async (t) => {
  const { events, services, full } = await startHarness(t);
  const viewed = new EventEmitter();
  services.roots.snapshot = async () => {
    viewed.emit("asked");
    await once(viewed, "go on");
    return { items: [] };
  };
  const peer = await Peer.connect(full);
  events.publish({ type: "server.draining", data: { n: 1 } });
  const answer = peer.call("events/subscribe");
  await once(viewed, "asked");
  events.publish({ type: "server.draining", data: { n: 2 } });
  viewed.emit("go on");
  const { result } = await answer;
  events.publish({ type: "server.draining", data: { n: 3 } });
  await peer.until(({ params }) => params?.data?.n === 3);
  assert.equal(result.seq, 1);
  assert.deepEqual(
    peer.events.map(({ params }) => [params.seq, params.data.n]),
    [
      [2, 2],
      [3, 3],
    ],
  );
});

test("a subscription that is cancelled before its snapshot is there takes no place among the session's", async (t) => {
  const { services, full } = await startHarness(t);
  const viewed = new EventEmitter();
  const { snapshot } = services.roots;
  services.roots.snapshot = async () => {
    viewed.emit("asked");
    await once(viewed, "go on");
    return { items: [] };
  };
  const peer = await Peer.connect(full);
  for (let n = 0; n < MAX_SUBSCRIPTIONS; n += 1) {
    const asked = once(viewed, "asked");
    peer.send({ jsonrpc: "2.0", id: n, method: "events/subscribe" });
    await asked;
    peer.send({ jsonrpc: "2.0", method: "$/cancelRequest", params: { id: n } });
    await peer.call("server/status");
    viewed.emit("go on");
    assert.equal((await peer.until(({ id }) => id === n)).error.code, -32800);
  }
  services.roots.snapshot = snapshot;
  assert.equal((await peer.call("events/subscribe")).error, undefined);
});
