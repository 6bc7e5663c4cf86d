/**
 * Jobs over restarts of the daemon: the real journal on the disk, and an installer that does what a test says.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { StrataError } from "../../src/errors.js";
import type { Installer } from "../../src/install/installer.js";
import type { Job } from "../../src/install/job.js";
import { JobJournal } from "../../src/install/job-journal.js";
import { Jobs } from "../../src/install/jobs.js";
import { JOURNAL_SEGMENT_BYTES, MAX_JOB_STARTS, MAX_TERMINAL_JOBS, TERMINAL_JOB_TTL_MS } from "../../src/limits.js";
import { createLog } from "../../src/log.js";
import type { Job as JobView } from "../../src/messages/job.js";
import type { InstallRequest } from "../../src/messages/methods.js";
import { Journal, type JournalOptions } from "../../src/store/journal.js";
import { type JournalEntry, lineOf } from "../../src/store/journal-entries.js";
import { type OpenSegment, openSegment } from "../../src/store/journal-segment.js";
import { StoreLayout } from "../../src/store/layout.js";
import { until } from "../support/deadline.js";
import { pastJobs, writePastJobs } from "../support/past-jobs.js";

const reference = "oci:/images:app";
const signal = new AbortController().signal;

/** Runs a job until a test ends it; a job that is stopped ends as the real one does. */
class StubInstaller {
  readonly running = new Map<string, { job: Job; end(): void }>();
  readonly begun: string[] = [];

  async runStanding(): Promise<boolean> {
    return false;
  }

  async run(job: Job): Promise<void> {
    job.started();
    this.begun.push(job.spec.name);
    try {
      await new Promise<void>((resolve, reject) => {
        this.running.set(job.jobId, { job, end: resolve });
        const stopped = (): void => reject(new StrataError("CANCELLED", "Cannot finish the install: it was cancelled"));
        if (job.signal.aborted) stopped();
        else job.signal.addEventListener("abort", stopped, { once: true });
      });
      job.named({
        root: { rootId: "root-1", path: "/state/roots/root-1/tree" },
        name: { name: job.spec.name, path: `/state/names/${job.spec.name}`, generation: 1 },
      });
      await job.ready(false);
    } catch (error) {
      await job.failed(error);
    } finally {
      this.running.delete(job.jobId);
    }
  }

  end(jobId: string): void {
    this.running.get(jobId)?.end();
  }
}

interface Daemon {
  readonly jobs: Jobs;
  readonly installer: StubInstaller;
  readonly journal: Journal;
  readonly said: string[];
  start(request?: Partial<InstallRequest>): Promise<JobView>;
  /** As a kill leaves it: nothing is told, what the kernel has stays. */
  die(): Promise<void>;
}

async function stateDir(t: TestContext): Promise<string> {
  const state = await mkdtemp(join(tmpdir(), "jobs-"));
  t.after(() => rm(state, { recursive: true, force: true }));
  await mkdir(join(state, "journal"));
  return state;
}

async function startDaemon(state: string, options: Partial<JournalOptions> = {}): Promise<Daemon> {
  const said: string[] = [];
  const log = createLog("info", (line) => said.push(JSON.parse(line).event));
  const journal = new Journal(new StoreLayout(state), { log, ...options });
  await journal.open();
  const installer = new StubInstaller();
  const policies = { overlap: "c", allowed: ["c"] } as const;
  const jobs = new Jobs({
    installer: installer as unknown as Installer,
    policies,
    journal: new JobJournal(journal, log),
    emit: () => undefined,
  });
  await jobs.restore();
  jobs.resume();
  return {
    jobs,
    installer,
    journal,
    said,
    start: async (request) => {
      const { jobId } = jobs.start({ reference, ...request }, "session-1");
      return jobs.accepted(jobId);
    },
    die: () => journal.close(),
  };
}

