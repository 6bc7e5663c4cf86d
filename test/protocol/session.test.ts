import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { WebSocket, WebSocketServer } from "ws";
import { PROGRESS_WATERMARK_BYTES, SLOW_CONSUMER_BYTES } from "../../src/limits.js";
import { createLog } from "../../src/log.js";
import { Session, sessionTiming } from "../../src/protocol/session.js";
import type { FakeServices } from "../support/fake-services.js";
import { Peer, startHarness } from "./harness.js";

/** A session and its peer, which reads nothing until it is resumed. */
async function stalledPair(t: TestContext) {
  const server = createServer().listen(0, "127.0.0.1");
  const accepting = new WebSocketServer({ server });
  await once(server, "listening");
  const peer = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const [socket, { socket: stream }] = await once(accepting, "connection");
  if (peer.readyState !== WebSocket.OPEN) await once(peer, "open");
  peer.pause();
  t.after(() => {
    peer.terminate();
    server.close();
  });
  const session = new Session(socket, {
    stream,
    scope: "full",
    timing: sessionTiming,
    log: createLog("error", () => undefined),
  });
  return { session, peer, stream };
}

const big = "x".repeat(16 * 1024 * 1024);

test("below the watermark every report flows", async (t) => {
  const { session, peer } = await stalledPair(t);
  const received: string[] = [];
  peer.on("message", (data) => received.push(String(data)));
  for (const text of ["a", "b", "c"]) session.sendLatest("token", text);
  peer.resume();
  while (received.length < 3) await once(peer, "message");
  assert.deepEqual(received, ["a", "b", "c"]);
});

test("frames that are sent in one turn leave in one write, in order", async (t) => {
  const { session, peer, stream } = await stalledPair(t);
  const writes = t.mock.method(stream, "_writev");
  const received: string[] = [];
  peer.on("message", (data) => received.push(String(data)));
  for (const turn of [["a", "b", "c"], ["d"]]) {
    for (const text of turn) session.send(text);
    await nextTurn();
  }
  peer.resume();
  while (received.length < 4) await once(peer, "message");
  assert.deepEqual(received, ["a", "b", "c", "d"]);
  assert.equal(writes.mock.callCount(), 2);
});

test("above the watermark only the latest of each key is kept, and sent once there is room", async (t) => {
  const { session, peer } = await stalledPair(t);
  const received: string[] = [];
  peer.on("message", (data) => received.push(String(data).slice(0, 3)));
  session.send(big);
  assert.equal(session.flowing, false);
  for (const text of ["a1", "a2", "a3"]) session.sendLatest("a", text);
  session.sendLatest("b", "b1");
  session.sendLatest("c", "c1");
  session.dropLatest("c");
  const drained = new Promise<void>((resolve) => session.onDrained(resolve));
  peer.resume();
  await drained;
  session.send("end");
  while (received.at(-1) !== "end") await once(peer, "message");
  assert.deepEqual(received, ["xxx", "a3", "b1", "end"]);
});

test("one frame larger than the limit does not make a consumer slow, what gathers behind it does", async (t) => {
  const { session, peer } = await stalledPair(t);
  session.send(big);
  session.send("small");
  assert.equal(session.isOpen, true);
  const chunk = "y".repeat(PROGRESS_WATERMARK_BYTES);
  let sent = 0;
  for (; session.isOpen; sent += chunk.length) session.send(chunk);
  assert.ok(sent > SLOW_CONSUMER_BYTES && sent < SLOW_CONSUMER_BYTES + 3 * chunk.length, `${sent} bytes`);
  const closed = once(peer, "close");
  peer.resume();
  assert.deepEqual([(await closed)[0], String((await closed)[1])], [4008, "slow consumer"]);
});

test("what is in the same write as a large frame does not count either", async (t) => {
  const { session } = await stalledPair(t);
  session.send("small");
  session.send(big);
  await nextTurn();
  session.send("small");
  assert.equal(session.isOpen, true);
});

/** Lists of so many roots, and how many were asked for. */
async function longLists(services: FakeServices, length: number): Promise<{ asked: number }> {
  const { items } = await services.roots.list({ limit: 1 });
  const roots = Array.from({ length }, () => items[0] as (typeof items)[0]);
  const lists = { asked: 0 };
  services.roots.list = async () => {
    lists.asked += 1;
    return { items: roots };
  };
  return lists;
}

