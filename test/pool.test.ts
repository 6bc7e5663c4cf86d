/**
 * The pool with the workers that ship and small real tasks: failures of a thread are outcomes, and the next task is served.
 */
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { StrataError } from "../src/errors.js";
import { GrowthWriter } from "../src/growth.js";
import { imageLimits } from "../src/limits.js";
import { createLog } from "../src/log.js";
import { Pool } from "../src/pool.js";
import type { PlanTask } from "../src/root-tasks.js";
import { TaskProgress } from "../src/task-progress.js";
import type { UnpackTask } from "../src/tasks.js";
import { Turn } from "../src/turn.js";
import { until } from "./support/deadline.js";
import { file, tar } from "./support/tar-builder.js";

const lines: string[] = [];
const log = createLog("debug", (line) => lines.push(line));

suite("pool", () => {
  let work: string;
  let pool: Pool;
  before(() => {
    work = mkdtempSync(join(tmpdir(), "pool-"));
    pool = new Pool({ threads: 1, stallTimeoutMs: 60_000, log });
  });
  after(async () => {
    await pool.close();
    rmSync(work, { recursive: true, force: true });
  });

  const unpackTask = (
    bytes: Buffer,
    more: Partial<UnpackTask["blob"]> = {},
    progress = new TaskProgress(),
  ): UnpackTask => {
    const staging = join(work, randomUUID());
    mkdirSync(staging);
    const path = `${staging}.blob`;
    writeFileSync(path, bytes);
    const blob = { path, offset: 0, length: bytes.length, ...more };
    return {
      blob,
      codec: "none",
      decoders: "native",
      expected: {},
      staging,
      limits: imageLimits,
      progress: progress.shared,
      busy: pool.sharedBusy,
      wideWindow: new Turn().ticket(),
      topLevel: new MessageChannel().port1,
    };
  };
  const code = (expected: string) => (error: unknown) => {
    assert.ok(error instanceof StrataError, String(error));
    assert.equal(error.code, expected, error.message);
    return true;
  };
  async function servesTheNext(on = pool): Promise<void> {
    const task = unpackTask(tar(file("a", "hello")));
    assert.equal((await on.run("unpack", task)).layer.entries, 1);
    assert.equal(readFileSync(join(task.staging, "tree/a"), "utf8"), "hello");
    assert.deepEqual([on.busy, on.queued], [0, 0]);
  }

  test("a task goes out and its result comes back, with progress on the way", async () => {
    const progress = new TaskProgress();
    const bytes = tar(file("a", "hello"));
    const { layer } = await pool.run("unpack", unpackTask(bytes, {}, progress), { progress });
    assert.deepEqual([layer.entries, layer.bytes, progress.entries], [1, 5, 1]);
    assert.deepEqual([progress.bytesRead, progress.bytesWritten], [bytes.length, bytes.length]);
    await servesTheNext();
  });

  test("a refusal comes back with its code and details", async () => {
    await assert.rejects(pool.run("unpack", unpackTask(tar(file("../x")))), (error) => {
      code("PATH_TRAVERSAL")(error);
      assert.deepEqual((error as StrataError).options.details, { entryIndex: 0, entryName: "../x" });
      return true;
    });
    await servesTheNext();
  });

  test("a failure of the system keeps its errno", async () => {
    await assert.rejects(
      pool.run("unpack", { ...unpackTask(tar()), staging: join(work, "nowhere") }),
      code("STORE_IO"),
    );
    await servesTheNext();
  });

  test("a bug of ours is INTERNAL, its stack in the log and nowhere else", async () => {
    const broken = { ...unpackTask(tar(file("a"))), limits: undefined } as unknown as UnpackTask;
    lines.length = 0;
    await assert.rejects(pool.run("unpack", broken), (error) => {
      code("INTERNAL")(error);
      assert.doesNotMatch(JSON.stringify((error as StrataError).toWire()), /\.js:\d+/);
      return true;
    });
    assert.match(lines.join(""), /worker\.failed.*\.js:\d+/);
    await servesTheNext();
  });

  test("a task that waits for a download is not stalled, and is ended by its signal", async () => {
    const growth = new GrowthWriter();
    const progress = new TaskProgress();
    const cancel = new AbortController();
    const task = unpackTask(Buffer.alloc(0), { length: 100, growth: growth.shared }, progress);
    const running = pool.run("unpack", task, { progress, signal: cancel.signal });
    const settled = running.catch((error: unknown) => error);
    await until("the worker waits", async () => progress.activity === "waiting");
    // Another task's stall says that the time for one has passed.
    const other = new Pool({ threads: 1, stallTimeoutMs: 200, log });
    const still = new TaskProgress();
    still.activity = "working";
    const idle = unpackTask(Buffer.alloc(0), { length: 100, growth: new GrowthWriter().shared });
    await assert.rejects(other.run("unpack", idle, { progress: still }), code("WORKER_STALLED"));
    await other.close();
    assert.equal(progress.activity, "waiting");
    cancel.abort();
    assert.ok(code("CANCELLED")(await settled));
    await servesTheNext();
  });

  test("a queued task that is cancelled never starts", async () => {
    const growth = new GrowthWriter();
    const progress = new TaskProgress();
    const first = pool.run("unpack", unpackTask(Buffer.alloc(0), { length: 100, growth: growth.shared }, progress));
    const firstSettled = first.catch((error: unknown) => error);
    const cancel = new AbortController();
    const task = unpackTask(tar(file("a")));
    const second = pool.run("unpack", task, { signal: cancel.signal });
    assert.deepEqual([pool.busy, pool.queued], [1, 1]);
    cancel.abort();
    await assert.rejects(second, code("CANCELLED"));
    growth.fail();
    assert.ok(code("SIZE_MISMATCH")(await firstSettled));
    await servesTheNext();
    assert.equal(existsSync(join(task.staging, "tree")), false);
  });

  test("a signal that is aborted already starts nothing", async () => {
    const task = unpackTask(tar(file("a")));
    await assert.rejects(pool.run("unpack", task, { signal: AbortSignal.abort() }), code("CANCELLED"));
    assert.equal(existsSync(join(task.staging, "tree")), false);
    await servesTheNext();
  });

  /** A changeset of so many lines: time in which the planner talks to nobody, and in the end more than its heap holds. */
  function hugeTask(line: string, lines: number): PlanTask {
    const staging = join(work, randomUUID());
    mkdirSync(staging);
    const text = Buffer.from(`stratad-changeset 1\n${line.repeat(lines)}`);
    const path = join(staging, "changeset");
    writeFileSync(path, text);
    const sha256 = createHash("sha256").update(text).digest("hex");
    return { policy: "c", layers: [{ changeset: { kind: "changeset", path, sha256 } }], limits: imageLimits };
  }

  test("a worker that is busy without progress is WORKER_STALLED", async () => {
    const progress = new TaskProgress();
    progress.activity = "working";
    const own = new Pool({ threads: 1, stallTimeoutMs: 200, log });
    await assert.rejects(own.run("plan", hugeTask("i\ta\n", 3_000_000), { progress }), code("WORKER_STALLED"));
    await servesTheNext(own);
    await own.close();
  });

  test("a busy worker is ended by its signal", async () => {
    const cancel = new AbortController();
    const running = pool.run("plan", hugeTask("i\ta\n", 3_000_000), { signal: cancel.signal });
    cancel.abort();
    await assert.rejects(running, code("CANCELLED"));
    await servesTheNext();
  });

  test("an unpack that is cancelled at any moment ends as CANCELLED, its thread goes on, and so does the process", async () => {
    // Members so small that half of the worker's time goes into making zlib streams: a thread that is killed then takes node along.
    const members = Buffer.concat(Array(100_000).fill(gzipSync(Buffer.alloc(0))));
    const blob = Buffer.concat([members, gzipSync(tar(file("a", "hello")))]);
    for (let moment = 0; moment < 60; moment += 1) {
      const progress = new TaskProgress();
      const cancel = new AbortController();
      const task = { ...unpackTask(blob, {}, progress), codec: "gzip" as const };
      const settled = pool.run("unpack", task, { progress, signal: cancel.signal }).catch((error: unknown) => error);
      await until("the worker works", async () => progress.activity === "working");
      for (let turn = 0; turn < moment; turn += 1) await nextTurn();
      cancel.abort();
      assert.ok(code("CANCELLED")(await settled));
      assert.equal(pool.busy, 0);
    }
    assert.equal(lines.join("").includes("worker.crashed"), false);
    await servesTheNext();
  });

  test("a worker that runs out of heap is WORKER_CRASHED, which may be tried again", async () => {
    lines.length = 0;
    const small = new Pool({ threads: 1, stallTimeoutMs: 60_000, heapMb: 128, log });
    await assert.rejects(small.run("plan", hugeTask("i\ta\n", 3_000_000)), (error) => {
      code("WORKER_CRASHED")(error);
      return (error as StrataError).retryable;
    });
    assert.match(lines.join(""), /worker\.crashed/);
    await small.run("remove", { path: join(work, "nothing") });
    await small.close();
  });

  test("an unpack whose tree outgrows the heap is WORKER_CRASHED, and its thread unpacks the next", async () => {
    const small = new Pool({ threads: 1, stallTimeoutMs: 60_000, heapMb: 24, log });
    const names = Array.from({ length: 60_000 }, (_, i) => file(`${"n".repeat(90)}${i}/${"m".repeat(50)}/a`));
    await assert.rejects(small.run("unpack", unpackTask(tar(...names))), (error) => {
      code("WORKER_CRASHED")(error);
      return (error as StrataError).retryable;
    });
    assert.equal((await small.run("unpack", unpackTask(tar(file("a"))))).layer.entries, 1);
    await small.close();
  });

  test("among those that wait the largest runs first, equals in the order they came", async () => {
    const growth = new GrowthWriter();
    const blocking = pool.run("unpack", unpackTask(Buffer.alloc(0), { length: 100, growth: growth.shared }));
    const blocked = blocking.catch(() => undefined);
    const order: string[] = [];
    const waiting = (
      [
        ["small", 1],
        ["large", 9],
        ["middle", 5],
        ["large too", 9],
        ["none", undefined],
      ] as const
    ).map(async ([name, weight]) => {
      await pool.run("unpack", unpackTask(tar(file(name))), weight === undefined ? {} : { weight });
      order.push(name);
    });
    assert.equal(pool.queued, waiting.length);
    growth.fail();
    await Promise.all([blocked, ...waiting]);
    assert.deepEqual(order, ["large", "large too", "middle", "small", "none"]);
  });

  test("a thread starts for the task that finds all others busy", async () => {
    const own = new Pool({ threads: 2, stallTimeoutMs: 60_000, log });
    const growing = Array.from({ length: 2 }, () => {
      const [growth, progress] = [new GrowthWriter(), new TaskProgress()];
      const task = unpackTask(Buffer.alloc(0), { length: 100, growth: growth.shared }, progress);
      return { growth, progress, settled: own.run("unpack", task, { progress }).catch((error: unknown) => error) };
    });
    await until("both run", async () => growing.every(({ progress }) => progress.activity === "waiting"));
    for (const { growth } of growing) growth.fail();
    await Promise.all(growing.map(({ settled }) => settled));
    await own.close();
  });

  test("a pool that is closed ends what runs", async () => {
    const own = new Pool({ threads: 1, stallTimeoutMs: 60_000, log });
    const growth = new GrowthWriter();
    const progress = new TaskProgress();
    const task = unpackTask(Buffer.alloc(0), { length: 100, growth: growth.shared }, progress);
    const settled = own.run("unpack", task, { progress }).catch((error: unknown) => error);
    await until("the worker waits", async () => progress.activity === "waiting");
    await own.close();
    assert.ok((await settled) instanceof StrataError);
  });
});