test("jobs that were queued and running go on under their ids, in their order, with their priority", async (t) => {
  const state = await stateDir(t);
  const first = await startDaemon(state);
  const started: JobView[] = [];
  for (let n = 0; n < 12; n += 1) {
    const priority = n === 11 ? "interactive" : "normal";
    started.push(await first.start({ name: `app-${n}`, priority, requestKey: `key-${n}` }));
  }
  assert.equal(first.installer.running.size, 4);
  await first.die();

  const second = await startDaemon(state);
  await until("eight run", () => second.installer.running.size === 8);
  assert.deepEqual(second.jobs.count(), { queued: 4, running: 8, ready: 0, failed: 0, cancelled: 0 });
  const found = second.jobs.active().map(({ jobId, createdAt, priority }) => ({ jobId, createdAt, priority }));
  assert.deepEqual(
    found,
    started.map(({ jobId, createdAt, priority }) => ({ jobId, createdAt, priority })),
  );
  const again = await second.start({ name: "app-3", priority: "normal", requestKey: "key-3" });
  assert.equal(again.jobId, started[3]?.jobId);
  await assert.rejects(second.start({ name: "other", requestKey: "key-3" }), { code: "INVALID_PARAMS" });
  for (const { jobId } of started) {
    await until("it runs", () => second.installer.running.has(jobId));
    second.installer.end(jobId);
  }
  await second.jobs.drain();
  assert.deepEqual(
    second.installer.begun.slice(0, 8),
    [0, 1, 2, 3, 4, 5, 6, 7].map((n) => `app-${n}`),
  );
  assert.equal(second.installer.begun[8], "app-11", "the interactive one goes before those that wait");
  await second.die();

  const third = await startDaemon(state);
  assert.deepEqual(third.jobs.count(), { queued: 0, running: 0, ready: 12, failed: 0, cancelled: 0 });
  assert.deepEqual(third.jobs.get(started[5]?.jobId ?? ""), second.jobs.get(started[5]?.jobId ?? ""));
  const ended = await third.start({ name: "app-3", priority: "normal", requestKey: "key-3" });
  assert.deepEqual([ended.jobId, ended.state], [started[3]?.jobId, "ready"]);
  await third.die();
});

test("a stop ends no job: it waits, nothing is failed, and the next daemon goes on", async (t) => {
  const state = await stateDir(t);
  const first = await startDaemon(state);
  const { jobId } = await first.start();
  const told: string[] = [];
  first.jobs.observe(jobId, (job) => told.push(job.state));
  const drained = first.jobs.drain();
  first.jobs.interrupt();
  await drained;
  assert.equal(first.jobs.get(jobId).state, "running");
  assert.deepEqual(told, []);
  await first.die();
  const second = await startDaemon(state);
  await until("it runs", () => second.installer.running.has(jobId));
  second.installer.end(jobId);
  await second.jobs.drain();
  const { lines } = await second.jobs.log(jobId, { signal });
  const events = ["accepted", "started", "interrupted", "resumed", "started", "named", "ended"];
  assert.deepEqual(
    lines.map(({ event }) => event),
    events,
  );
  await second.die();
});

test("nobody is told that a job is over before the journal has it: the next daemon does not run it again", async (t) => {
  const state = await stateDir(t);
  const file = new StoreLayout(state).journalSegment(1);
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let asked = (): void => undefined;
  const isAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const holdsTheEnd: OpenSegment = async (path) => {
    const segment = await openSegment(path);
    const write = segment.write.bind(segment) as (...of: unknown[]) => Promise<{ bytesWritten: number }>;
    segment.write = (async (bytes: Buffer, ...rest: unknown[]) => {
      if (bytes.includes("job.ended")) {
        asked();
        await released;
      }
      return write(bytes, ...rest);
    }) as typeof segment.write;
    return segment;
  };
  const first = await startDaemon(state, { openSegment: holdsTheEnd });
  const { jobId } = await first.start();
  const seen: string[] = [];
  first.jobs.observe(jobId, (job) => seen.push(job.state));
  const answer = first.jobs.wait(jobId, { sessionId: "session-1", signal });
  first.installer.end(jobId);
  await isAsked;
  assert.equal(first.jobs.get(jobId).state, "running");
  assert.doesNotMatch(seen.join(" "), /ready/);
  await first.jobs.cancel(jobId, "session-1");
  assert.doesNotMatch(await readFile(file, "utf8"), /job.ended/);
  release();
  assert.equal((await answer).state, "ready", "what is decided is not cancelled");
  assert.match(await readFile(file, "utf8"), /job.ended/);
  await first.die();
  const second = await startDaemon(state);
  assert.deepEqual([second.jobs.get(jobId).state, second.installer.begun], ["ready", []]);
  await second.die();
});

test("a cancellation that was answered holds, whenever the daemon dies", async (t) => {
  const state = await stateDir(t);
  const first = await startDaemon(state);
  const { jobId } = await first.start();
  const sticky = first.installer.running.get(jobId)?.job;
  assert.ok(sticky);
  // The work does not end before the daemon dies.
  sticky.failed = async () => undefined;
  await first.jobs.cancel(jobId, "session-1");
  await first.die();
  const second = await startDaemon(state);
  await second.jobs.drain();
  const { state: ended, error } = second.jobs.get(jobId);
  assert.deepEqual([ended, error?.code], ["cancelled", "CANCELLED"]);
  assert.deepEqual(second.installer.begun, []);
  await second.die();
  const third = await startDaemon(state);
  assert.equal(third.jobs.get(jobId).state, "cancelled");
  await third.die();
});

async function write(state: string, entries: Iterable<JournalEntry>): Promise<void> {
  await appendFile(new StoreLayout(state).journalSegment(1), [...entries].map(lineOf).join(""));
}

