/** Plans against the naive root, under each policy, and how the policies relate to each other. */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type Changeset, type Entry, isDirectory, isWhiteout } from "../../src/overlap/changeset.js";
import type { PlannedPolicy, RootPlan } from "../../src/overlap/plan-root.js";
import { disjointLayers, mergingLayers, plainLayers, stackedLayers } from "./arbitrary-layers.js";
import {
  type NaiveResult,
  naiveDisjointFiles,
  naiveDisjointRoots,
  naiveStack,
  type Picture,
  pictureOfPlan,
  pictureOfRoot,
} from "./naive-root.js";
import { acceptedPlan, assertIsPlan, asTheyAre, dir, file, planOf, unresolved, whiteout } from "./planning.js";

interface Seen {
  plans: number;
  conflicts: number;
  links: number;
  followed: number;
}

const policies: readonly {
  readonly policy: PlannedPolicy;
  readonly layers: fc.Arbitrary<readonly Changeset[]>;
  readonly naive: (changesets: readonly Changeset[]) => NaiveResult;
  readonly runs: number;
  /** What has to have come up, or the run proves little. */
  readonly least: Seen;
}[] = [
  {
    policy: "c",
    layers: plainLayers,
    naive: naiveDisjointRoots,
    runs: 1500,
    least: { plans: 300, conflicts: 300, links: 150, followed: 0 },
  },
  {
    policy: "b",
    layers: mergingLayers,
    naive: naiveDisjointFiles,
    runs: 3000,
    least: { plans: 250, conflicts: 500, links: 30, followed: 0 },
  },
  {
    policy: "a",
    layers: stackedLayers,
    naive: naiveStack,
    runs: 4000,
    least: { plans: 1500, conflicts: 300, links: 400, followed: 400 },
  },
];

suite("any layers", () => {
  for (const { policy, layers, naive, runs, least } of policies) {
    test(`policy ${policy}: the plan, or all conflicts in their order, is what the naive root gives`, () => {
      const seen: Seen = { plans: 0, conflicts: 0, links: 0, followed: 0 };
      fc.assert(
        fc.property(layers, (changesets) => {
          const result = planOf(changesets, policy);
          const model = naive(changesets);
          if (!result.ok) {
            seen.conflicts += 1;
            assert.deepEqual(result.conflicts, model.conflicts);
            return;
          }
          assert.deepEqual(model.conflicts, []);
          assert.deepEqual(pictureOfPlan(result.plan), pictureOfRoot(model.root, changesets));
          if (changesets.length > 1) seen.plans += 1;
          if (model.followed > 0) seen.followed += 1;
          if (result.plan.some(({ entry }) => entry.type === "hardlink")) seen.links += 1;
        }),
        { numRuns: runs },
      );
      for (const [what, count] of Object.entries(least))
        assert.ok(seen[what as keyof Seen] >= count, JSON.stringify(seen));
    });

    test(`policy ${policy}: a plan is depth first, each path once, parents are directories and links name what stands before`, () => {
      fc.assert(
        fc.property(layers, (changesets) => {
          const result = planOf(changesets, policy);
          fc.pre(result.ok);
          assertIsPlan(result.plan, asTheyAre(changesets));
        }),
        { numRuns: 1000 },
      );
    });

    test(`policy ${policy}: the same layers give the same plan, in the same order, and are not changed`, () => {
      fc.assert(
        fc.property(layers, (changesets) => {
          const before = structuredClone(changesets);
          assert.deepEqual(planOf(changesets, policy), planOf(before, policy));
          assert.deepEqual(changesets, before);
        }),
        { numRuns: 500 },
      );
    });
  }
});

