/**
 * What the plan of a root says that it costs, against the root that is then made of it: inodes and bytes, counted on the disk.
 */
import assert from "node:assert/strict";
import { lstatSync, readdirSync } from "node:fs";
import { suite, test } from "node:test";
import fc from "fast-check";
import type { PlannedRoot } from "../../src/root-tasks.js";
import { directory, file, hardlink, symlink, tar } from "../support/tar-builder.js";
import { dealing, dealtOut, things } from "./arbitrary-roots.js";
import { type Linking, withLinked } from "./linking.js";
import { onDisk } from "./unpacking.js";

interface Inode {
  readonly bytes: number;
  readonly isFile: boolean;
}

/** Everything below these directories. */
function inodesOf(trees: readonly string[]): Map<number, Inode> {
  const inodes = new Map<number, Inode>();
  const walk = (tree: string, directory: string): void => {
    for (const name of readdirSync(onDisk(tree, directory), "latin1")) {
      const path = `${directory}/${name}`;
      const stat = lstatSync(onDisk(tree, path));
      inodes.set(stat.ino, { bytes: stat.isFile() ? stat.size : 0, isFile: stat.isFile() });
      if (stat.isDirectory()) walk(tree, path);
    }
  };
  for (const tree of trees) walk(tree, "");
  return inodes;
}

interface Costs {
  readonly plan: PlannedRoot;
  /** What the root has for itself, and what it has of its layers. */
  readonly own: readonly Inode[];
  readonly shared: readonly Inode[];
}

const costsOf = (layers: readonly Buffer[], linking: Linking): Promise<Costs> =>
  withLinked(layers, linking, ({ root, trees, plan, error }) => {
    assert.equal(error, undefined);
    assert.ok(plan?.kind === "plan", JSON.stringify(plan));
    const stored = inodesOf(trees);
    const all = [...inodesOf([root])];
    const [own, shared] = [false, true].map((isShared) =>
      all.filter(([ino]) => stored.has(ino) === isShared).map(([, inode]) => inode),
    ) as [Inode[], Inode[]];
    return { plan, own, shared };
  });

const bytesOf = (inodes: readonly Inode[]): number => inodes.reduce((sum, { bytes }) => sum + bytes, 0);

function assertCosts({ plan, own, shared }: Costs, isCopy: boolean): void {
  const { ownInodes, files, emptyLinks, bytes } = plan;
  assert.equal(own.length, isCopy ? ownInodes + files : ownInodes + emptyLinks);
  assert.equal(shared.length, isCopy ? 0 : files);
  assert.deepEqual([bytesOf(own), bytesOf(shared)], isCopy ? [bytes, 0] : [0, bytes]);
}

suite("the plan of a root", () => {
  test("counts the inodes and the bytes that the root then has, as links and as copies", async () => {
    await fc.assert(
      fc.asyncProperty(things, dealing, async (all, dealt) => {
        const { layers, link } = dealtOut(all, dealt);
        const mode = link === "copy" ? "copy" : "hardlink";
        assertCosts(await costsOf(layers, { mode, policy: dealt.policy ?? "c" }), mode === "copy");
      }),
      { numRuns: 60 },
    );
  });

  const lower = tar(file("d/hidden", "x"), file("d/empty"), hardlink("d/link", "d/empty"), file("d/kept", "123"));
  const upper = tar(file("d/.wh.hidden"), file("d/kept", "4567"), symlink("e", "d"), hardlink("d/more", "d/kept"));
  for (const mode of ["hardlink", "copy"] as const) {
    test(`counts what is left under policy a, as a root of ${mode === "copy" ? "copies" : "hard links"}`, async () => {
      const costs = await costsOf([lower, upper], { mode, policy: "a" });
      assertCosts(costs, mode === "copy");
      assert.deepEqual([costs.plan.ownInodes, costs.plan.files, costs.plan.emptyLinks], [3, 1, 1]);
      assert.deepEqual(costs.plan.layerBytes, [0, 4]);
    });
  }

  const layer = tar(directory("bin/"), file("bin/tool", "x"), file("LICENSE", "y"), symlink("sbin", "bin"));
  const places: readonly [prefix: string, strip: number, outermost: number][] = [
    ["", 0, 3],
    ["opt", 0, 1 + 3],
    ["opt/app", 0, 2 + 3],
    ["", 1, 1],
    ["opt", 1, 1 + 1],
  ];
  for (const [prefix, strip, outermost] of places) {
    test(`has ${outermost} outermost entries below '${prefix}', ${strip} components off`, async () => {
      const placements = [prefix === "" && strip === 0 ? undefined : { prefix, strip }];
      const { plan } = await costsOf([layer], { policy: "c", placements });
      assert.equal(plan.outermost, outermost);
    });
  }
});
