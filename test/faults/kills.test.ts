/**
 * The daemon is killed again and again, at seeded calls and at arrows of the commit order and steps of a repair; `npm run faults kills`
 * does it five hundred times, `npm run faults arrows` at every arrow before and after.
 */
import assert from "node:assert/strict";
import { before, suite, test } from "node:test";
import { fileScope } from "../support/sandbox.js";
import { type Arrow, Kills } from "./kills.js";
import { skip } from "./workshop.js";

const SEED = 101;
const MOST = 6;
/** In the order in which the scenario meets them. */
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
  ["a mended file", "kill-after"],
  ["a file that is linked again", "kill-before"],
];

suite("a daemon is killed, and the next, and the next", { skip }, () => {
  const scope = fileScope();
  let kills: Kills;

  before(async () => {
    kills = await Kills.prepare(scope);
  });

  test("at seeded calls: what stands is sound, nothing is done twice, and the last one does the rest", async () => {
    const { kills: killed, problems } = await kills.seeded(SEED, MOST);
    assert.deepEqual(problems, [], `killed ${killed.map(({ hit }) => `at ${hit}`).join(", ")}`);
    assert.equal(killed.length, MOST);
  });

  test("at arrows of the commit order and of a repair: the same", async () => {
    const { kills: killed, problems } = await kills.at(...ARROWS);
    assert.deepEqual(problems, []);
    assert.equal(killed.length, ARROWS.length, `the last one that was reached is ${killed.at(-1)?.hit}`);
  });
});
