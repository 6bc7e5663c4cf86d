/** When spares are made, over a store and a linker that do what the test says. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { suite, type TestContext, test } from "node:test";
import type { RootLinker } from "../../src/install/root-linker.js";
import { SpareMaker } from "../../src/install/spare-maker.js";
import { MIN_SPARE_ENTRIES, SPARE_AFTER_MS } from "../../src/limits.js";
import { createLog } from "../../src/log.js";
import { parseDiffId } from "../../src/oci/digest.js";
import type { Pool } from "../../src/pool.js";
import type { Store } from "../../src/store/store.js";
import type { LayerDocument } from "../../src/tasks.js";
import { until } from "../support/deadline.js";

const diffId = parseDiffId(`sha256:${"ab".repeat(32)}`);
const layer = { diffId, entries: MIN_SPARE_ENTRIES, files: 400, bytes: 0, topLevel: [] } as unknown as LayerDocument;

/** One layer is stored; linking it goes on until it is given up. */
function stage(t: TestContext, { whenIdle = async () => undefined }: { whenIdle?: () => Promise<void> } = {}) {
  const events: string[] = [];
  const linkBehind = async (_tree: string, _layer: LayerDocument, signal: AbortSignal): Promise<never> => {
    events.push("linking");
    await once(signal, "abort");
    // What was under way has an end of its own.
    await new Promise((resolve) => setImmediate(resolve));
    events.push("ended");
    throw signal.reason;
  };
  const store = {
    leases: { open: () => ({ stored: () => undefined, drop: () => undefined }) },
    layers: { get: () => ({ document: layer }) },
    spares: { has: () => false, shrink: async () => events.push("removed") > 0 },
    staging: { with: (work: (paths: { rootTree: string }) => unknown) => work({ rootTree: "/proc/self" }) },
  };
  const much = { bytes: 2 ** 40, inodes: 2 ** 30 };
  const maker = new SpareMaker({
    store: store as unknown as Store,
    pool: { whenIdle } as unknown as Pool,
    linker: { linkBehind } as unknown as RootLinker,
    measure: async () => ({ free: much, reserve: { bytes: 0, inodes: 0 } }),
    maxEntries: 10_000,
    log: createLog("error", (line) => events.push(line)),
  });
  t.after(() => maker.stop());
  events.length = 0;
  return { maker, events };
}

/** It is being made, and nothing else is told of. */
async function making(t: TestContext): Promise<ReturnType<typeof stage>> {
  const it = stage(t);
  it.maker.linked([layer]);
  await until("it is being made", () => it.events.includes("linking"));
  it.events.length = 0;
  return it;
}

suite("spares are made", () => {
  test("not beside who wants none: what was under way has ended before the others are removed", async (t) => {
    const { maker, events } = await making(t);
    await maker.without(async () => events.push("worked"));
    assert.deepEqual(events, ["ended", "removed", "worked"]);
  });

  test("not while a collection goes: a layer of which one is being made would be needed", async (t) => {
    const { maker, events } = await making(t);
    await maker.whileNoneIsMade(async () => events.push("collected"));
    assert.deepEqual(events, ["ended", "collected"]);
    await until("it is made after all", () => events.includes("linking"));
  });

  test("after who comes for none in the very turn in which one would begin", async (t) => {
    let work: Promise<unknown> | undefined;
    const wantNone = (): void => {
      work ??= maker.without(async () => {
        await new Promise((resolve) => setTimeout(resolve, 50));
        events.push("worked");
      });
    };
    let linkedAt = Number.POSITIVE_INFINITY;
    const { maker, events } = stage(t, {
      whenIdle: async () => {
        // A timer may come a little early: then there is one more look.
        const isLast = performance.now() >= linkedAt + SPARE_AFTER_MS;
        // Behind the last look at whether somebody wants none.
        if (isLast) queueMicrotask(() => queueMicrotask(wantNone));
      },
    });
    linkedAt = performance.now();
    maker.linked([layer]);
    await until("it is being made", () => events.includes("linking"));
    await work;
    assert.deepEqual(events, ["removed", "worked", "removed", "linking"]);
  });

  test("not once the daemon stops: what was under way is given up", async (t) => {
    const { maker, events } = await making(t);
    await maker.stop();
    assert.equal(events.at(-1), "ended");
    maker.linked([layer]);
    await new Promise((resolve) => setTimeout(resolve, SPARE_AFTER_MS + 200));
    assert.equal(events.at(-1), "ended");
  });
});
