/** Hoisting: what moves, what stays, and that whoever opens a path or follows a symlink comes to the same thing as before. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { resolveHoisted } from "../../src/layering/hoisted-links.js";
import { type ImageTree, planRepack, type RepackPlan } from "../../src/layering/plan-repack.js";
import { parentPath, type RootEntry, topLevelOf } from "../../src/overlap/changeset.js";
import { acceptedPlan } from "../overlap/planning.js";
import { family, opened, pictureOf } from "./families.js";

const dir = (path: string, mode = 0o755): RootEntry => ({ type: "dir", path, mode, mtime: 1 });
const file = (path: string, content = "0", size = 90_000): RootEntry => ({
  type: "file",
  path,
  mode: 0o644,
  mtime: 2,
  size,
  sha256: content.padStart(64, "0"),
});
const symlink = (path: string, target: string): RootEntry => ({ type: "symlink", path, mtime: 3, target });
const hardlink = (path: string, target: string): RootEntry => ({ type: "hardlink", path, target });

const hoisted = (images: readonly ImageTree[], keeps: (path: string) => boolean = () => false): RepackPlan =>
  planRepack(images, { policy: "c", hoist: { keeps } });

const treesOf = (plan: RepackPlan): ImageTree[] =>
  plan.images.map((layers) => {
    const changesets = layers.map((layer) => (plan.layers[layer]?.entries ?? []).map(({ entry }) => entry));
    return acceptedPlan(changesets, "c").map(({ entry }) => entry);
  });

/** Paths at which an image has links to what was hoisted, as the image names them. */
const linked = (tree: ImageTree | undefined): string[] =>
  (tree ?? [])
    .filter((entry) => entry.type === "symlink" && entry.target.includes(".strata-"))
    .map(({ path }) => former(path));

