import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type Changeset, type Entry, topLevelNames } from "../../src/overlap/changeset.js";
import { areDisjoint } from "../../src/overlap/disjoint-roots.js";
import { type Conflict, planRoot } from "../../src/overlap/plan-root.js";
import { layers } from "./arbitrary-layers.js";

const file = (path: string): Entry => ({ type: "file", path, mode: 0o644, mtime: 0, size: 1, sha256: "0".repeat(64) });
const dir = (path: string): Entry => ({ type: "dir", path, mode: 0o755, mtime: 0 });
const top = (path: string): string => path.split("/")[0] as string;

/** One layer applied after another to a map, with no idea of a plan. */
function naive(changesets: readonly Changeset[]): Map<string, Entry> | Set<string> {
  const root = new Map<string, Entry>();
  const owner = new Map<string, number>();
  const shared = new Set<string>();
  for (const [index, changeset] of changesets.entries()) {
    for (const entry of changeset) {
      const name = top(entry.path);
      if (owner.has(name) && owner.get(name) !== index) shared.add(name);
      else owner.set(name, index);
      root.set(entry.path, entry);
    }
  }
  return shared.size > 0 ? shared : root;
}

const conflictsOf = (changesets: readonly Changeset[]): readonly Conflict[] => {
  const result = planRoot(changesets, "c");
  return result.ok ? [] : result.conflicts;
};

suite("policy c", () => {
  test("the plan is what a naive model gives; the conflicts are all there are, sorted", () => {
    const seen = { plans: 0, conflicts: 0 };
    fc.assert(
      fc.property(layers, (changesets) => {
        const result = planRoot(changesets, "c");
        const model = naive(changesets);
        if (!result.ok) {
          seen.conflicts += 1;
          assert.ok(model instanceof Set, "the model knows no conflict");
          assert.deepEqual(
            result.conflicts.map(({ path }) => path),
            [...model].sort((a, b) => Buffer.from(a, "latin1").compare(Buffer.from(b, "latin1"))),
          );
          return;
        }
        seen.plans += 1;
        assert.ok(model instanceof Map, "the model knows a conflict");
        assert.deepEqual(new Map(result.plan.map(({ entry }) => [entry.path, entry])), model);
        assert.equal(result.plan.length, model.size, "a path stands in the plan twice");
        for (const { layer, entry } of result.plan) assert.ok(changesets[layer]?.includes(entry));
      }),
      { numRuns: 500 },
    );
    assert.ok(seen.plans > 50 && seen.conflicts > 50, JSON.stringify(seen));
  });

  test("what layer.json says gives the same verdict as the changesets", () => {
    const count = (changeset: Changeset, ...types: Entry["type"][]) =>
      changeset.filter(({ type }) => types.includes(type)).length;
    const verdicts = new Set<boolean>();
    fc.assert(
      fc.property(layers, (changesets) => {
        const outlines = changesets.map((changeset) => ({
          topLevel: [...topLevelNames(changeset)],
          whiteouts: count(changeset, "whiteout", "opaque"),
          unresolved: count(changeset, "unresolved"),
        }));
        verdicts.add(areDisjoint(outlines));
        assert.equal(areDisjoint(outlines), planRoot(changesets, "c").ok);
      }),
      { numRuns: 500 },
    );
    assert.equal(verdicts.size, 2);
  });

  test("a directory stands in the plan before what it holds, and its entries together", () => {
    fc.assert(
      fc.property(layers, (changesets) => {
        const result = planRoot(changesets, "c");
        fc.pre(result.ok);
        const open: string[] = [];
        const seen = new Set<string>();
        for (const { entry } of result.plan) {
          const above = entry.path.slice(0, Math.max(0, entry.path.lastIndexOf("/")));
          while (open.length > 0 && open.at(-1) !== above) open.pop();
          assert.equal(open.at(-1) ?? "", above, `${entry.path} is parted from its directory`);
          assert.ok(!seen.has(entry.path));
          seen.add(entry.path);
          if (entry.type === "dir" || entry.type === "implied") open.push(entry.path);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("a conflict names every side, the lowest layer first, with what each has there", () => {
    const conflicts = conflictsOf([[dir("a"), file("a/f")], [file("a")], [file("a/g")], [file("b")]]);
    const sides = [
      { layer: 0, type: "dir" },
      { layer: 1, type: "file" },
      { layer: 2, type: "dir" },
    ];
    assert.deepEqual(conflicts, [{ code: "LAYER_OVERLAP", path: "a", sides }]);
  });

  test("identical layers conflict, unless they are empty", () => {
    assert.equal(conflictsOf([[file("a")], [file("a")]]).length, 1);
    assert.deepEqual(planRoot([[], [file("a")], [], []], "c"), { ok: true, plan: [{ layer: 1, entry: file("a") }] });
  });

  test("names are compared as bytes", () => {
    assert.deepEqual(conflictsOf([[file("\xc3\xa9")], [file("e\xcc\x81")], [file("FOO")], [file("foo")]]), []);
  });

  test("whiteouts and unresolved hard links are refused, each with its layer and path, in order", () => {
    const conflicts = conflictsOf([
      [file("z"), { type: "unresolved", path: "h", target: "x" }],
      [
        { type: "whiteout", path: "a" },
        { type: "opaque", path: "" },
      ],
      [file("z")],
    ]);
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
    const conflicts = conflictsOf([[file("a")], [{ type: "whiteout", path: "a" }]]);
    assert.deepEqual(
      conflicts.map(({ code }) => code),
      ["WHITEOUT"],
    );
  });

  test("names of Object.prototype are names", () => {
    const names = ["__proto__", "constructor", "toString"];
    assert.equal(planRoot([names.map(file), [file("hasOwnProperty")]], "c").ok, true);
    assert.equal(conflictsOf([names.map(file), names.map(file)]).length, 3);
  });
});
