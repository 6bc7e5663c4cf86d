import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type Changeset, type Entry, topLevelNames } from "../../src/overlap/changeset.js";
import { areDisjoint } from "../../src/overlap/disjoint-roots.js";
import { plainLayers } from "./arbitrary-layers.js";
import { acceptedPlan, conflictsOf, dir, file, hardlink, planOf } from "./planning.js";

suite("policy c", () => {
  test("what layer.json says gives the same verdict as the changesets", () => {
    const count = (changeset: Changeset, ...types: Entry["type"][]) =>
      changeset.filter(({ type }) => types.includes(type)).length;
    const verdicts = new Set<boolean>();
    fc.assert(
      fc.property(plainLayers, (changesets) => {
        const outlines = changesets.map((changeset) => ({
          topLevel: [...topLevelNames(changeset)],
          whiteouts: count(changeset, "whiteout", "opaque"),
          unresolved: count(changeset, "unresolved"),
        }));
        verdicts.add(areDisjoint(outlines));
        assert.equal(areDisjoint(outlines), planOf(changesets, "c").ok);
      }),
      { numRuns: 500 },
    );
    assert.equal(verdicts.size, 2);
  });

  test("a hard link that stands before its file becomes the file, and the file the link", () => {
    const changeset = [dir("a"), hardlink("a/link", "b"), file("b"), hardlink("c", "b")];
    assert.deepEqual(
      acceptedPlan([changeset], "c").map(({ from, entry }) => [from, entry]),
      [
        ["a", dir("a")],
        ["a/link", { ...file("b"), path: "a/link" }],
        ["b", hardlink("b", "a/link")],
        ["c", hardlink("c", "a/link")],
      ],
    );
  });

  test("a conflict names every side, the lowest layer first, with what each has there", () => {
    const conflicts = conflictsOf([[dir("a"), file("a/f")], [file("a")], [file("a/g")], [file("b")]], "c");
    const sides = [
      { layer: 0, type: "dir" },
      { layer: 1, type: "file" },
      { layer: 2, type: "dir" },
    ];
    assert.deepEqual(conflicts, [{ code: "LAYER_OVERLAP", path: "a", sides }]);
  });

  test("identical layers conflict, unless they are empty", () => {
    assert.equal(conflictsOf([[file("a")], [file("a")]], "c").length, 1);
    const plan = [{ layer: 1, from: "a", entry: file("a") }];
    assert.deepEqual(planOf([[], [file("a")], [], []], "c"), { ok: true, plan });
  });

  test("names are compared as bytes", () => {
    assert.deepEqual(conflictsOf([[file("\xc3\xa9")], [file("e\xcc\x81")], [file("FOO")], [file("foo")]], "c"), []);
  });

  test("whiteouts and unresolved hard links are refused, each with its layer and path, in order", () => {
    const conflicts = conflictsOf(
      [
        [file("z"), { type: "unresolved", path: "h", target: "x" }],
        [
          { type: "whiteout", path: "a" },
          { type: "opaque", path: "" },
        ],
        [file("z")],
      ],
      "c",
    );
    assert.deepEqual(conflicts, [
      { code: "WHITEOUT", path: "", layer: 1 },
      { code: "WHITEOUT", path: "a", layer: 1 },
      { code: "HARDLINK_TARGET", path: "h", layer: 0 },
      {
        code: "LAYER_OVERLAP",
        path: "z",
        sides: [
          { layer: 0, type: "file" },
          { layer: 2, type: "file" },
        ],
      },
    ]);
  });

  test("a whiteout's own name overlaps with nothing", () => {
    const conflicts = conflictsOf([[file("a")], [{ type: "whiteout", path: "a" }]], "c");
    assert.deepEqual(
      conflicts.map(({ code }) => code),
      ["WHITEOUT"],
    );
  });

  test("names of Object.prototype are names", () => {
    const names = ["__proto__", "constructor", "toString"];
    assert.equal(planOf([names.map((name) => file(name)), [file("hasOwnProperty")]], "c").ok, true);
    assert.equal(conflictsOf([names.map((name) => file(name)), names.map((name) => file(name))], "c").length, 3);
  });
});