const former = (path: string): string => path.replace(/^\.strata-[0-9a-f]{32}\//, "");

/** Two images with the same below usr, and something beside it that differs. */
const pair = (...same: RootEntry[]): ImageTree[] => [
  [dir("usr"), ...same, file("usr/zz", "1")],
  [dir("usr"), ...same, file("usr/zz", "2")],
];

suite("what is hoisted", () => {
  test("the largest subtrees that are the same, and single files, each with a link in its place", () => {
    const images = pair(dir("usr/bin"), file("usr/bin/tool"), file("usr/bin/x", "5", 3), file("usr/file", "7"));
    const plan = hoisted(images);
    const [one] = treesOf(plan);
    assert.deepEqual(linked(one), ["usr/bin", "usr/file"]);
    const [shared] = plan.layers;
    assert.deepEqual(shared?.images, [0, 1]);
    const names = shared?.entries.map(({ entry }) => entry.path.slice(".strata-".length + 32));
    assert.deepEqual(names, ["", "/usr", "/usr/bin", "/usr/bin/tool", "/usr/bin/x", "/usr/file"]);
    assert.match(plan.layers[1]?.entries[1]?.entry.path ?? "", /^usr\/bin$/);
    const link = plan.layers[1]?.entries[1]?.entry;
    assert.equal(
      link?.type === "symlink" && link.target,
      `../${topLevelOf(shared?.entries[0]?.entry.path ?? "")}/usr/bin`,
    );
    assert.deepEqual(plan.figures.hoist, { links: 4, bytes: 180_003, left: [] });
  });

  test("what wider sets of images share is hoisted out of what narrower ones do, with a link there", () => {
    const own = (more: RootEntry[]): RootEntry[] => [dir("usr/lib"), file("usr/lib/big"), ...more];
    const images = [
      [dir("usr"), ...own([file("usr/lib/more", "3")]), file("usr/zz", "1")],
      [dir("usr"), ...own([file("usr/lib/more", "3")]), file("usr/zz", "2")],
      [dir("usr"), ...own([]), file("usr/zz", "3")],
    ];
    const plan = hoisted(images);
    assert.equal(plan.figures.afterBytes, 5 * 90_000);
    assert.equal(plan.figures.lostToPolicy.bytes, 0);
    const [one, , three] = treesOf(plan);
    assert.deepEqual(linked(one), ["usr/lib/big", "usr/lib"]);
    assert.deepEqual(linked(three), ["usr/lib/big"]);
  });

  test("no directory that is no larger than a block, no small file, and no top-level entry", () => {
    const [one] = treesOf(
      hoisted([...pair(dir("usr/few"), file("usr/few/x", "4", 100), file("usr/small", "5", 15_000))]),
    );
    assert.deepEqual(linked(one), []);
    assert.deepEqual(
      linked(
        treesOf(
          hoisted([
            [dir("opt"), file("opt/x")],
            [dir("opt"), file("opt/x")],
          ]),
        )[0],
      ),
      [],
    );
  });

  test("no directory that a symlink is led out of, but what is above and below it", () => {
    const tool = [
      dir("usr/a"),
      dir("usr/a/b"),
      file("usr/a/b/big"),
      symlink("usr/a/b/out", "../c"),
      file("usr/a/c", "4"),
    ];
    assert.deepEqual(linked(treesOf(hoisted(pair(...tool)))[0]), ["usr/a"]);
    const leaving = hoisted([
      [dir("usr"), ...tool, file("usr/a/d", "1")],
      [dir("usr"), ...tool, file("usr/a/d", "2")],
    ]);
    assert.deepEqual(linked(treesOf(leaving)[0]), ["usr/a/b/big", "usr/a/c"]);
  });

  test("nor one that a symlink elsewhere comes through and leaves, in one of the images", () => {
    const images = pair(dir("usr/a"), dir("usr/a/b"), file("usr/a/b/big"));
    const through = (target: string): string[] => {
      const [one = [], two = []] = images;
      return linked(treesOf(hoisted([[...one, symlink("x", target)], two]))[1]);
    };
    assert.deepEqual(through("usr/a/b/big"), ["usr/a"]);
    assert.deepEqual(through("usr/a/b/.."), ["usr/a"]);
    assert.deepEqual(through("/usr/a/../zz"), ["usr/a/b"]);
    assert.deepEqual(through("usr/a/b/../.."), ["usr/a/b/big"]);
    assert.deepEqual(through("usr/a/nothing/../.."), ["usr/a"]);
  });

  test("no part of the names of one file", () => {
    const images = pair(
      dir("usr/a"),
      file("usr/a/x"),
      dir("usr/a/b"),
      file("usr/a/b/y", "5"),
      hardlink("usr/q", "usr/a/x"),
    );
    assert.deepEqual(linked(treesOf(hoisted(images))[0]), ["usr/a/b"]);
    const whole = pair(dir("usr/a"), file("usr/a/x"), hardlink("usr/a/y", "usr/a/x"));
    assert.deepEqual(linked(treesOf(hoisted(whole))[0]), ["usr/a"]);
  });

  test("nothing that one image has alone, also where a file's names join its top-level entries", () => {
    const joined = [
      dir("bin"),
      file("bin/x"),
      dir("usr"),
      dir("usr/own"),
      file("usr/own/big", "6"),
      hardlink("usr/x", "bin/x"),
    ];
    assert.deepEqual(linked(treesOf(hoisted([joined, pair(dir("usr/a"))[0] ?? []]))[0]), []);
  });

  test("nothing at a path that is kept, around it or below it", () => {
    const images = pair(dir("usr/a"), dir("usr/a/b"), file("usr/a/b/big"), dir("usr/a/c"), file("usr/a/c/big", "5"));
    assert.deepEqual(linked(treesOf(hoisted(images, (path) => path === "usr/a/b"))[0]), ["usr/a/c"]);
  });

  test("nothing of an image that has hoisted names which are not links' ends", () => {
    const [one = [], two = []] = pair(dir("usr/a"), file("usr/a/big"));
    const name = `.strata-${"0".repeat(32)}`;
    const strange = [dir(name), file(`${name}/x`, "8"), ...two];
    const plan = hoisted([one, strange, two]);
    assert.deepEqual(plan.figures.hoist?.left, [1]);
    assert.deepEqual(
      treesOf(plan).map((tree) => linked(tree).length),
      [1, 0, 1],
    );
  });
});

suite("what hoisting leaves", () => {
  const families = fc
    .integer({ min: 2, max: 4 })
    .chain((images) => family({ images, maxEntries: 30, names: ["a", "b", "c"] }));

  test("resolves to what there was, and a tree without hoisted names to itself", () => {
    let links = 0;
    fc.assert(
      fc.property(families, (images) => {
        const plan = hoisted(images);
        links += plan.figures.hoist?.links ?? 0;
        assert.deepEqual(
          treesOf(plan).map((tree) => resolveHoisted(tree)),
          images.map((tree) => resolveHoisted(tree)),
        );
        assert.deepEqual(
          images.map((tree) => pictureOf(resolveHoisted(tree))),
          images.map(pictureOf),
        );
      }),
      { numRuns: 250 },
    );
    assert.ok(links > 200, `${links} links`);
  });

  test("leads from every path, and through every symlink, to what it led to", () => {
    fc.assert(
      fc.property(families, (images) => {
        for (const [image, tree] of treesOf(hoisted(images)).entries()) {
          const [now, then] = [tree, images[image] as ImageTree].map(
            (each) => new Map(each.map((entry) => [entry.path, entry])),
          );
          assert.ok(now !== undefined && then !== undefined);
          for (const { path } of then.values()) {
            const comesTo = opened(now, path);
            assert.equal(comesTo === undefined ? undefined : former(comesTo), opened(then, path), path);
          }
        }
      }),
      { numRuns: 250 },
    );
  });

  test("keeps every path that is to be kept where it was", () => {
    const keeps = (path: string): boolean => path.endsWith("b/a");
    fc.assert(
      fc.property(families, (images) => {
        for (const [image, tree] of treesOf(hoisted(images, keeps)).entries()) {
          const now = pictureOf(tree);
          const then = pictureOf(images[image] as ImageTree);
          for (const path of Object.keys(then)) if (isKept(path, keeps)) assert.equal(now[path], then[path]);
        }
      }),
      { numRuns: 250 },
    );
  });

  test("is not resolved where a symlink would then lead elsewhere, or something has no link", () => {
    const name = `.strata-${"1".repeat(32)}`;
    const linkTo = (path: string): RootEntry =>
      symlink(path, `${"../".repeat(path.split("/").length - 1)}${name}/${path}`);
    const base = [dir(name), dir(`${name}/usr`), dir(`${name}/usr/a`), file(`${name}/usr/a/x`), dir("usr")];
    const made = [...base, linkTo("usr/a")];
    const paths = (tree: ImageTree): string[] => resolveHoisted(tree).map(({ path }) => path);
    assert.deepEqual(paths(made), ["usr", "usr/a", "usr/a/x"]);
    const assertStays = (tree: ImageTree): void => assert.deepEqual(pictureOf(resolveHoisted(tree)), pictureOf(tree));
    assertStays(base);
    assertStays([...made, file(`${name}/usr/b`)]);
    assertStays([...made, symlink(`${name}/usr/a/y`, "../b")]);
    assertStays([...made, symlink("z", "usr/a/..")]);
    assertStays([...base.filter(({ path }) => path !== "usr"), symlink("usr", `${name}/usr/a`)]);
  });
});

const isKept = (path: string, keeps: (path: string) => boolean): boolean =>
  path !== "" && (keeps(path) || isKept(parentPath(path), keeps));