test("a client gets all the long lists that it asks for at once, one after another, and short answers before them", async (t) => {
  const { full, services } = await startHarness(t);
  const lists = await longLists(services, 5000);
  const peer = await Peer.connect(full);
  const asked = Array.from({ length: 16 }, () => peer.call("root/list"));
  const { result } = await peer.call("server/status");
  assert.ok(result.pid > 0);
  assert.ok(lists.asked < asked.length, `${lists.asked} lists before a short answer`);
  for (const answer of await Promise.all(asked)) assert.equal(answer.result.roots.length, 5000);
});

test("a peer that does not read gets one long list made, and none of the others until it reads", async (t) => {
  const { full, services } = await startHarness(t);
  const lists = await longLists(services, 20_000);
  const slow = await Peer.connect(full);
  slow.socket.pause();
  const asked = Array.from({ length: 8 }, () => slow.call("root/list"));
  const other = await Peer.connect(full);
  assert.equal((await other.call("root/list")).result.roots.length, 20_000);
  assert.equal((await other.call("root/list")).result.roots.length, 20_000);
  assert.equal(lists.asked, 3);
  slow.socket.resume();
  await Promise.all(asked);
  assert.equal(lists.asked, 10);
});

test("a slow consumer is closed with 4008 and gets every event before that", async (t) => {
  const { events, full } = await startHarness(t);
  const peer = await Peer.connect(full);
  await peer.call("events/subscribe");
  peer.socket.pause();
  const data = { text: "x".repeat(100_000) };
  for (let n = 0; n < 100; n += 1) events.publish({ type: "job.layer", data });
  const closed = peer.closed();
  peer.socket.resume();
  assert.deepEqual(await closed, { code: 4008, reason: "slow consumer" });
  const seqs = peer.events.map(({ params }) => params.seq);
  assert.ok(seqs.length >= 41 && seqs.length < 60, `${seqs.length} events`);
  assert.deepEqual(
    seqs,
    Array.from(seqs, (_, n) => n + 1),
  );
});

test("a slow consumer that never reads is gone after the grace, others are unaffected", async (t) => {
  const { server, services, events, full } = await startHarness(t);
  const stalled = await Peer.connect(full);
  await stalled.call("events/subscribe");
  const other = await Peer.connect(full);
  stalled.socket.pause();
  const data = { text: "x".repeat(100_000) };
  for (let n = 0; n < 100; n += 1) events.publish({ type: "job.layer", data });
  const gone = services.until("orphan");
  assert.equal((await other.call("server/status")).result.sessions.full, 2);
  await gone;
  assert.deepEqual(server.sessions(), { full: 1, read: 0 });
  assert.equal((await other.call("root/list")).error, undefined);
});

test("a session that says nothing is closed", async (t) => {
  const { full } = await startHarness(t, { timing: { ...sessionTiming, firstMessageMs: 5 } });
  const peer = await Peer.connect(full);
  assert.equal((await peer.closed()).code, 1008);
});

test("a peer that answers no ping is ended, one that does is kept", async (t) => {
  const { services, full } = await startHarness(t, { timing: { ...sessionTiming, pingIntervalMs: 20 } });
  const alive = await Peer.connect(full);
  const dead = await Peer.connect(full, { autoPong: false });
  const gone = services.until("orphan");
  assert.equal((await dead.closed()).code, 1006);
  await gone;
  assert.equal((await alive.call("server/status")).result.sessions.full, 1);
});

test("closing the server ends every session with 1001, and knows how long it is idle", async (t) => {
  const { server, full, read } = await startHarness(t);
  const peers = [await Peer.connect(full), await Peer.connect(read)];
  assert.equal(server.idleMs(), 0);
  const codes = Promise.all(peers.map((peer) => peer.closed()));
  await server.close();
  assert.deepEqual(
    (await codes).map(({ code }) => code),
    [1001, 1001],
  );
  assert.deepEqual(server.sessions(), { full: 0, read: 0 });
  assert.ok(server.idleMs() > 0);
  await assert.rejects(Peer.connect(full), { code: "ENOENT" });
});
