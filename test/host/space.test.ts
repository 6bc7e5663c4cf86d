import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { freeSpace, syncFileSystem } from "../../src/host/space.js";
import { createLog } from "../../src/log.js";
import { toolOrSkip } from "../support/tools.js";

const base = await mkdtemp(join(tmpdir(), "stratad-space-"));
after(() => rm(base, { recursive: true, force: true }));

async function program(name: string, script: string): Promise<string> {
  const path = join(base, name);
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

test("free space is whole numbers above zero", async () => {
  const { bytes, inodes } = await freeSpace(base);
  assert.ok(Number.isSafeInteger(bytes) && bytes > 0);
  assert.ok(Number.isSafeInteger(inodes) && inodes > 0);
});

test("free space of /proc, which has none, is zero bytes", async () => {
  assert.equal((await freeSpace("/proc")).bytes, 0);
});

test("free space of a missing directory is STORE_IO", async () => {
  await assert.rejects(freeSpace(join(base, "missing")), { code: "STORE_IO", message: /ENOENT$/ });
});

const sync = toolOrSkip("sync");
test("sync(1) syncs the file system of a directory", { skip: sync.skip }, async () => {
  const log = createLog("debug", (line) => assert.fail(line));
  assert.equal(await syncFileSystem(base, log), "syncfs");
});

test("the directory is what sync is asked for", async () => {
  const path = await program("record", `echo "$@" > '${base}/asked'; [ "$1 $2" = "-f ${base}" ]`);
  const log = createLog("debug", (line) => assert.fail(line));
  assert.equal(await syncFileSystem(base, log, { program: path }), "syncfs");
});

const unavailable = [
  { title: "missing", path: "/nonexistent/sync" },
  { title: "one without -f", path: await program("old", `echo "sync: invalid option -- 'f'" >&2; exit 1`) },
];
for (const { title, path } of unavailable) {
  test(`a sync program that is ${title} is unavailable, and logged once`, async () => {
    const lines: string[] = [];
    const log = createLog("warn", (line) => lines.push(line));
    assert.equal(await syncFileSystem(base, log, { program: path }), "unavailable");
    assert.equal(await syncFileSystem(base, log, { program: path }), "unavailable");
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).instead),
      ["layers and roots stay durable:false"],
    );
  });
}

test("a disk that refuses to sync is STORE_IO with what it said", async () => {
  const path = await program("broken", `echo "sync: error syncing '/x': Input/output error" >&2; exit 1`);
  const log = createLog("error", () => {});
  await assert.rejects(syncFileSystem(base, log, { program: path }), {
    code: "STORE_IO",
    message: /: sync: error syncing '\/x': Input\/output error$/,
  });
});
