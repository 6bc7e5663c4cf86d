/** What `status` says of damage: until it is mended, and not longer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { StandingFindings, type Verified } from "../../src/install/standing-findings.js";
import type { Finding } from "../../src/messages/verification.js";

const finding = (path: string): Finding => ({ code: "CONTENT", path, detail: "" });
const verified = (left: readonly string[], how: Partial<Verified> = {}): Verified => ({
  left: left.map(finding),
  leftTotal: left.length,
  repaired: [],
  deep: false,
  isOfAll: true,
  ...how,
});

/** So that one assertion does not decide what the compiler takes the next for. */
const viewOf = ({ view }: StandingFindings) => view;

test("what a verification of everything found is told until one that looks as deep is clean", () => {
  const standing = new StandingFindings();
  standing.add(verified(["a"]));
  assert.deepEqual([viewOf(standing)?.total, viewOf(standing)?.deep], [1, false]);
  standing.add(verified([]));
  assert.equal(viewOf(standing), undefined);
  standing.add(verified(["a", "b"], { deep: true }));
  standing.add(verified([]));
  assert.deepEqual([viewOf(standing)?.total, viewOf(standing)?.deep], [2, true]);
  standing.add(verified([], { deep: true, isOfAll: false }));
  assert.equal(viewOf(standing)?.total, 2);
  standing.add(verified([], { deep: true }));
  assert.equal(viewOf(standing), undefined);
});

test("what a repair of a part mended is not told any more, and nothing else is forgotten", () => {
  const standing = new StandingFindings();
  standing.add(verified(["a", "b"], { deep: true }));
  standing.add(verified([], { repaired: [finding("a"), finding("new")], isOfAll: false }));
  assert.equal(viewOf(standing)?.total, 1);
  standing.add(verified([], { repaired: [finding("b")], isOfAll: false }));
  assert.equal(viewOf(standing), undefined);
});
