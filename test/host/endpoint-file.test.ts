import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { removeEndpointFile, writeEndpointFile } from "../../src/host/endpoint-file.js";
import { ownIdentity } from "../../src/host/identity.js";
import type { EndpointDocument } from "../../src/messages/endpoint.js";

let directory = "";
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "stratad-endpoint-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const { pid, startTime, bootId } = await ownIdentity();
const document = (instanceId: string): EndpointDocument => ({
  schema: 1,
  pid,
  pidStartTime: startTime,
  bootId,
  instanceId,
  version: "0.1.0",
  protocol: [1],
  endpoints: [{ kind: "unix", path: "/run/stratad/stratad.sock", scope: "full" }],
  stateDir: "/var/lib/stratad",
  startedAt: "2030-01-01T00:00:00.000Z",
});

test("the document stands alone in its directory, for its user only", async () => {
  const path = await writeEndpointFile(directory, document("one"));
  assert.deepEqual(JSON.parse(await readFile(path, "utf8")), document("one"));
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(directory), ["daemon.json"]);
});

test("a daemon replaces the document of one that died, which cannot remove it any more", async () => {
  await writeEndpointFile(directory, document("one"));
  await writeEndpointFile(directory, document("two"));
  assert.equal(await removeEndpointFile(directory, "one"), false);
  assert.deepEqual(await readdir(directory), ["daemon.json"]);
  assert.equal(await removeEndpointFile(directory, "two"), true);
  assert.deepEqual(await readdir(directory), []);
  assert.equal(await removeEndpointFile(directory, "two"), false);
});

test("a document that is not ours to read is left alone", async () => {
  for (const text of ["", "{", "[]", '{"instanceId":"one"}']) {
    await writeFile(join(directory, "daemon.json"), text);
    assert.equal(await removeEndpointFile(directory, "one"), false);
    assert.equal(await readFile(join(directory, "daemon.json"), "utf8"), text);
  }
});

test("a document that the schema refuses is never written", async () => {
  await assert.rejects(writeEndpointFile(directory, { ...document("one"), pid: -1 }), { code: "INTERNAL" });
  assert.deepEqual(await readdir(directory), []);
});
