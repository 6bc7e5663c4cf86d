/** Stored layers linked with the threads that those which are still to come leave over. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { LinkingAhead } from "../../src/install/linking-ahead.js";
import type { DiffId } from "../../src/oci/digest.js";
import type { LinkResult } from "../../src/root-tasks.js";
import type { LayerDocument } from "../../src/tasks.js";

const layer = (name: string): LayerDocument => ({ diffId: name as DiffId }) as LayerDocument;
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Running {
  readonly signal: AbortSignal;
  readonly end: (failure?: Error) => Promise<void>;
}

/** A linking of layers that are linked in one part each, which ends when it is told to. */
function stage(options: { threads: number; layers: number }) {
  const running = new Map<string, Running>();
  const ahead = new LinkingAhead(
    ({ diffId }, slots, signal) =>
      slots.run(0, signal, () => {
        return new Promise<LinkResult[]>((resolve, reject) => {
          running.set(diffId, {
            signal,
            end: (failure) => {
              running.delete(diffId);
              if (failure === undefined) resolve([{ files: 1, copied: 0, copiedBytes: 0, open: [], because: diffId }]);
              else reject(failure);
              return settle();
            },
          });
        });
      }),
    options,
  );
  const names = (results: readonly LinkResult[] | undefined) => results?.map(({ because }) => because);
  return { ahead, running, names };
}

suite("linking ahead", () => {
  test("takes no thread that a layer still to come may need, and the rest of them when the last are stored", async () => {
    const { ahead, running, names } = stage({ threads: 2, layers: 3 });
    for (const name of ["a", "b"]) ahead.add(layer(name));
    await settle();
    assert.deepEqual([...running.keys()], ["a"]);
    ahead.add(layer("c"));
    await settle();
    assert.deepEqual([...running.keys()], ["a", "b"]);
    const all = ahead.finish(["a", "b", "c"].map(layer));
    await settle();
    for (const name of ["c", "b", "a"]) await running.get(name)?.end();
    assert.deepEqual(names(await all), ["a", "b", "c"]);
  });

  test("of four threads leaves two to the layers that are unpacked, and one to the last", async () => {
    const { ahead, running } = stage({ threads: 4, layers: 6 });
    for (const name of ["a", "b", "c", "d"]) ahead.add(layer(name));
    await settle();
    assert.deepEqual([...running.keys()], ["a", "b"]);
    ahead.add(layer("e"));
    await settle();
    assert.deepEqual([...running.keys()], ["a", "b", "c"]);
    const abandoned = ahead.abandon();
    for (const { end } of running.values()) await end();
    await abandoned;
  });

  test("links what was not added when all are there, and a layer that an image has twice once", async () => {
    const { ahead, running, names } = stage({ threads: 2, layers: 3 });
    ahead.add(layer("a"));
    const all = ahead.finish(["a", "b", "a"].map(layer));
    await settle();
    for (const name of ["b", "a"]) await running.get(name)?.end();
    assert.deepEqual(names(await all), ["a", "b"]);
  });

  test("is to be done anew where one fails: the others are told to stop, and waited for", async () => {
    const { ahead, running } = stage({ threads: 2, layers: 2 });
    for (const name of ["a", "b"]) ahead.add(layer(name));
    await settle();
    const b = running.get("b") as Running;
    await running.get("a")?.end(new Error("EIO"));
    assert.ok(b.signal.aborted);
    let isOver = false;
    const all = ahead.finish(["a", "b"].map(layer)).finally(() => {
      isOver = true;
    });
    await settle();
    assert.equal(isOver, false);
    await b.end();
    assert.equal(await all, undefined);
  });

  test("that was abandoned links nothing more, and nothing of it is under way when that resolves", async () => {
    const { ahead, running } = stage({ threads: 2, layers: 2 });
    ahead.add(layer("a"));
    await settle();
    const a = running.get("a") as Running;
    let isAbandoned = false;
    const abandoned = ahead.abandon().then(() => {
      isAbandoned = true;
    });
    await settle();
    assert.deepEqual([isAbandoned, a.signal.aborted], [false, true]);
    await a.end();
    await abandoned;
    assert.equal(await ahead.finish([layer("a")]), undefined);
    ahead.add(layer("b"));
    assert.equal(await ahead.finish(["a", "b"].map(layer)), undefined);
    assert.deepEqual([...running.keys()], []);
  });
});
