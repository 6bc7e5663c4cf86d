import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_QUEUED_JOBS_PER_SESSION, MAX_RUNNING_JOBS_PER_SESSION, WORK_BURST } from "../../src/limits.js";
import type { Job } from "../../src/messages/job.js";
import { WorkBudget } from "../../src/protocol/work-budget.js";
import { fakeJob } from "../support/fake-services.js";

const MAX_UNFINISHED = MAX_RUNNING_JOBS_PER_SESSION + MAX_QUEUED_JOBS_PER_SESSION;
const linked = { files: 1, bytes: 1, copied: { count: 0 } };

function createBudget() {
  const clock = { now: 0 };
  const observers = new Map<string, (job: Job) => void>();
  const observe = (jobId: string, listener: (job: Job) => void) => {
    observers.set(jobId, listener);
    return () => observers.delete(jobId);
  };
  const budget = new WorkBudget(observe, () => clock.now);
  const start = (changes: Partial<Job>) => budget.spend(() => fakeJob({}, changes));
  const change = (job: Job, changes: Partial<Job>) => observers.get(job.jobId)?.({ ...job, ...changes });
  return { clock, observers, budget, start, change };
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
  const { start, change } = createBudget();
  for (let n = 0; n < 10 * WORK_BURST; n += 1) {
    const job = start({ state: "queued" });
    change(job, { state: "running" });
    change(job, { state: "ready" });
  }
});

test("an install that ends otherwise keeps its place", () => {
  const { start, change } = createBudget();
  const work = (end: Partial<Job>) => change(start({ state: "queued" }), end);
  const ends: Partial<Job>[] = [{ state: "failed" }, { state: "cancelled" }, { state: "ready", linked }];
  for (let n = 0; n < WORK_BURST; n += 1) work(ends[n % ends.length] ?? {});
  assert.throws(() => start({ state: "queued" }), { code: "RATE_LIMITED" });
});

test("jobs that are not over fill the session, and each end makes room for one", () => {
  const { clock, observers, start, change } = createBudget();
  const jobs = Array.from({ length: MAX_UNFINISHED }, () => start({ state: "queued" }));
  clock.now = 3_600_000;
  assert.throws(() => start({ state: "queued" }), { code: "BUSY" });
  for (const job of jobs) {
    change(job, { state: "failed" });
    assert.equal(observers.has(job.jobId), false);
    start({ state: "queued" });
    assert.throws(() => start({ state: "queued" }), { code: "BUSY" });
    clock.now += 1000;
  }
});

test("the same job found again by its request key does not count", () => {
  const { budget, observers } = createBudget();
  const job = fakeJob();
  for (let n = 0; n < 10 * WORK_BURST; n += 1) budget.spend(() => job);
  assert.equal(observers.size, 1);
});

test("an install that is refused does not count", () => {
  const { budget } = createBudget();
  const refused = () => {
    throw new RangeError("refused");
  };
  for (let n = 0; n < 10 * WORK_BURST; n += 1) assert.throws(() => budget.spend(refused), RangeError);
});