suite("policies beside each other", () => {
  test("disjoint layers give one plan under every policy", () => {
    fc.assert(
      fc.property(disjointLayers, (changesets) => {
        const plan = acceptedPlan(changesets, "c");
        assert.deepEqual(acceptedPlan(changesets, "b"), plan);
        assert.deepEqual(acceptedPlan(changesets, "a"), plan);
      }),
      { numRuns: 500 },
    );
  });

  test("what b accepts, a plans alike, but for the attributes of shared directories", () => {
    let merged = 0;
    fc.assert(
      fc.property(mergingLayers, (changesets) => {
        const result = planOf(changesets, "b");
        fc.pre(result.ok);
        assert.deepEqual(withoutAttributes(acceptedPlan(changesets, "a")), withoutAttributes(result.plan));
        if (planOf(changesets, "c").ok === false) merged += 1;
      }),
      { numRuns: 500 },
    );
    assert.ok(merged > 50, `${merged} with shared directories`);
  });

  test("under c and b the order of the layers decides nothing but whose a shared directory is", () => {
    fc.assert(
      fc.property(mergingLayers, (changesets) => {
        for (const policy of ["c", "b"] as const) {
          const [result, reversed] = [planOf(changesets, policy), planOf(changesets.toReversed(), policy)];
          assert.equal(result.ok, reversed.ok);
          if (result.ok && reversed.ok) {
            const names = (plan: RootPlan): string[] => Object.keys(withoutAttributes(plan)).sort();
            assert.deepEqual(names(reversed.plan), names(result.plan));
          } else if (!result.ok && !reversed.ok) {
            const paths = ({ conflicts }: typeof result): string[] => conflicts.map(({ path }) => path);
            assert.deepEqual(paths(reversed), paths(result));
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

suite("policy a, in general", () => {
  test("a layer that is applied twice changes nothing the second time", () => {
    let planned = 0;
    fc.assert(
      fc.property(stackedLayers, (changesets) => {
        const top = changesets.at(-1) as Changeset;
        // What it looks for below itself, it may have hidden itself the first time.
        fc.pre(naiveStack(changesets).followed === 0 && !top.some(({ type }) => type === "unresolved"));
        const twice = [...changesets, top];
        const [once, again] = [planOf(changesets, "a"), planOf(twice, "a")];
        fc.pre(once.ok && again.ok);
        const last = changesets.length - 1;
        const asOnce = again.plan.map((each) => (each.layer > last ? { ...each, layer: last } : each));
        assert.deepEqual(pictureOfPlan(asOnce), pictureOfPlan(once.plan));
        planned += 1;
      }),
      { numRuns: 1000 },
    );
    assert.ok(planned > 200, `${planned} plans`);
  });

  test("where in its archive a whiteout stands does not matter", () => {
    fc.assert(
      fc.property(stackedLayers, fc.infiniteStream(fc.nat()), (changesets, numbers) => {
        const shuffled = changesets.map((changeset) => {
          const mixed: Entry[] = changeset.filter((entry) => !isWhiteout(entry));
          for (const mark of changeset.filter(isWhiteout))
            mixed.splice((numbers.next().value as number) % (mixed.length + 1), 0, mark);
          return mixed;
        });
        assert.deepEqual(planOf(shuffled, "a"), planOf(changesets, "a"));
      }),
      { numRuns: 1000 },
    );
  });

  test("a hard link into a layer that hid its target itself finds nothing the second time", () => {
    const link = [whiteout("t"), unresolved("l", "t")];
    assert.deepEqual(pictureOfPlan(acceptedPlan([[file("t")], link], "a")), {
      l: `file 420 1 ${file("t").sha256} of 0, which is l`,
    });
    assert.deepEqual(planOf([[file("t")], link, link], "a"), {
      ok: false,
      conflicts: [{ code: "HARDLINK_TARGET", path: "l", layer: 2 }],
    });
  });
});

suite("policy b, in general", () => {
  test("a layer of directories alone may stand twice; one with anything else may not, unless it is empty", () => {
    const directories = [dir("a"), dir("a/b")];
    assert.equal(planOf([directories, directories], "b").ok, true);
    assert.equal(planOf([[], []], "b").ok, true);
    const withFile = [...directories, file("a/b/f")];
    assert.deepEqual(planOf([withFile, withFile], "b"), {
      ok: false,
      conflicts: [
        {
          code: "LAYER_OVERLAP",
          path: "a/b/f",
          sides: [
            { layer: 0, type: "file" },
            { layer: 1, type: "file" },
          ],
        },
      ],
    });
  });

  test("of a shared directory the lowest layer that declares it has the attributes", () => {
    const changesets = [[{ type: "implied", path: "a" } as const, file("a/0")], [dir("a", 0o700)], [dir("a", 0o755)]];
    assert.deepEqual(acceptedPlan(changesets, "b")[0], { layer: 1, from: "a", entry: dir("a", 0o700) });
  });
});

/** By path; a directory is only that. */
const withoutAttributes = (plan: RootPlan): Picture => {
  const picture = pictureOfPlan(plan);
  const directories = plan.filter(({ entry }) => isDirectory(entry)).map(({ entry }) => [entry.path, "directory"]);
  return { ...picture, ...Object.fromEntries(directories) };
};
