import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { eachConcurrently } from "../../src/store/each-concurrently.js";

test("every item is worked on, so many at a time", async () => {
  const done: number[] = [];
  let [running, most] = [0, 0];
  const work = async (item: number): Promise<void> => {
    running += 1;
    most = Math.max(most, running);
    await turn();
    running -= 1;
    done.push(item);
  };
  await eachConcurrently(Array(20).keys(), work, 4);
  assert.deepEqual(
    done.sort((a, b) => a - b),
    [...Array(20).keys()],
  );
  assert.equal(most, 4);
});

test("after a failure none is begun, and it is thrown when those under way have ended", async () => {
  const begun: number[] = [];
  let ended = 0;
  const work = async (item: number): Promise<void> => {
    begun.push(item);
    if (item === 2) throw new Error("the first in time");
    await turn();
    ended += 1;
    if (item === 0) throw new Error("a later one");
  };
  await assert.rejects(eachConcurrently(Array(20).keys(), work, 4), /the first in time/);
  assert.deepEqual([begun, ended], [[0, 1, 2, 3], 3]);
});
