import assert from "node:assert/strict";
import { test } from "node:test";
import { SLICE_MS } from "../src/limits.js";
import { inSlices, type Steps } from "../src/slices.js";
import { inOneGo } from "./support/in-one-go.js";

/** Steps that note themselves; the first takes longer than a slice where it is `slow`. */
function* noted(name: string, into: string[], { steps, slow }: { steps: number; slow: boolean }): Steps<string> {
  for (let step = 1; step <= steps; step += 1) {
    into.push(`${name}${step}`);
    const until = performance.now() + (slow ? SLICE_MS + 1 : 0);
    while (performance.now() < until);
    yield;
  }
  return name;
}

test("everything else has its turn between two slices", async () => {
  const order: string[] = [];
  setImmediate(() => order.push("other"));
  await inSlices(noted("a", order, { steps: 3, slow: true }));
  assert.deepEqual(order, ["a1", "other", "a2", "a3"]);
});

test("those that reckon side by side share one slice, and each comes on by a step", async () => {
  const order: string[] = [];
  const slow = inSlices(noted("a", order, { steps: 1, slow: true }));
  const quick = inSlices(noted("b", order, { steps: 3, slow: false }));
  assert.deepEqual(order, ["a1", "b1"]);
  assert.deepEqual(await Promise.all([slow, quick]), ["a", "b"]);
  assert.deepEqual(order, ["a1", "b1", "b2", "b3"]);
});

test("what is short is done in the turn in which it was asked", async () => {
  const order: string[] = [];
  await new Promise((resolve) => setImmediate(resolve));
  const done = inSlices(noted("a", order, { steps: 1, slow: false }));
  assert.deepEqual(order, ["a1"]);
  assert.equal(await done, inOneGo(noted("a", [], { steps: 1, slow: false })));
});
