import assert from "node:assert/strict";
import { test } from "node:test";
import { WORK_BURST } from "../../src/limits.js";
import type { Job } from "../../src/messages/job.js";
import { WorkBudget } from "../../src/protocol/work-budget.js";
import { fakeJob } from "../support/fake-services.js";

const linked = { files: 1, bytes: 1, copied: { count: 0 } };

function createBudget() {
  const clock = { now: 0 };
  const jobs = new Map<string, Job>();
  const budget = new WorkBudget(
    (jobId) => jobs.get(jobId),
    () => clock.now,
  );
  const start = (changes: Partial<Job>) => {
    const job = fakeJob({}, changes);
    jobs.set(job.jobId, job);
    return budget.spend(() => job);
  };
  return { clock, jobs, budget, start };
}

test("a burst passes, then the rate: one more every 50 ms, and the error says when", () => {
  const { clock, start } = createBudget();
  const work = () => start({ state: "ready", linked });
  for (let n = 0; n < WORK_BURST; n += 1) work();
  assert.throws(work, { code: "RATE_LIMITED", options: { retryAfterMs: 50 } });
  clock.now = 49;
  assert.throws(work, { code: "RATE_LIMITED", options: { retryAfterMs: 1 } });
  clock.now = 50;
  work();
  assert.throws(work, { code: "RATE_LIMITED" });
});

test("what was installed already does not count", () => {
  const { start } = createBudget();
  for (let n = 0; n < 10 * WORK_BURST; n += 1) start({ state: "ready" });
});

test("an install that turns out to be installed gives its place back", () => {
  const { jobs, start } = createBudget();
  for (let n = 0; n < 10 * WORK_BURST; n += 1) {
    const job = start({ state: "queued" });
    jobs.set(job.jobId, { ...job, state: "ready" });
  }
});

test("the same job found again by its request key does not count", () => {
  const { budget, jobs } = createBudget();
  const job = fakeJob();
  jobs.set(job.jobId, job);
  for (let n = 0; n < 10 * WORK_BURST; n += 1) budget.spend(() => job);
});

test("an install that is refused does not count", () => {
  const { budget } = createBudget();
  const refused = () => {
    throw new RangeError("refused");
  };
  for (let n = 0; n < 10 * WORK_BURST; n += 1) assert.throws(() => budget.spend(refused), RangeError);
});
