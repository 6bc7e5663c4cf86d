/**
 * What a daemon does not wait for before it is ready: on no store it needs neither threads nor what installs.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { test } from "node:test";
import { fixtureImages, serve } from "../support/daemon.js";
import { Sandbox } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";

const HELD =
  "/node_modules/piscina/|/src/(works|oci/documents|export/|sources/|workshop|repack|install/(installer|planner|verifier))";

/** The main thread of a later Node stands still while a hook has a module, and nobody would be answered. */
const skip = Number.parseInt(process.versions.node, 10) > 20 && "this Node waits for a held module on its main thread";

test("on no store a daemon is ready, and answers, before it loads threads and what installs; an install waits for them", {
  skip,
}, async (t) => {
  const sandbox = await Sandbox.create(t);
  const holder = createServer();
  const held = sandbox.file("held.sock");
  holder.listen(held);
  await once(holder, "listening");
  const isHeld = once(holder, "connection") as Promise<[Socket]>;
  const letGo = async () => {
    const [socket] = await isHeld;
    socket.destroy();
    holder.close();
  };
  t.after(() => holder.close());
  const hold = new URL("../support/hold-modules.js", import.meta.url);
  const env = { HOLD_MODULES: HELD, HOLD_AT: held, NODE_OPTIONS: `--import=${hold}` };
  const daemon = await serve(sandbox, { env });
  const wire = await Wire.connect(t, daemon.socket);
  const { counters, store } = await wire.request("server/status");
  assert.deepEqual(counters, { blobsRead: 0, layersUnpacked: 0, rootsLinked: 0 });
  assert.deepEqual([store.layers, store.roots, store.names], [0, 0, 0]);
  const { jobId } = await wire.request("install/start", { reference: `oci:${fixtureImages}:gcc-amd64` });
  await isHeld;
  assert.equal((await wire.request("install/get", { jobId })).state, "queued");
  await letGo();
  const { state } = await wire.request("install/wait", { jobId });
  assert.equal(state, "ready");
  assert.equal((await wire.counters()).rootsLinked, 1);
});
