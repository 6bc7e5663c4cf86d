/**
 * The daemon is killed at some of its calls, and at arrows of the commit order; `npm run faults kills` does it five hundred times, and
 * at every arrow before and after.
 */
import assert from "node:assert/strict";
import { before, suite, test } from "node:test";
import { fileScope } from "../support/sandbox.js";
import { type Arrow, Kills } from "./kills.js";
import { skip } from "./workshop.js";

const SEEDS = [101, 102, 103, 104, 105];
const ARROWS: readonly (readonly [Arrow, "kill-before" | "kill-after"])[] = [
  ["blob file", "kill-after"],
  ["layer.json", "kill-after"],
  ["rename to layers/", "kill-before"],
  ["rename to layers/", "kill-after"],
  ["meta", "kill-before"],
  ["rename to roots/", "kill-before"],
  ["rename to roots/", "kill-after"],
  ["a name's document", "kill-after"],
  ["a name's flip", "kill-after"],
  ["rename out of roots/", "kill-after"],
];

suite("a daemon is killed", { skip }, () => {
  const scope = fileScope();
  let kills: Kills;

  before(async () => {
    kills = await Kills.prepare(scope);
  });

  for (const seed of SEEDS)
    test(`at the call of seed ${seed}: what stands is sound, nothing is done twice, and the rest is done by the next`, async () => {
      const { hit, recoveryHit, problems } = await kills.seeded(seed);
      assert.deepEqual(problems, [], `killed at ${hit}, then at ${recoveryHit}`);
      assert.notEqual(hit, "", "the call was not reached");
    });

  for (const [arrow, what] of ARROWS)
    test(`${what} ${arrow}: the same`, async () => {
      const { hit, problems } = await kills.at(arrow, what);
      assert.deepEqual(problems, [], `killed at ${hit}`);
      assert.notEqual(hit, "", "the call was not reached");
    });
});
