import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { imageLimits } from "../../src/limits.js";
import type { Changeset, Entry } from "../../src/overlap/changeset.js";
import { outermost } from "../../src/overlap/outermost.js";
import { type Placement, placed } from "../../src/overlap/placement.js";
import { planRoot } from "../../src/overlap/plan-root.js";

const dir = (path: string): Entry => ({ type: "dir", path, mode: 0o755, mtime: 0 });
const file = (path: string): Entry => ({ type: "file", path, mode: 0o644, mtime: 0, size: 1, sha256: "0".repeat(64) });

/** `path/` for a directory of the root's own, `path -> from` for what is linked. */
function shown(layers: readonly (readonly [Changeset, Placement | undefined])[]): string[] {
  const result = planRoot(
    layers.map(([changeset, placement]) => placed(changeset, placement, imageLimits)),
    { policy: "c" },
  );
  assert.ok(result.ok);
  return Array.from(
    outermost(() => result.plan),
    ({ planned: { from, entry }, isOwnDirectory }) => (isOwnDirectory ? `${entry.path}/` : `${entry.path} -> ${from}`),
  );
}

suite("a root of symlinks", () => {
  test("has the top-level entries of layers that stand as they are", () => {
    assert.deepEqual(
      shown([
        [[dir("a"), file("a/b")], undefined],
        [[file("c")], undefined],
      ]),
      ["a -> a", "c -> c"],
    );
  });

  test("has the directories of a prefix for itself, and links what stands in them", () => {
    const prefix = { prefix: "opt/x", strip: 0 };
    assert.deepEqual(shown([[[dir("a"), file("a/b"), file("c")], prefix]]), [
      "opt/",
      "opt/x/",
      "opt/x/a -> a",
      "opt/x/c -> c",
    ]);
  });

  test("links what strip leaves from where the layer has it", () => {
    const strip = { prefix: "", strip: 1 };
    assert.deepEqual(shown([[[dir("x"), dir("x/d"), file("x/d/f")], strip]]), ["d -> x/d"]);
  });

  test("has a directory for itself that strip merges out of two, and links what stands in both", () => {
    const strip = { prefix: "", strip: 1 };
    const layer = [dir("x"), dir("x/d"), file("x/d/f1"), dir("x/d/e"), dir("y"), dir("y/d"), file("y/d/f2")];
    assert.deepEqual(shown([[layer, strip]]).sort(), ["d/", "d/e -> x/d/e", "d/f1 -> x/d/f1", "d/f2 -> y/d/f2"]);
  });

  test("has all directories above a merged one for itself", () => {
    const strip = { prefix: "", strip: 1 };
    const layer = [
      dir("x"),
      dir("x/a"),
      dir("x/a/d"),
      file("x/a/d/1"),
      dir("y"),
      dir("y/a"),
      dir("y/a/d"),
      file("y/a/d/2"),
    ];
    assert.deepEqual(shown([[layer, strip]]).sort(), ["a/", "a/d/", "a/d/1 -> x/a/d/1", "a/d/2 -> y/a/d/2"]);
  });
});
