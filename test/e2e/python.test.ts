/**
 * A client in another language, written from protocol.md alone: Python's standard library and a Unix socket.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { checkout, fixtureImages, serve } from "../support/daemon.js";
import { Sandbox } from "../support/sandbox.js";
import { toolOrSkip } from "../support/tools.js";

const { skip } = toolOrSkip("python3");

test("a Python client that knows only protocol.md installs the fixture and hears of it", { skip }, async (t) => {
  const sandbox = await Sandbox.create(t);
  const { socket } = await serve(sandbox);
  const client = join(checkout, "test/e2e/client.py");
  const said = await sandbox.must(["python3", client, socket, `oci:${fixtureImages}:gcc-amd64`]);
  const { job, events, status } = JSON.parse(said);
  assert.equal(job.state, "ready");
  assert.ok(existsSync(join(job.name.path, "bin/gcc")));
  assert.equal(events[0], "job.created");
  assert.equal(events.at(-1), "job.ready");
  assert.equal(status.installed, true);
});