const at = "2026-01-02T03:04:05.678Z";

test("what this daemon does not take any more ends as failed, and only that", async (t) => {
  const state = await stateDir(t);
  const accepted = (request: Record<string, unknown>, jobId: string): JournalEntry => {
    return { kind: "job.accepted", jobId, at: new Date().toISOString(), request };
  };
  const ids = Array.from({ length: 6 }, () => randomUUID());
  const [misspelt = "", typed = "", denied = "", looping = "", empty = "", good = ""] = ids;
  await write(state, [
    accepted({ reference, tpyo: "\u001b[31m" }, misspelt),
    accepted({ reference: 7 }, typed),
    accepted({ reference, overlap: "a" }, denied),
    accepted({ reference }, looping),
    ...Array.from({ length: MAX_JOB_STARTS + 1 }, (): JournalEntry => ({ kind: "job.started", jobId: looping, at })),
    accepted({}, empty),
    accepted({ reference }, good),
  ]);
  const daemon = await startDaemon(state);
  const codes = ids.map((jobId) => daemon.jobs.get(jobId).error?.code);
  const invalid = "INVALID_PARAMS";
  assert.deepEqual(codes, [invalid, invalid, "NOT_ALLOWED", "INTERNAL", invalid, undefined]);
  assert.doesNotMatch(JSON.stringify(daemon.jobs.get(misspelt)), /\\u001b/);
  await daemon.die();
  const next = await startDaemon(state);
  assert.equal(next.jobs.count().failed, 5);
  await next.die();
});

test("a job that is over is remembered for a week, with its log, and not a day longer", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.parse(at) });
  const state = await stateDir(t);
  const first = await startDaemon(state);
  const { jobId } = await first.start();
  first.installer.end(jobId);
  await first.jobs.drain();
  await first.die();
  t.mock.timers.tick(TERMINAL_JOB_TTL_MS - 1000);
  const second = await startDaemon(state);
  assert.equal(second.jobs.get(jobId).state, "ready");
  assert.equal((await second.jobs.log(jobId, { signal })).lines.at(-1)?.message, "ready");
  t.mock.timers.tick(2000);
  assert.throws(() => second.jobs.get(jobId), { code: "UNKNOWN_JOB" });
  assert.equal(second.jobs.list({ limit: 10 }).items.length, 0);
  await assert.rejects(async () => second.jobs.log(jobId, { signal }), { code: "UNKNOWN_JOB" });
  await second.die();
  const third = await startDaemon(state);
  assert.throws(() => third.jobs.get(jobId), { code: "UNKNOWN_JOB" });
  await third.die();
});

test("an acceptance that the disk refuses refuses the install, and its key is free again", async (t) => {
  const state = await stateDir(t);
  let isFull = true;
  const daemon = await startDaemon(state, {
    openSegment: async (path) => {
      if (isFull) throw Object.assign(new Error("ENOSPC"), { code: "ENOSPC", errno: -28 });
      return openSegment(path);
    },
  });
  await assert.rejects(daemon.start({ requestKey: "key" }), { code: "NO_SPACE" });
  await until("its work has ended", () => daemon.installer.running.size === 0);
  assert.deepEqual(daemon.jobs.count(), { queued: 0, running: 0, ready: 0, failed: 1, cancelled: 0 });
  const [refused] = daemon.jobs.list({ limit: 1 }).items;
  assert.equal(refused?.error?.code, "NO_SPACE");
  isFull = false;
  const job = await daemon.start({ requestKey: "key" });
  assert.notEqual(job.jobId, refused?.jobId);
  await daemon.die();
  const next = await startDaemon(state);
  await until("it runs", () => next.installer.running.has(job.jobId));
  assert.deepEqual(next.jobs.count(), { queued: 0, running: 1, ready: 0, failed: 1, cancelled: 0 });
  await next.die();
});

test("a record of a job that another release wrote does not keep the others from being shown", async (t) => {
  const state = await stateDir(t);
  const [strange, lost] = [randomUUID(), randomUUID()];
  const now = new Date().toISOString();
  const record = { reference, state: "ready", layers: "many" } as const;
  const ended = { kind: "job.ended", jobId: lost, at: now, state: "ready" } as const;
  await write(state, [
    { kind: "job.accepted", jobId: strange, at: now, request: { reference } },
    { kind: "job.ended", jobId: strange, at: now, state: "ready", job: record },
    { kind: "job.accepted", jobId: lost, at: now, request: { reference } },
    { ...ended, job: { state: 7 } } as unknown as JournalEntry,
  ]);
  const daemon = await startDaemon(state);
  const { items } = daemon.jobs.list({ limit: 10 });
  assert.deepEqual(
    items.map(({ jobId, error }) => [jobId, error?.code]),
    [[strange, "STORE_CORRUPT"]],
  );
  assert.deepEqual(daemon.installer.begun, [], "what is over is not done again");
  await daemon.die();
});

