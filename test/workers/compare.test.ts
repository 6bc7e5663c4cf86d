/**
 * What two roots show otherwise: the worker reads their lists of entries, the judge walks both trees on the disk.
 */
import assert from "node:assert/strict";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { suite, test } from "node:test";
import fc from "fast-check";
import { MAX_CONFLICTS_LISTED } from "../../src/limits.js";
import type { RootChanges, ShownRoot } from "../../src/root-tasks.js";
import { TaskProgress } from "../../src/task-progress.js";
import compare from "../../workers/compare.js";
import { directory, file, hardlink, symlink, tar } from "../support/tar-builder.js";
import { dealing, dealtOut, type Making, type Thing, thing, things } from "./arbitrary-roots.js";
import { type Linked, withLinked } from "./linking.js";
import { onDisk } from "./unpacking.js";

interface Made {
  readonly shown: ShownRoot;
  /** What is walked: the root, or, of a root of symlinks, the trees that these lead into. */
  readonly trees: readonly string[];
}

async function withRoot<Value>(
  { layers, link = "hardlink", policy }: Making,
  look: (made: Made) => Promise<Value>,
): Promise<Value> {
  const linking = { mode: link === "symlink" ? ("hardlink" as const) : link, ...(policy ? { policy } : {}) };
  return withLinked(layers, linking, ({ root, trees, lists, error, plan }: Linked) => {
    assert.equal(error, undefined);
    assert.notEqual(plan?.kind, "conflicts");
    return look({ shown: { link, files: lists }, trees: link === "symlink" ? trees : [root] });
  });
}

const withRoots = <Value>(had: Making, has: Making, look: (had: Made, has: Made) => Promise<Value>): Promise<Value> =>
  withRoot(had, (one) => withRoot(has, (other) => look(one, other)));

async function changesOf(had: ShownRoot, has: ShownRoot): Promise<RootChanges> {
  const outcome = await compare({ had, has, progress: new TaskProgress().shared });
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

/** Everything that is to be seen below each top-level name. */
async function seen(trees: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const tree of trees)
    for (const name of await readdir(onDisk(tree, ""), "latin1"))
      found.set(name, JSON.stringify(await look(tree, name)));
  return found;
}

async function look(tree: string, top: string): Promise<unknown[]> {
  const facts: unknown[][] = [];
  const namesOf = new Map<number, string[]>();
  const walk = async (path: string): Promise<void> => {
    const stat = await lstat(onDisk(tree, path));
    const common = [path, stat.mode.toString(8), stat.mtimeMs];
    if (stat.isDirectory()) {
      facts.push(common);
      for (const name of (await readdir(onDisk(tree, path), "latin1")).sort()) await walk(`${path}/${name}`);
    } else if (stat.isSymbolicLink()) {
      facts.push([...common, await readlink(onDisk(tree, path), "latin1")]);
    } else {
      const names = namesOf.get(stat.ino) ?? [];
      names.push(path);
      namesOf.set(stat.ino, names);
      facts.push([...common, await readFile(onDisk(tree, path), "latin1"), names]);
    }
  };
  await walk(top);
  return facts;
}

async function naive(had: Made, has: Made): Promise<Pick<RootChanges, "added" | "changed" | "removed">> {
  const [before, after] = [await seen(had.trees), await seen(has.trees)];
  const [old, now] = [[...before.keys()].sort(), [...after.keys()].sort()];
  return {
    added: now.filter((name) => !before.has(name)),
    changed: now.filter((name) => before.has(name) && before.get(name) !== after.get(name)),
    removed: old.filter((name) => !after.has(name)),
  };
}

/** An update: most things stay, in whatever order; some go, some come. */
const update = things.chain((before) => {
  const least = { minLength: Math.max(0, before.length - 2) };
  const kept = fc.oneof(fc.constant(before), fc.subarray(before, least), fc.shuffledSubarray(before, least));
  const after = fc.tuple(kept, fc.array(thing, { maxLength: 2 }), fc.boolean()).map(([all, more, isTurned]) => {
    const things = [...all, ...more];
    return isTurned ? things.map(turnedNames) : things;
  });
  return fc.record({ before: fc.constant(before), after: fc.oneof(after, fc.constant(before)) });
});

/** The same file by another name first: that one is the archive's file now, and this one a hard link. */
const turnedNames = (one: Thing): Thing => ({ ...one, names: one.names.toReversed() });

const LATER = 1_600_000_000;
const base = [directory("top/", { mode: 0o755 }), file("top/x", "text"), symlink("top/l", "x")];
const twice = [file("top/a", "text"), hardlink("top/b", "top/a")];

