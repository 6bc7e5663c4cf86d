/** Plans of random families under each policy: that they give each image its own tree, store no more than they have to, and stand. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { resolveHoisted } from "../../src/layering/hoisted-links.js";
import { type ImageTree, planRepack, type RepackOptions, type RepackPlan } from "../../src/layering/plan-repack.js";
import { type RootEntry, topLevelOf } from "../../src/overlap/changeset.js";
import { acceptedPlan } from "../overlap/planning.js";
import { bytesOf, depthFirst, family, pictureOf } from "./families.js";

const byOptions: readonly { readonly title: string; readonly options: RepackOptions }[] = [
  { title: "b", options: { policy: "b" } },
  { title: "b with caps", options: { policy: "b", maxLayers: 2, minLayerBytes: 20 } },
  { title: "c", options: { policy: "c" } },
  { title: "c with caps", options: { policy: "c", maxLayers: 2, minLayerBytes: 5000 } },
  { title: "c, hoisted", options: { policy: "c", hoist: { keeps: () => false } } },
  { title: "c, hoisted, some kept", options: { policy: "c", hoist: { keeps: (path) => /(^|\/)b$/.test(path) } } },
  { title: "c, hoisted, with caps", options: { policy: "c", maxLayers: 2, hoist: { keeps: () => false } } },
];

const families = fc.integer({ min: 1, max: 5 }).chain((images) => family({ images, maxEntries: 24 }));

const outputs = (plan: RepackPlan, { policy }: RepackOptions): ImageTree[] =>
  plan.images.map((layers) => {
    const changesets = layers.map((layer) => (plan.layers[layer]?.entries ?? []).map(({ entry }) => entry));
    return acceptedPlan(changesets, policy).map(({ entry }) => entry);
  });

for (const { title, options } of byOptions) {
  suite(`policy ${title}`, () => {
    const isCapped = options.maxLayers !== undefined;
    const expected = options.hoist === undefined ? pictureOf : (tree: ImageTree) => pictureOf(resolveHoisted(tree));

    test("the layers of each image fit its policy, and are its tree", () => {
      fc.assert(
        fc.property(families, (images) => {
          const plan = planRepack(images, options);
          assert.deepEqual(outputs(plan, options).map(expected), images.map(pictureOf));
        }),
        { numRuns: 150 },
      );
    });

    test("every entry comes from where it says, and layers, images and figures agree", () => {
      fc.assert(
        fc.property(families, (images) => {
          const plan = planRepack(images, options);
          for (const [at, layer] of plan.layers.entries()) {
            assert.deepEqual(
              layer.images,
              plan.images.flatMap((layers, image) => (layers.includes(at) ? [image] : [])),
            );
            assert.equal(layer.bytes, bytesOf(layer.entries.map(({ entry }) => entry)));
            for (const { entry, image, source } of layer.entries) assertComesFrom(entry, images[image]?.[source ?? -1]);
          }
          assert.ok(plan.images.every((layers) => layers.length > 0));
          const { beforeBytes, afterBytes, oneLayerEachBytes, perFileBytes, sharing, caps } = plan.figures;
          assert.equal(
            beforeBytes,
            images.map(bytesOf).reduce((a, b) => a + b, 0),
          );
          assert.equal(
            afterBytes,
            plan.layers.map(({ bytes }) => bytes).reduce((a, b) => a + b, 0),
          );
          assert.ok(perFileBytes <= afterBytes && afterBytes <= oneLayerEachBytes && oneLayerEachBytes <= beforeBytes);
          assert.equal(sharing.reduce((sum, { bytes }) => sum + bytes, 0) + caps.duplicatedBytes, afterBytes);
        }),
        { numRuns: 150 },
      );
    });

    test("the plan of what comes out is the same plan", () => {
      fc.assert(
        fc.property(families, (images) => {
          const plan = planRepack(images, options);
          const again = planRepack(outputs(plan, options), options);
          assert.deepEqual(shown(again), shown(plan));
        }),
        { numRuns: 150 },
      );
    });

    const what = isCapped
      ? "another order of siblings and images costs the same where the least is searched for"
      : "the order of siblings changes nothing, and that of the images only which is which";
    test(what, () => {
      fc.assert(
        fc.property(families, fc.infiniteStream(fc.nat(1000)), (images, numbers) => {
          const plan = planRepack(images, options);
          const order = images.map((_tree, image) => image).sort(() => (numbers.next().value % 2) - 0.5);
          const ranks = new Map<string, number>();
          const rank = (path: string): number => {
            if (!ranks.has(path)) ranks.set(path, numbers.next().value);
            return ranks.get(path) as number;
          };
          const other = planRepack(
            order.map((image) => depthFirst(images[image] as ImageTree, rank)),
            options,
          );
          if (isCapped) {
            const isExact = [plan, other].every(({ figures }) => figures.caps.method !== "greedy");
            if (isExact) assert.equal(other.figures.afterBytes, plan.figures.afterBytes);
            return;
          }
          const named = other.layers.map((layer) => ({
            images: layer.images.map((image) => order[image] as number).sort((a, b) => a - b),
            entries: layer.entries.map(({ entry }) => entry),
          }));
          assert.deepEqual(named, shown(plan));
        }),
        { numRuns: 150 },
      );
    });
  });
}

suite("what is stored", () => {
  test("under b: each path that differs once, and under c each top-level entry, with those that its files have names in", () => {
    fc.assert(
      fc.property(families, (images) => {
        for (const policy of ["b", "c"] as const) {
          const units = new Map<string, number>();
          for (const image of images) for (const [unit, bytes] of naiveUnits(image, policy)) units.set(unit, bytes);
          const least = [...units.values()].reduce((sum, bytes) => sum + bytes, 0);
          assert.equal(planRepack(images, { policy }).figures.afterBytes, least);
        }
      }),
      { numRuns: 250 },
    );
  });

  test("what c loses is what it stores beyond b, and the paths that it is lost at add up to it", () => {
    fc.assert(
      fc.property(families, (images) => {
        const [b, c] = [planRepack(images, { policy: "b" }).figures, planRepack(images, { policy: "c" }).figures];
        assert.equal(b.lostToPolicy.bytes, 0);
        assert.equal(c.lostToPolicy.bytes, c.afterBytes - b.afterBytes);
        assert.equal(
          c.lostToPolicy.paths.reduce((sum, { bytes }) => sum + bytes, 0),
          c.lostToPolicy.bytes,
        );
      }),
      { numRuns: 250 },
    );
  });

  test("hoisting never stores more than c without it, and nothing less than b", () => {
    let less = 0;
    fc.assert(
      fc.property(families, (images) => {
        const [b, c, hoisted] = [{}, {}, { hoist: { keeps: () => false } }].map(
          (more, i) => planRepack(images, { policy: i === 0 ? "b" : "c", ...more }).figures,
        );
        assert.ok(b !== undefined && c !== undefined && hoisted !== undefined);
        assert.ok(b.afterBytes <= hoisted.afterBytes && hoisted.afterBytes <= c.afterBytes);
        assert.equal(hoisted.lostToPolicy.bytes, hoisted.afterBytes - b.afterBytes);
        if (hoisted.afterBytes < c.afterBytes) less += 1;
      }),
      { numRuns: 250 },
    );
    assert.ok(less > 15, `hoisting made a difference ${less} times`);
  });

  test("directories that layers tell anyway make no layer of their own", () => {
    const dir = (path: string): RootEntry => ({ type: "dir", path, mode: 0o755, mtime: 1 });
    const file = (path: string, sha256: string): RootEntry => ({
      type: "file",
      path,
      mode: 0o644,
      mtime: 1,
      size: 1,
      sha256,
    });
    const plan = planRepack(
      [
        [dir("usr"), file("usr/x", "1"), dir("usr/empty")],
        [dir("usr"), file("usr/x", "2")],
      ],
      { policy: "b" },
    );
    assert.deepEqual(plan.images, [[0], [1]]);
    assert.deepEqual(
      plan.layers.map(({ entries }) => entries.map(({ entry }) => entry.path)),
      [
        ["usr", "usr/empty", "usr/x"],
        ["usr", "usr/x"],
      ],
    );
  });

  test("directories that images have alike are told by what is stored for some of these images, and by nothing that others share", () => {
    const dir = (mode: number): RootEntry => ({ type: "dir", path: "d", mode, mtime: 1 });
    const file = (path: string): RootEntry => ({ type: "file", path, mode: 0o644, mtime: 1, size: 1, sha256: path });
    const plan = planRepack(
      [
        [dir(0o700), file("d/1"), file("d/all")],
        [dir(0o700), file("d/2"), file("d/all")],
        [dir(0o755), file("d/all")],
      ],
      { policy: "b" },
    );
    const told = plan.layers.map(({ images, entries }) => ({ images, types: entries.map(({ entry }) => entry.type) }));
    assert.deepEqual(told, [
      { images: [0, 1, 2], types: ["implied", "file"] },
      { images: [0], types: ["dir", "file"] },
      { images: [1], types: ["dir", "file"] },
      { images: [2], types: ["dir"] },
    ]);
  });

  test("images that hold nothing share a layer that holds nothing", () => {
    const plan = planRepack([[], [{ type: "symlink", path: "x", mtime: 0, target: "y" }], []], { policy: "c" });
    assert.deepEqual(plan.images, [[0], [1], [0]]);
    assert.deepEqual(
      plan.layers.map(({ entries }) => entries.length),
      [0, 1],
    );
  });
});

const shown = (plan: RepackPlan): object =>
  plan.layers.map(({ images, entries }) => ({ images, entries: entries.map(({ entry }) => entry) }));

/** A file's content may come from another of its names, and what is hoisted stands elsewhere. */
function assertComesFrom(entry: RootEntry, source: RootEntry | undefined): void {
  if (source === undefined) {
    assert.ok(entry.type === "implied" || (entry.type === "symlink" && entry.target.includes(".strata-")));
    return;
  }
  if (entry.type === "hardlink") return;
  assert.deepEqual({ ...entry, path: "" }, { ...source, path: "" });
  if (entry.type !== "file") assert.ok(entry.path.endsWith(source.path));
}

/** What has to be stored for one image: by what it is, as text, its bytes. */
function naiveUnits(tree: ImageTree, policy: "b" | "c"): Map<string, number> {
  const picture = pictureOf(tree);
  const groups = new Map<string, Set<string>>();
  const placeOf = (path: string): string => (policy === "b" ? path : topLevelOf(path));
  for (const { path } of tree) groups.set(placeOf(path), new Set([placeOf(path)]));
  for (const entry of tree) {
    if (entry.type !== "hardlink") continue;
    const joined = new Set([...(groups.get(placeOf(entry.path)) ?? []), ...(groups.get(placeOf(entry.target)) ?? [])]);
    for (const place of joined) groups.set(place, joined);
  }
  const units = new Map<string, number>();
  for (const group of new Set(groups.values())) {
    const entries = tree.filter(({ path }) => group.has(placeOf(path)));
    const paths = entries.map(({ path }) => path).sort();
    units.set(paths.map((path) => `${path} ${picture[path]}`).join("\n"), bytesOf(entries));
  }
  return units;
}
