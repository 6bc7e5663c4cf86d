import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { refuseAnnounced, removeEndpointFile, writeEndpointFile } from "../../src/host/endpoint-file.js";
import { ownIdentity, processStartTime } from "../../src/host/identity.js";
import type { EndpointDocument } from "../../src/messages/endpoint.js";

let directory = "";
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "stratad-endpoint-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const own = await ownIdentity();
const { pid, startTime, bootId } = own;
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
  await writeEndpointFile(directory, document("one"));
  const path = join(directory, "daemon.json");
  assert.deepEqual(JSON.parse(await readFile(path, "utf8")), document("one"));
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readdir(directory), ["daemon.json"]);
});

test("a daemon replaces the document of one that died, which cannot remove it any more", async () => {
  await writeEndpointFile(directory, document("one"));
  await writeEndpointFile(directory, document("two"));
  await removeEndpointFile(directory, "one");
  assert.deepEqual(await readdir(directory), ["daemon.json"]);
  await removeEndpointFile(directory, "two");
  assert.deepEqual(await readdir(directory), []);
  await removeEndpointFile(directory, "two");
});

test("a directory in which a daemon that runs is announced is no other's", async (t) => {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  t.after(() => child.kill("SIGKILL"));
  const other = { pid: child.pid ?? 0, pidStartTime: (await processStartTime(child.pid ?? 0)) ?? "" };
  await writeEndpointFile(directory, { ...document("one"), ...other });
  const refused = { code: "CONFIG_INVALID", message: /the daemon of \/var\/lib\/stratad, pid \d+, is announced there/ };
  await assert.rejects(refuseAnnounced(directory, own), refused);
  child.kill("SIGKILL");
  await once(child, "exit");
  await refuseAnnounced(directory, own);
  await writeEndpointFile(directory, { ...document("one"), bootId: "another" });
  await refuseAnnounced(directory, { ...own, pid: pid + 1 });
});

test("a document that is not ours to read is left alone", async () => {
  for (const text of ["", "{", "[]", '{"instanceId":"one"}']) {
    await writeFile(join(directory, "daemon.json"), text);
    await removeEndpointFile(directory, "one");
    await refuseAnnounced(directory, own);
    assert.equal(await readFile(join(directory, "daemon.json"), "utf8"), text);
  }
});

test("a document that the schema refuses is never written", async () => {
  await assert.rejects(writeEndpointFile(directory, { ...document("one"), pid: -1 }), { code: "INTERNAL" });
  assert.deepEqual(await readdir(directory), []);
});