/** Each is another way to show `top`, or the same. */
const pairs: readonly [what: string, had: readonly Buffer[], has: readonly Buffer[], isChanged: boolean][] = [
  ["nothing", base, base, false],
  ["a path more", base, [...base, file("top/y", "text")], true],
  ["an empty directory more", base, [...base, directory("top/d/")], true],
  ["a name of a file", base, [base[0] as Buffer, file("top/X", "text"), symlink("top/l", "x")], true],
  ["contents of one length", [file("top", "text")], [file("top", "TEXT")], true],
  ["a file's time", [file("top", "text")], [file("top", "text", { mtime: LATER })], true],
  ["a file's mode", [file("top", "text")], [file("top", "text", { mode: 0o755 })], true],
  ["the write bits, which no root shows", [file("top", "text")], [file("top", "text", { mode: 0o400 | 0o044 })], false],
  ["a directory's mode", [directory("top/")], [directory("top/", { mode: 0o700 })], true],
  ["a directory's time", [directory("top/")], [directory("top/", { mtime: LATER })], true],
  ["a directory that is only implied", [file("top/x")], [directory("top/", { mtime: 0 }), file("top/x")], false],
  ["where a symlink leads", [symlink("top", "a")], [symlink("top", "b")], true],
  ["a symlink's time", [symlink("top", "a")], [symlink("top", "a", { mtime: LATER })], true],
  ["a file for an empty directory", [directory("top/")], [file("top", "")], true],
  ["the archive's order", base, [base[0] as Buffer, symlink("top/l", "x"), file("top/x", "text")], false],
  ["which name of a file is the archive's link", twice, [file("top/b", "text"), hardlink("top/a", "top/b")], false],
  ["two files for one of two names", twice, [file("top/a", "text"), file("top/b", "text")], true],
  [
    "a file that is a hard link below another name",
    [file("top", "text")],
    [file("another", "text"), hardlink("top", "another")],
    false,
  ],
  [
    "what a hard link leads to below another name",
    [file("another", "text"), hardlink("top", "another")],
    [file("another", "TEXT"), hardlink("top", "another")],
    true,
  ],
  [
    "two names of an empty file, which a root has apart",
    [file("top/a"), hardlink("top/b", "top/a")],
    [file("top/a"), file("top/b")],
    false,
  ],
];

suite("a comparison", () => {
  for (const [what, had, has, isChanged] of pairs) {
    test(`${isChanged ? "tells" : "does not tell"} of a name that differs in ${what}`, async () => {
      await withRoots({ layers: [tar(...had)] }, { layers: [tar(...has)], policy: "a" }, async (one, other) => {
        const both = await Promise.all([changesOf(one.shown, other.shown), changesOf(other.shown, one.shown)]);
        for (const { changed } of both) assert.equal(changed.includes("top"), isChanged);
        assert.equal((await naive(one, other)).changed.includes("top"), isChanged, "the judge says otherwise");
      });
    });
  }

  test("says of any two roots what a walk through both says", async () => {
    await fc.assert(
      fc.asyncProperty(update, dealing, dealing, async ({ before, after }, dealt, dealtAgain) => {
        await withRoots(dealtOut(before, dealt), dealtOut(after, dealtAgain), async (had, has) => {
          const { total, ...changes } = await changesOf(had.shown, has.shown);
          const expected = await naive(had, has);
          assert.deepEqual(changes, expected);
          const count = ({ length }: readonly string[]): number => length;
          const { added, changed, removed } = expected;
          assert.deepEqual(total, { added: count(added), changed: count(changed), removed: count(removed) });
        });
      }),
      { numRuns: 100 },
    );
  });

  test("of two roots that share a layer does not read it", async () => {
    const shared = tar(file("shared", "text"));
    const having = (own: string): Making => ({ layers: [shared, tar(file("own", own))] });
    await withRoots(having("1"), having("2"), async (had, has) => {
      const gone = ({ shown: { link, files } }: Made, which: number): ShownRoot => ({
        link,
        files: files.map((entries, index) => (index === which ? { ...entries, path: "/nowhere" } : entries)),
      });
      assert.deepEqual((await changesOf(gone(had, 0), gone(has, 0))).changed, ["own"]);
      const outcome = await compare({ had: gone(had, 1), has: has.shown, progress: new TaskProgress().shared });
      assert.equal(outcome.ok ? "compared" : outcome.error.code, "STORE_IO");
    });
  });

  test("lists the first of each kind in the order of their bytes, and counts all", async () => {
    const names = Array.from({ length: MAX_CONFLICTS_LISTED + 5 }, (_, i) => `n${String(i).padStart(2, "0")}`);
    const layers = (prefix: string, text: string): Buffer[] => [
      tar(...names.toReversed().flatMap((name) => [file(`${prefix}${name}`, "x"), file(`both${name}`, text)])),
    ];
    await withRoots({ layers: layers("had", "1") }, { layers: layers("has", "2") }, async (had, has) => {
      const first = (prefix: string): string[] => names.slice(0, MAX_CONFLICTS_LISTED).map((name) => prefix + name);
      const all = names.length;
      assert.deepEqual(await changesOf(had.shown, has.shown), {
        added: first("has"),
        changed: first("both"),
        removed: first("had"),
        total: { added: all, changed: all, removed: all },
      });
    });
  });

  test("ends when nobody wants it any more", async () => {
    const layers = (text: string): Buffer[] => [tar(...Array.from({ length: 600 }, (_, i) => file(`f${i}`, text)))];
    await withRoots({ layers: layers("1") }, { layers: layers("2") }, async (had, has) => {
      const progress = new TaskProgress();
      progress.cancel();
      const outcome = await compare({ had: had.shown, has: has.shown, progress: progress.shared });
      assert.equal(outcome.ok ? "compared" : outcome.error.code, "CANCELLED");
    });
  });
});
