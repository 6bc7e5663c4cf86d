import assert from "node:assert/strict";
import { once } from "node:events";
import { cp, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import { type Result, StratadClient } from "../../src/client/client.js";
import { ownVersion } from "../../src/version.js";
import { temporaryDirectory } from "../protocol/harness.js";

const agreed: Result<"initialize"> = {
  protocolVersion: 1,
  serverInfo: { name: "stratad", version: await ownVersion() },
  instanceId: "instance-1",
  epoch: "epoch-1",
  scope: "full",
  capabilities: { overlaps: ["c"], links: ["hardlink"], codecs: [], sources: [] },
  limits: {},
};

interface Said {
  readonly initialized?: unknown;
  /** What else stands in the answer to every other request. */
  readonly answer?: Readonly<Record<string, unknown>>;
}

/** A daemon that says what it is told, on a Unix socket or on a port. */
async function startDaemon(
  t: TestContext,
  { initialized = agreed, answer = { result: { draining: true } } }: Said,
  { overTcp = false } = {},
): Promise<string> {
  const path = join(await temporaryDirectory(t), "d.sock");
  const http = createServer();
  new WebSocketServer({ server: http }).on("connection", (session) => {
    session.on("message", (text) => {
      const { id, method } = JSON.parse(String(text));
      const said = method === "initialize" ? { result: initialized } : answer;
      session.send(JSON.stringify({ jsonrpc: "2.0", id, ...said }));
    });
  });
  http.listen(overTcp ? { host: "127.0.0.1", port: 0 } : path);
  await once(http, "listening");
  t.after(() => http.close());
  return overTcp ? `ws://127.0.0.1:${(http.address() as AddressInfo).port}` : path;
}

const unfit = { result: { draining: "no" } };

async function ask(t: TestContext, endpoint: string, Client = StratadClient): Promise<unknown> {
  const client = await Client.connect({ endpoint, reconnect: false });
  t.after(() => client.close());
  return client.request("server/drain", {});
}

test("what a daemon of this release says over its Unix socket is given as it comes", async (t) => {
  assert.deepEqual(await ask(t, await startDaemon(t, { answer: unfit })), { draining: "no" });
});

test("what a daemon of another release says is checked", async (t) => {
  const initialized = { ...agreed, serverInfo: { name: "stratad", version: "1.2.3" } };
  assert.deepEqual(await ask(t, await startDaemon(t, { initialized })), { draining: true });
  const endpoint = await startDaemon(t, { initialized, answer: unfit });
  await assert.rejects(ask(t, endpoint), { code: "UNSUPPORTED_VERSION" });
});

test("what a daemon says over TCP is checked, whatever release it names: anybody may listen there", async (t) => {
  assert.deepEqual(await ask(t, await startDaemon(t, {}, { overTcp: true })), { draining: true });
  const endpoint = await startDaemon(t, { answer: unfit }, { overTcp: true });
  await assert.rejects(ask(t, endpoint), { code: "UNSUPPORTED_VERSION" });
});

test("a daemon that names no release in its first answer is not believed", async (t) => {
  for (const serverInfo of [undefined, null, {}, { version: [agreed.serverInfo.version] }]) {
    const endpoint = await startDaemon(t, { initialized: { ...agreed, serverInfo } });
    await assert.rejects(ask(t, endpoint), { code: "UNSUPPORTED_VERSION" });
  }
});

test("a client that was bundled into another package checks all that it hears, whatever that one's version is", async (t) => {
  const bundle = await temporaryDirectory(t);
  const { version } = agreed.serverInfo;
  await writeFile(join(bundle, "package.json"), JSON.stringify({ name: "plugin", type: "module", version }));
  await cp(new URL("../../src", import.meta.url), join(bundle, "src"), { recursive: true });
  await symlink(fileURLToPath(new URL("../../../node_modules", import.meta.url)), join(bundle, "node_modules"));
  const { StratadClient: Bundled } = await import(join(bundle, "src/client/client.js"));
  assert.deepEqual(await ask(t, await startDaemon(t, {}), Bundled), { draining: true });
  const endpoint = await startDaemon(t, { answer: unfit });
  await assert.rejects(ask(t, endpoint, Bundled), { code: "UNSUPPORTED_VERSION" });
});

test("the errors of a daemon that is believed are given with all that they say", async (t) => {
  const data = { code: "UNKNOWN_ROOT", message: "Cannot find it", kind: "request", retryable: false, exitCode: 1 };
  const endpoint = await startDaemon(t, { answer: { error: { code: -32000, message: "Cannot find it", data } } });
  await assert.rejects(ask(t, endpoint), { code: "UNKNOWN_ROOT", message: "Cannot find it" });
});

test("what no daemon says is UNSUPPORTED_VERSION, though it is believed", async (t) => {
  for (const answer of [
    {},
    { result: null },
    { error: 7 },
    { error: { data: null } },
    { error: { data: { code: "ODD" } } },
  ]) {
    const endpoint = await startDaemon(t, { answer });
    await assert.rejects(ask(t, endpoint), { code: "UNSUPPORTED_VERSION" });
  }
});
