import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { bootId, isRunning, ownIdentity, processStartTime } from "../../src/host/identity.js";

const own = await ownIdentity();

test("a process is the same each time it is asked", async () => {
  assert.deepEqual(await ownIdentity(), own);
  assert.equal(own.pid, process.pid);
  assert.equal(await processStartTime(process.pid), own.startTime);
  assert.equal(await bootId(), own.bootId);
  assert.equal(await isRunning(own, own), true);
});

test("a process whose name looks like fields of stat has its start time read rightly", async () => {
  const title = process.title;
  process.title = "a) Z 1 2 (b";
  try {
    assert.equal(await processStartTime(process.pid), own.startTime);
    assert.equal(await isRunning(own, own), true);
  } finally {
    process.title = title;
  }
});

test("a process that ended, and was waited for, is gone", async () => {
  const child = spawn("sleep", ["1000"]);
  const pid = child.pid ?? assert.fail();
  const startTime = (await processStartTime(pid)) ?? assert.fail();
  const identity = { ...own, pid, startTime };
  assert.equal(await isRunning(identity, own), true);
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.equal(await isRunning(identity, own), false);
  assert.equal(await processStartTime(pid), undefined);
});
