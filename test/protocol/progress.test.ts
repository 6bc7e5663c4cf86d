import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { PROGRESS_INTERVAL_MS } from "../../src/limits.js";
import { createLog } from "../../src/log.js";
import type { Job, Progress } from "../../src/messages/job.js";
import type { ProgressParams } from "../../src/messages/notifications.js";
import { WorkDoneProgress } from "../../src/protocol/progress.js";
import { fakeJob } from "../support/fake-services.js";

function follow(t: TestContext) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => t.mock.timers.reset());
  return watch();
}

function watch() {
  const values: ProgressParams["value"][] = [];
  const ended: true[] = [];
  const take = (frame: string) => values.push(JSON.parse(frame).params.value);
  const receiver = { send: take, sendLatest: (_: unknown, frame: string) => take(frame), dropLatest: () => undefined };
  const log = createLog("error", (line) => assert.fail(line));
  const progress = new WorkDoneProgress({ token: "t", receiver, log, ended: () => ended.push(true) });
  const update = (done: Partial<Progress>, state: Job["state"] = "running") =>
    progress.update(
      fakeJob(
        {},
        { state, progress: { bytesDone: 0, bytesTotal: 0, layersDone: 0, layersTotal: 0, entriesDone: 0, ...done } },
      ),
    );
  return { values, ended, progress, update, kinds: () => values.map(({ kind }) => kind) };
}

test("begin waits for the totals", (t) => {
  const { values, update } = follow(t);
  update({});
  assert.equal(values.length, 0);
  update({ bytesTotal: 10, layersTotal: 2 });
  assert.equal(values[0]?.kind, "begin");
  assert.equal(values[0]?.title, "Install oci:/images:app");
  assert.equal(values[0]?.job?.progress.bytesTotal, 10);
});

test("a job that is over at once begins and ends", (t) => {
  const { ended, update, kinds } = follow(t);
  update({}, "ready");
  update({}, "ready");
  assert.deepEqual(kinds(), ["begin", "end"]);
  assert.equal(ended.length, 1);
});

test("changes in quick succession are one report, the latest, when its time has come", (t) => {
  const { values, update } = follow(t);
  update({ bytesTotal: 100 });
  for (const bytesDone of [1, 2, 3]) update({ bytesTotal: 100, bytesDone });
  assert.equal(values.length, 1);
  t.mock.timers.tick(PROGRESS_INTERVAL_MS);
  assert.equal(values.length, 2);
  assert.equal(values[1]?.percentage, 3);
  t.mock.timers.tick(10 * PROGRESS_INTERVAL_MS);
  assert.equal(values.length, 2);
});

test("the end does not wait, and nothing follows it", (t) => {
  const { update, kinds } = follow(t);
  update({ bytesTotal: 100 });
  update({ bytesTotal: 100, bytesDone: 50 });
  update({ bytesTotal: 100, bytesDone: 100 }, "ready");
  t.mock.timers.tick(10 * PROGRESS_INTERVAL_MS);
  assert.deepEqual(kinds(), ["begin", "end"]);
});

test("no value ever falls", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const done = fc.record({ bytesDone: fc.nat(100), layersDone: fc.nat(5), entriesDone: fc.nat(50) });
  const run = (steps: Pick<Progress, "bytesDone" | "layersDone" | "entriesDone">[]) => {
    const { values, update } = watch();
    for (const step of steps) {
      update({ bytesTotal: 100, layersTotal: 5, ...step });
      t.mock.timers.tick(PROGRESS_INTERVAL_MS);
    }
    update({ bytesTotal: 100, layersTotal: 5 }, "failed");
    for (const key of ["bytesDone", "layersDone", "entriesDone"] as const) {
      const seen = values.map(({ job }) => job?.progress[key] ?? 0);
      assert.deepEqual(
        seen,
        seen.toSorted((a, b) => a - b),
      );
    }
    const percentages = values.flatMap(({ percentage }) => percentage ?? []);
    assert.deepEqual(
      percentages,
      percentages.toSorted((a, b) => a - b),
    );
  };
  fc.assert(fc.property(fc.array(done, { maxLength: 20 }), run));
});
