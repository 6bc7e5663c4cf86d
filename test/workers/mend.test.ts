/**
 * Trees that were edited by hand, mended: they are again what they were made as, and what was not damaged is the same inode as before.
 */
import assert from "node:assert/strict";
import { lstatSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { suite, test } from "node:test";
import fc from "fast-check";
import type { CheckedTree, MendResult } from "../../src/findings.js";
import { TaskProgress } from "../../src/task-progress.js";
import mend from "../../workers/mend.js";
import { directory, file, hardlink, symlink, tar } from "../support/tar-builder.js";
import { dealing, dealtOut, things } from "./arbitrary-roots.js";
import { codes, damage, hurtAll, layerOf, pathsOf, rootOf, verified } from "./damage.js";
import { type Linked, withLinked } from "./linking.js";
import { describeTree, onDisk } from "./unpacking.js";

let asides = 0;

async function mended(checked: CheckedTree, work: string, fresh?: string): Promise<MendResult> {
  const aside = join(work, `aside-${asides++}`);
  mkdirSync(aside);
  const progress = new TaskProgress().shared;
  const outcome = await mend({ checked, aside, progress, ...(fresh === undefined ? {} : { fresh }) });
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

/** Gives the same layers twice to `look`: a store, and what unpacking them again gives. */
const withFresh = (layers: readonly Buffer[], policy: "c" | "b" | "a" | undefined, look: Look): Promise<void> =>
  withLinked(layers, policy === undefined ? {} : { policy }, (linked) =>
    withLinked(layers, {}, (fresh) => look(linked, fresh), dirname(linked.root)),
  );
type Look = (linked: Linked, fresh: Linked) => Promise<void>;

/** By path, the inode of everything that is no directory: those may be made again. */
const leaves = (tree: string): Map<string, number> =>
  new Map(
    [...describeTree(tree)]
      .filter(([, what]) => what !== "dir")
      .map(([path]) => [path, lstatSync(onDisk(tree, path)).ino]),
  );

test("whatever is done to layers and to what a root has for itself, mending undoes, and no other inode changes", async () => {
  const roots = dealing.map((dealt) => ({ ...dealt, link: "hardlink" as const }));
  const damages = fc.array(damage, { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(things, roots, damages, damages, async (all, dealt, ofLayer, ofRoot) => {
      const { layers, policy } = dealtOut(all, dealt);
      await withFresh(layers, policy, async (linked, fresh) => {
        assert.equal(linked.error, undefined);
        const trees = [...linked.trees, linked.root];
        const wasShown = trees.map(describeTree);
        const inodes = trees.map(leaves);
        const done = linked.trees.map((tree) => hurtAll(tree, false, ofLayer));
        const own = hurtAll(linked.root, true, ofRoot);
        for (const [index] of linked.trees.entries()) {
          const { left, mendedTotal, because } = await mended(
            layerOf(linked, index),
            dirname(linked.root),
            fresh.trees[index],
          );
          assert.deepEqual([left.findings, because], [[], undefined]);
          assert.equal(mendedTotal, done[index]?.length);
        }
        const { left } = await mended(rootOf(linked), dirname(linked.root));
        assert.deepEqual(left.findings, []);
        for (const [index, tree] of trees.entries()) {
          assert.deepEqual(describeTree(tree), wasShown[index]);
          const hurt = (done[index] ?? own).map((finding) => finding.slice(finding.indexOf(" ") + 1));
          const isHurt = (path: string): boolean =>
            [
              ...hurt,
              ...(index === linked.trees.length ? done.flat().map((text) => text.slice(text.indexOf(" ") + 1)) : []),
            ].some((other) => path === other || path.startsWith(`${other}/`));
          for (const [path, ino] of inodes[index] ?? [])
            if (!isHurt(path) && policy === undefined && pathsOf(tree, false).includes(path))
              assert.equal(lstatSync(onDisk(tree, path)).ino, ino, path);
        }
        for (const [index] of linked.trees.entries())
          assert.deepEqual((await verified(layerOf(linked, index))).findings, []);
        assert.deepEqual((await verified(rootOf(linked))).findings, []);
      });
    }),
    { numRuns: 40 },
  );
});

const blob = tar(
  directory("app/"),
  file("app/data", "the data"),
  hardlink("app/other", "app/data"),
  file("app/empty", ""),
  symlink("app/link", "data"),
  directory("app/sub/", { mode: 0o555 }),
  file("app/sub/deep", "deep"),
);

suite("without a tree that was unpacked anew", () => {
  test("permissions, times, links, empty files, directories and what does not belong are mended; contents are left", async () => {
    await withLinked([blob], {}, async (linked) => {
      const tree = linked.trees[0] as string;
      rmSync(join(tree, "app"), { recursive: true });
      mkdirSync(join(tree, "extra"));
      const { left, mended: done } = await mended(layerOf(linked), dirname(linked.root));
      assert.deepEqual(codes(done), ["EXTRA extra", "MISSING app"]);
      assert.deepEqual(
        codes(left.findings),
        ["app/data", "app/other", "app/sub/deep"].map((path) => `MISSING ${path}`),
      );
      assert.equal(describeTree(tree).get("app/link"), "symlink data");
      assert.equal(lstatSync(join(tree, "app/sub")).mode & 0o777, 0o555);
    });
  });

  test("a tree that is gone is made again in a root, from its layers", async () => {
    await withLinked([blob], {}, async (linked) => {
      const was = describeTree(linked.root);
      rmSync(linked.root, { recursive: true });
      assert.deepEqual((await mended(rootOf(linked), dirname(linked.root))).left.findings, []);
      assert.deepEqual(describeTree(linked.root), was);
      for (const path of ["app/data", "app/other", "app/sub/deep"])
        assert.equal(
          lstatSync(join(linked.root, path)).ino,
          lstatSync(join(linked.trees[0] as string, path)).ino,
          path,
        );
    });
  });
});
