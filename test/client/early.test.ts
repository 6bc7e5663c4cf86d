import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { WebSocketServer } from "ws";
import type { Result } from "../../src/client/client.js";
import { temporaryDirectory } from "../protocol/harness.js";
import type { EarlyOutcome } from "./early-client.js";

const agreed: Result<"initialize"> = {
  protocolVersion: 1,
  serverInfo: { name: "stratad", version: "1.2.3" },
  instanceId: "instance-1",
  epoch: "epoch-1",
  scope: "full",
  capabilities: { overlaps: ["c"], links: ["hardlink"], codecs: [], sources: [] },
  limits: {},
};

/** A daemon that answers `initialize` and `server/drain`, the former as it is told. */
async function startDaemon(t: TestContext, initialized: unknown): Promise<string> {
  const path = join(await temporaryDirectory(t), "d.sock");
  const http = createServer();
  new WebSocketServer({ server: http }).on("connection", (session) => {
    session.on("message", (text) => {
      const { id, method } = JSON.parse(String(text));
      const result = method === "initialize" ? initialized : { draining: true };
      session.send(JSON.stringify({ jsonrpc: "2.0", id, result }));
    });
  });
  http.listen(path);
  await once(http, "listening");
  t.after(() => http.close());
  return path;
}

const script = fileURLToPath(new URL("./early-client.js", import.meta.url));

async function connectAndAsk(...args: readonly string[]): Promise<EarlyOutcome> {
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...args], { timeout: 60_000 });
  return JSON.parse(stdout);
}

const answer = { draining: true };
const instanceId = "instance-1";

test("a daemon of a release that may be asked early is, and its answers are given checked", async (t) => {
  const endpoint = await startDaemon(t, agreed);
  assert.deepEqual(await connectAndAsk(endpoint, "1.2.3"), { connected: false, answer, instanceId });
});

test("nothing is given of a daemon whose first answer does not fit, though it was asked early", async (t) => {
  const endpoint = await startDaemon(t, { ...agreed, epoch: 7 });
  assert.deepEqual(await connectAndAsk(endpoint, "1.2.3"), { connected: false, answer: "UNSUPPORTED_VERSION" });
});

test("a daemon of another release is asked when its first answer is checked, and so is any where nobody named one", async (t) => {
  const endpoint = await startDaemon(t, agreed);
  const outcomes = await Promise.all([connectAndAsk(endpoint, "1.2.4"), connectAndAsk(endpoint)]);
  for (const outcome of outcomes) assert.deepEqual(outcome, { connected: true, answer, instanceId });
});

test("a daemon that names no release in its first answer is not asked", async (t) => {
  const odd = [null, { serverInfo: null }, { serverInfo: { version: ["unnamed"] } }];
  const outcomes = odd.map(async (initialized) => connectAndAsk(await startDaemon(t, initialized), "unnamed"));
  for (const outcome of await Promise.all(outcomes)) assert.deepEqual(outcome, { connected: "UNSUPPORTED_VERSION" });
});
