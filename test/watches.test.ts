/** What the daemon watches while it serves. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { watchIdle, watchState } from "../src/watches.js";

function idleScene(t: TestContext) {
  t.mock.timers.enable({ apis: ["setInterval"] });
  let now = 0;
  t.mock.method(performance, "now", () => now);
  const it = { busy: false, sessionGoneAt: 0, drained: 0 };
  const idleMs = () => now - it.sessionGoneAt;
  const drain = () => {
    it.drained += 1;
  };
  t.after(watchIdle(1000, { idleMs, isBusy: () => it.busy }, drain));
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left -= 50) {
      now += 50;
      t.mock.timers.tick(50);
    }
  };
  return { it, pass };
}

test("a daemon ends when there was neither a session nor a job for so long", (t) => {
  const { it, pass } = idleScene(t);
  pass(900);
  assert.equal(it.drained, 0);
  pass(200);
  assert.equal(it.drained, 1);
});

test("a job that nobody waits for puts its end off from the job's end on", (t) => {
  const { it, pass } = idleScene(t);
  it.busy = true;
  pass(3000);
  it.busy = false;
  pass(600);
  assert.equal(it.drained, 0);
  pass(500);
  assert.equal(it.drained, 1);
});

test("a state directory is lost once, when its lock is gone or another's", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "stratad-watch-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const lock = join(directory, "lock");
  writeFileSync(lock, "");
  t.mock.timers.enable({ apis: ["setInterval"] });
  let lost = 0;
  let told = (): void => undefined;
  const isTold = new Promise<void>((resolve) => {
    told = resolve;
  });
  const watch = () => {
    lost += 1;
    told();
  };
  t.after(await watchState(lock, watch));
  rmSync(lock);
  t.mock.timers.tick(2000);
  t.mock.timers.tick(2000);
  await isTold;
  for (let i = 0; i < 20; i += 1) await turn();
  assert.equal(lost, 1);
});
