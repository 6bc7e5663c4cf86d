import assert from "node:assert/strict";
import { test } from "node:test";
import { dueLayers } from "../../src/install/scrubber.js";
import { SCRUB_INTERVAL_MS } from "../../src/limits.js";
import { diffIdOf } from "../store/opened-store.js";
import { inOneGo } from "../support/in-one-go.js";

const NOW = Date.parse("2026-06-01T00:00:00Z");

function layer(name: string, created: number, verified?: number) {
  const at = (ms: number) => new Date(NOW - ms).toISOString();
  return {
    diffId: diffIdOf(name),
    createdAt: at(created),
    verifiedAt: verified === undefined ? undefined : at(verified),
  };
}

test("the layer that was verified or unpacked the longest ago is scrubbed first, one of this week not at all", () => {
  const week = SCRUB_INTERVAL_MS;
  const layers = [
    layer("unpacked", 2 * week),
    layer("verified this week", 9 * week, week - 1),
    layer("verified", 9 * week, 3 * week),
    layer("unpacked this week", week - 1),
    layer("just due", 5 * week, week),
  ];
  const due = ["verified", "unpacked", "just due"].map(diffIdOf);
  assert.deepEqual(inOneGo(dueLayers(layers, NOW)), due);
});

test("a layer whose times nobody can read is scrubbed first", () => {
  const broken = layer("broken", 0);
  const layers = [layer("old", 9 * SCRUB_INTERVAL_MS), { ...broken, createdAt: "?" }];
  assert.deepEqual(inOneGo(dueLayers(layers, NOW)), ["broken", "old"].map(diffIdOf));
});
