/** Looks that are shared: few for many, and none that began before it was asked for. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { SharedLook } from "../src/shared-look.js";

suite("shared look", () => {
  /** Looks that end when they are told to; each finds its own number. */
  function looks(): { readonly ends: ((failure?: Error) => void)[]; readonly look: () => Promise<number> } {
    const ends: ((failure?: Error) => void)[] = [];
    const look = (): Promise<number> =>
      new Promise((resolve, reject) => {
        const number = ends.length;
        ends.push((failure) => (failure === undefined ? resolve(number) : reject(failure)));
      });
    return { ends, look };
  }

  test("all who ask while one is under way get the next one, together", async () => {
    const shared = new SharedLook<number>();
    const { ends, look } = looks();
    const asked = [shared.at("a", look), shared.at("a", look), shared.at("a", look)];
    assert.equal(ends.length, 1);
    ends[0]?.();
    assert.equal(await asked[0], 0);
    await new Promise(setImmediate);
    const during = shared.at("a", look);
    ends[1]?.();
    assert.deepEqual(await Promise.all(asked), [0, 1, 1]);
    await new Promise(setImmediate);
    ends[2]?.();
    assert.equal(await during, 2);
    assert.equal(ends.length, 3);
  });

  test("different things are looked at side by side, and what is over is forgotten", async () => {
    const shared = new SharedLook<number>();
    const { ends, look } = looks();
    const both = [shared.at("a", look), shared.at("b", look)];
    assert.equal(ends.length, 2);
    for (const end of ends) end();
    await Promise.all(both);
    await new Promise(setImmediate);
    void shared.at("a", look);
    assert.equal(ends.length, 3);
  });

  test("a look that fails is its own askers' failure, and the next one is made all the same", async () => {
    const shared = new SharedLook<number>();
    const { ends, look } = looks();
    const first = shared.at("a", look);
    const next = shared.at("a", look);
    ends[0]?.(new Error("gone"));
    await assert.rejects(first, /gone/);
    await new Promise(setImmediate);
    ends[1]?.();
    assert.equal(await next, 1);
  });
});
