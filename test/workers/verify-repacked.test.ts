/**
 * What was made of an image against what it was made of: whatever differs is told, and what only stands in another order is not.
 */
import assert from "node:assert/strict";
import { hash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { imageLimits } from "../../src/limits.js";
import { type Entry, encodeChangeset, type RootEntry } from "../../src/overlap/changeset.js";
import { encodePlan } from "../../src/overlap/plan-file.js";
import type { EntriesFile } from "../../src/root-tasks.js";
import verifyRepacked from "../../workers/verify-repacked.js";
import { workDirectory } from "./work-directory.js";

const top = workDirectory("verify-repacked");
let serial = 0;

function written(kind: EntriesFile["kind"], pieces: Iterable<string>): EntriesFile {
  const [path, text] = [join(top, String(++serial)), [...pieces].join("")];
  writeFileSync(path, text, "latin1");
  return { kind, path, sha256: hash("sha256", Buffer.from(text, "latin1"), "hex") };
}

async function verified(
  tree: readonly RootEntry[],
  layers: readonly (readonly Entry[])[],
  rest = {},
): Promise<unknown> {
  const planned = tree.map((entry) => ({ layer: 0, from: entry.path, entry }));
  const outcome = await verifyRepacked({
    tree: { plan: written("plan", encodePlan(planned)), layers: [0] },
    layers: layers.map((layer) => written("changeset", encodeChangeset(layer))),
    policy: "b",
    limits: imageLimits,
    ...rest,
  });
  return outcome.ok ? outcome.value.differences : outcome.error.code;
}

const dir = (path: string, mode = 0o755): RootEntry => ({ type: "dir", path, mode, mtime: 1 });
const file = (path: string, more = {}): RootEntry => ({
  ...{ type: "file", path, mode: 0o644, mtime: 2, size: 1 },
  sha256: "a".repeat(64),
  ...more,
});
const link = (path: string, target: string): RootEntry => ({ type: "hardlink", path, target });
const tree = [
  dir("d"),
  file("d/a"),
  link("d/b", "d/a"),
  file("d/c"),
  { type: "symlink", path: "l", mtime: 3, target: "d" } as const,
];

suite("a repacked image", () => {
  test("is the tree that it was made of, in whatever layers", async () => {
    assert.deepEqual(await verified(tree, [tree]), []);
    const [directory, a, b, c, symlink] = tree as [RootEntry, RootEntry, RootEntry, RootEntry, RootEntry];
    assert.deepEqual(
      await verified(tree, [
        [directory, a, b],
        [directory, c, symlink],
      ]),
      [],
    );
    assert.deepEqual(
      await verified(tree, [
        [directory, a, b],
        [{ type: "implied", path: "d" }, c, symlink],
      ]),
      [],
    );
  });

  test("may have the names of one file in another order", async () => {
    assert.deepEqual(await verified([file("b"), link("a", "b")], [[file("a"), link("b", "a")]]), []);
  });

  test("has times as they were clamped", async () => {
    assert.deepEqual(await verified([file("a", { mtime: 9 })], [[file("a", { mtime: 5 })]], { latestMtime: 5 }), []);
  });

  const changed: Readonly<Record<string, readonly Entry[]>> = {
    "a file is missing": tree.filter(({ path }) => path !== "d/c"),
    "a file too many": [...tree, file("x")],
    "another content": tree.map((entry) => (entry.path === "d/c" ? file("d/c", { sha256: "b".repeat(64) }) : entry)),
    "another mode": tree.map((entry) => (entry.path === "d" ? dir("d", 0o700) : entry)),
    "another time": tree.map((entry) => (entry.path === "d/c" ? file("d/c", { mtime: 3 }) : entry)),
    "another target": tree.map((entry) => (entry.path === "l" ? { ...entry, target: "e" } : entry)) as Entry[],
    "a hard link that is a file of its own": tree.map((entry) => (entry.path === "d/b" ? file("d/b") : entry)),
    "a hard link to another file": tree.map((entry) => (entry.path === "d/b" ? link("d/b", "d/c") : entry)),
  };
  for (const [what, layer] of Object.entries(changed))
    test(`is refused for ${what}`, async () => {
      assert.notDeepEqual(await verified(tree, [layer]), []);
    });

  test("is refused where its policy refuses it, or where others read another tree", async () => {
    assert.match(String(await verified([file("a")], [[file("a")], [file("a")]])), /^a: LAYER_OVERLAP under b$/);
    const [lower, upper] = [
      [dir("d"), file("d/a")],
      [dir("d", 0o700), file("d/b")],
    ];
    assert.match(String(await verified([...lower, file("d/b")], [lower, upper])), /^d: a directory 700/);
  });
});
