import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { MAX_FRAME_BYTES, MAX_REQUESTS_IN_FLIGHT } from "../../src/limits.js";
import { readFrame } from "../../src/protocol/frames.js";
import { fakeJob } from "../support/fake-services.js";
import { Peer, startHarness } from "./harness.js";

const refusedFrames: [string, string, number, unknown][] = [
  ["text that is not JSON", "{", -32700, null],
  ["a batch", '[{"jsonrpc":"2.0","id":1,"method":"root/list"}]', -32600, null],
  ["an empty batch", "[]", -32600, null],
  ["null", "null", -32600, null],
  ["a frame of another version", '{"jsonrpc":"1.0","id":5,"method":"root/list"}', -32600, 5],
  ["a frame without a method", '{"jsonrpc":"2.0","id":"x"}', -32600, "x"],
  ["an id that is an object", '{"jsonrpc":"2.0","id":{},"method":"root/list"}', -32600, null],
  ["positional params", '{"jsonrpc":"2.0","id":5,"method":"root/list","params":[]}', -32600, 5],
  ["an unknown member", '{"jsonrpc":"2.0","id":5,"method":"root/list","parms":{}}', -32600, 5],
  ["a hundred thousand levels", `${"[".repeat(100_000)}`, -32700, null],
];

for (const [what, text, rpc, id] of refusedFrames) {
  test(`${what} is answered ${rpc} and the session goes on`, async (t) => {
    const { full } = await startHarness(t);
    const peer = await Peer.connect(full);
    peer.send(text);
    const { error, id: answered } = await peer.until(() => true);
    assert.equal(error.code, rpc);
    assert.equal(error.data.code, "BAD_FRAME");
    assert.equal(answered, id);
    assert.equal((await peer.call("root/list")).error, undefined);
  });
}

test("any text is read as a frame or refused, and never throws", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => typeof readFrame(text).ok === "boolean"));
});

test("a notification is never answered, known or not", async (t) => {
  const { full } = await startHarness(t);
  const peer = await Peer.connect(full);
  peer.send({ jsonrpc: "2.0", method: "root/list" });
  peer.send({ jsonrpc: "2.0", method: "no/such" });
  peer.send({ jsonrpc: "2.0", method: "$/cancelRequest", params: { id: {} } });
  await peer.call("root/list");
  assert.equal(peer.frames.length, 1);
});

test("a binary frame closes the session with 1003", async (t) => {
  const { full } = await startHarness(t);
  const peer = await Peer.connect(full);
  peer.socket.send(Buffer.from("{}"));
  assert.equal((await peer.closed()).code, 1003);
});

test("a frame over 256 KiB closes the session with 1009", async (t) => {
  const { full } = await startHarness(t);
  const peer = await Peer.connect(full);
  peer.send(`"${"x".repeat(MAX_FRAME_BYTES)}"`);
  assert.equal((await peer.closed()).code, 1009);
});

test("text that is not UTF-8 closes the session with 1007", async (t) => {
  const { full } = await startHarness(t);
  const peer = await Peer.connect(full);
  peer.socket.send(Buffer.from([0xff]), { binary: false });
  assert.equal((await peer.closed()).code, 1007);
});

test("a flood of fragments closes the session with 1008", async (t) => {
  const { full } = await startHarness(t);
  const peer = await Peer.connect(full);
  for (let n = 0; n < 40; n += 1) peer.socket.send("x", { fin: false });
  assert.equal((await peer.closed()).code, 1008);
});

test("a frame that is not masked ends the connection", async (t) => {
  const { full, server, services } = await startHarness(t);
  const socket = connect(full);
  const lines = ["Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
  lines.push("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: stratad.v1");
  socket.write(`GET /v1 HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
  const [head] = await once(socket, "data");
  assert.match(String(head), /^HTTP\/1\.1 101 /);
  assert.match(String(head), /Sec-WebSocket-Protocol: stratad\.v1/);
  assert.doesNotMatch(String(head), /permessage-deflate/);
  const gone = services.until("orphan");
  socket.write(Buffer.from([0x81, 0x02, 0x7b, 0x7d]));
  socket.resume();
  await gone;
  assert.equal(server.sessions().full, 0);
});

test("the 65th request in flight is BUSY, and the others are answered", async (t) => {
  const { services, full } = await startHarness(t);
  const job = fakeJob();
  services.jobs.set(job.jobId, job);
  const peer = await Peer.connect(full);
  const waits = Array.from({ length: MAX_REQUESTS_IN_FLIGHT }, () => peer.call("install/wait", { jobId: job.jobId }));
  const { error } = await peer.call("install/wait", { jobId: job.jobId });
  assert.equal(error.data.code, "BUSY");
  assert.ok(error.data.retryAfterMs > 0);
  services.finish(job.jobId);
  for (const answer of await Promise.all(waits)) assert.equal(answer.result.state, "ready");
  assert.equal((await peer.call("install/wait", { jobId: job.jobId })).result.state, "ready");
});

test("an id that is in flight is refused, and may be used again once answered", async (t) => {
  const { services, full } = await startHarness(t);
  const job = fakeJob();
  services.jobs.set(job.jobId, job);
  const peer = await Peer.connect(full);
  const wait = { jsonrpc: "2.0", id: 1, method: "install/wait", params: { jobId: job.jobId } };
  peer.send(wait);
  peer.send(wait);
  const { error } = await peer.until(({ id }) => id === 1);
  assert.equal(error.data.code, "BAD_FRAME");
  services.finish(job.jobId);
  await peer.until(({ result }) => result !== undefined);
  peer.frames.length = 0;
  peer.send(wait);
  assert.equal((await peer.until(({ id }) => id === 1)).result.state, "ready");
});

test("$/cancelRequest ends the request with -32800 and leaves the job alone", async (t) => {
  const { services, full } = await startHarness(t);
  const job = fakeJob();
  services.jobs.set(job.jobId, job);
  const peer = await Peer.connect(full);
  peer.send({ jsonrpc: "2.0", id: 9, method: "install/wait", params: { jobId: job.jobId } });
  peer.send({ jsonrpc: "2.0", method: "$/cancelRequest", params: { id: 9 } });
  const { error } = await peer.until(({ id }) => id === 9);
  assert.equal(error.code, -32800);
  assert.equal(error.data.code, "REQUEST_CANCELLED");
  assert.equal(services.jobs.get(job.jobId)?.state, "queued");
});