test("an old job that is still under way does not hold the journal beyond its bound", async (t) => {
  const state = await stateDir(t);
  const bounds = { segmentBytes: 4000, maxBytes: 20_000 };
  const daemon = await startDaemon(state, bounds);
  const { jobId } = await daemon.start({ name: "long", requestKey: "long" });
  for (let n = 0; n < 60; n += 1) {
    const other = await daemon.start({ name: `short-${n}` });
    daemon.installer.end(other.jobId);
    await until("it is over", () => daemon.jobs.get(other.jobId).state === "ready");
  }
  await until("the oldest segments are gone", async () => {
    daemon.jobs.list({ limit: 1 });
    return (
      daemon.journal.bytes <= bounds.maxBytes && !(await readdir(join(state, "journal"))).includes("00000001.ndjson")
    );
  });
  assert.ok(daemon.jobs.count().ready < 60, "the oldest were forgotten before their week was over");
  await daemon.die();
  const next = await startDaemon(state, bounds);
  await until("it runs", () => next.installer.running.has(jobId));
  assert.equal((await next.start({ name: "long", requestKey: "long" })).jobId, jobId);
  await next.die();
});

test("a job that is over says so where its image comes to the disk later", async (t) => {
  const daemon = await startDaemon(await stateDir(t));
  const { jobId } = await daemon.start();
  const { job } = daemon.installer.running.get(jobId) ?? {};
  daemon.installer.end(jobId);
  await until("it is over", () => daemon.jobs.get(jobId).state === "ready");
  assert.equal(daemon.jobs.get(jobId).durable, false);
  job?.isOnDisk();
  assert.deepEqual(daemon.jobs.get(jobId), job?.view());
  assert.equal(daemon.jobs.get(jobId).durable, true);
  assert.equal(daemon.jobs.count().ready, 1);
  await daemon.die();
});

test("ten thousand jobs that are over are read at once, and the oldest beyond them are not remembered", async (t) => {
  const state = await stateDir(t);
  await write(state, pastJobs(MAX_TERMINAL_JOBS + 5));
  const [begun, used] = [performance.now(), process.cpuUsage()];
  const daemon = await startDaemon(state);
  const { user, system } = process.cpuUsage(used);
  const took = `${Math.round(performance.now() - begun)} ms, ${Math.round((user + system) / 1000)} ms of them on a processor`;
  t.diagnostic(`${daemon.journal.bytes} bytes in ${took}`);
  assert.equal(daemon.jobs.count().ready, MAX_TERMINAL_JOBS);
  const newest = daemon.jobs.list({ limit: 1 }).items[0];
  assert.equal(newest?.name?.generation, MAX_TERMINAL_JOBS + 4);
  assert.equal((await daemon.jobs.log(newest?.jobId ?? "", { signal })).lines.length, 5);
  await daemon.die();
});

test("the journal keeps no segment that no remembered job needs", async (t) => {
  const state = await stateDir(t);
  const forgotten = 2000;
  writePastJobs(state, MAX_TERMINAL_JOBS + forgotten);
  const daemon = await startDaemon(state);
  const before = daemon.journal.bytes;
  daemon.jobs.list({ limit: 1 });
  const most = (before * MAX_TERMINAL_JOBS) / (MAX_TERMINAL_JOBS + forgotten) + JOURNAL_SEGMENT_BYTES;
  await until("what only forgotten jobs needed is gone", () => daemon.journal.bytes <= most);
  await daemon.die();
  const next = await startDaemon(state);
  assert.equal(next.jobs.count().ready, MAX_TERMINAL_JOBS);
  await next.die();
});

test("a page of jobs goes on behind the last one, also where that has another state by then or is forgotten", async (t) => {
  const { jobs, installer, ...daemon } = await startDaemon(await stateDir(t));
  const [oldest, middle, newest] = [await daemon.start(), await daemon.start(), await daemon.start()];
  const page = (cursor?: string, state?: "running" | "ready") =>
    jobs.list({ limit: 1, cursor, state }).items.map(({ jobId }) => jobId);
  assert.deepEqual([page(), page(newest.jobId)], [[newest.jobId], [middle.jobId]]);
  installer.end(middle.jobId);
  await jobs.wait(middle.jobId, { sessionId: "s", signal: new AbortController().signal });
  assert.deepEqual(page(middle.jobId, jobs.get(oldest.jobId).state as "running"), [oldest.jobId]);
  assert.ok(oldest.jobId < middle.jobId && middle.jobId < newest.jobId, "ids rise with time");
  const forgotten = `${middle.jobId.slice(0, "xxxxxxxx-xxxx-7".length)}fff-bfff-ffffffffffff`;
  assert.deepEqual(page(forgotten), [middle.jobId]);
});
