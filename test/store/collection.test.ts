/**
 * What a collection takes and leaves, against a model that a person would work out by hand; and the reasons it gives.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { type CollectionPolicy, planCollection, type Snapshot, type Verdict } from "../../src/store/collection.js";
import { collectionView } from "../../src/store/collection-view.js";
import type { NameDocument, RootDocument } from "../../src/store/documents.js";
import type { Hold } from "../../src/store/holds.js";
import type { StoredLayer } from "../../src/store/layers.js";
import { inOneGo } from "../support/in-one-go.js";
import { diffIdOf, digestOf, layerDocument, rootDocument } from "./opened-store.js";

const AT = "2026-01-01T00:00:00.000Z";
const EVERYTHING: CollectionPolicy = { keepLast: 1, cache: { bytes: 0, inodes: 0 } };

/** `usedAt` in seconds. */
function storedLayer(name: string, { bytes = 10, usedAt = 0, entries = 1 } = {}): StoredLayer {
  const lastUsedAt = new Date(usedAt * 1000).toISOString();
  const meta = { schema: 1 as const, blobs: [], durable: true, bootId: "boot", lastUsedAt };
  return { document: { ...layerDocument(name, bytes), entries, files: entries }, meta };
}

const root = (rootId: string, layers: readonly string[] = []): RootDocument =>
  rootDocument(rootId, { layers: layers.map(diffIdOf) });

/** Generations numbered from 1; the last is current, unless `current` says which. */
function named(name: string, rootIds: readonly string[], current?: number): NameDocument {
  const generations = rootIds.map((rootId, index) => ({
    generation: index + 1,
    rootId,
    reference: "oci:/images:x",
    platform: "linux/amd64",
    manifestDigest: digestOf(rootId),
    at: AT,
  }));
  return { schema: 1, name, generations, ...(current === undefined ? {} : { current }) };
}

interface Parts {
  readonly roots?: readonly RootDocument[];
  readonly layers?: readonly StoredLayer[];
  readonly names?: readonly NameDocument[];
  readonly pinned?: readonly string[];
  readonly held?: readonly string[];
  readonly leasedRoots?: readonly string[];
  readonly leasedLayers?: readonly string[];
  readonly unreadable?: Partial<Snapshot["unreadable"]>;
  readonly areKnown?: boolean;
}

function snapshotOf(parts: Parts): Snapshot {
  const { roots = [], layers = [], names = [], pinned = [], held = [], leasedRoots = [], leasedLayers = [] } = parts;
  const hold = (rootId: string): Hold => ({ holdId: "h", rootId, owner: "an editor", bootId: "boot", at: AT });
  const leased = new Set<string>(leasedLayers.map(diffIdOf));
  return {
    roots,
    layers,
    find: (diffId) => layers.find(({ document }) => document.diffId === diffId),
    names,
    unreadable: { roots: [], names: [], ...parts.unreadable },
    holds: {
      areKnown: parts.areKnown ?? true,
      isPinned: (rootId) => pinned.includes(rootId),
      holdOf: (rootId) => (held.includes(rootId) ? hold(rootId) : undefined),
    },
    leased: {
      hasRoot: (rootId) => leasedRoots.includes(rootId),
      hasLayer: ({ document }) => leased.has(document.diffId),
    },
  };
}

const going = <Thing>(verdicts: readonly Verdict<Thing>[]): Thing[] =>
  verdicts.flatMap(({ goes, thing }) => (goes ? [thing] : []));

/** The names of the layers that go, in the order in which they do, and the ids of the roots. */
function gone(parts: Parts, policy: CollectionPolicy = EVERYTHING): { roots: string[]; layers: string[] } {
  const { roots, layers } = inOneGo(planCollection(snapshotOf(parts), policy));
  return {
    roots: going(roots).map(({ rootId }) => rootId),
    layers: going(layers).map(({ document }) => document.topLevel[0]?.[0] ?? ""),
  };
}

/** What the view says of each thing, by kind and the start of its id. */
function reasons(parts: Parts, policy: CollectionPolicy = EVERYTHING): Record<string, string> {
  const plan = inOneGo(planCollection(snapshotOf(parts), policy));
  const unreadable = { roots: [], layers: [] };
  const judged = { plan: true, keepLast: policy.keepLast, ...plan, documents: [], unreadable };
  const view = inOneGo(collectionView(judged));
  const rows = [
    ...view.gone.map((item) => ["goes", item] as const),
    ...view.kept.map((item) => ["stays", item] as const),
  ];
  return Object.fromEntries(rows.map(([fate, { id, because }]) => [id, `${fate}: ${because}`]));
}

suite("what stays", () => {
  test("a root stays for the current generation and the newest of its name, and the others go", () => {
    const roots = ["one", "two", "three", "four"].map((id) => root(id));
    const names = [named("app", ["one", "two", "three", "four"], 2)];
    assert.deepEqual(gone({ roots, names }, { ...EVERYTHING, keepLast: 1 }).roots, ["one", "three"]);
    assert.deepEqual(gone({ roots, names }, { ...EVERYTHING, keepLast: 3 }).roots, ["one"]);
    assert.deepEqual(gone({ roots, names }, { ...EVERYTHING, keepLast: 9 }).roots, []);
  });

  test("generations whose root is gone do not count among the newest", () => {
    const names = [named("app", ["one", "lost", "lost", "two"])];
    assert.deepEqual(gone({ roots: [root("one"), root("two")], names }, { ...EVERYTHING, keepLast: 2 }).roots, []);
  });

  test("one name keeps what another has left behind", () => {
    const names = [named("app", ["one", "two"]), named("other", ["one"])];
    assert.deepEqual(gone({ roots: [root("one"), root("two")], names }).roots, []);
  });

  test("each thing has its reason", () => {
    const ids = ["current", "older", "oldest", "pinned", "held", "leased", "nobody"];
    const names = [named("app", ["oldest", "older", "current"])];
    const layers = ["used", "running", "alone"].map((name) => storedLayer(name));
    const parts = { roots: ids.map((id) => root(id, id === "current" ? ["used"] : [])), names, layers };
    const held = { pinned: ["pinned"], held: ["held"], leasedRoots: ["leased"], leasedLayers: ["running"] };
    assert.deepEqual(reasons({ ...parts, ...held }, { ...EVERYTHING, keepLast: 2 }), {
      current: "stays: it is the current generation of app",
      older: "stays: it is generation 2 of app, one of the last 2",
      oldest: "goes: it is generation 1 of app, older than the last 2",
      pinned: "stays: it is pinned",
      held: "stays: it is held for an editor",
      leased: "stays: running work needs it",
      nobody: "goes: no name has it",
      [diffIdOf("used")]: "stays: root current needs it",
      [diffIdOf("running")]: "stays: running work needs it",
      [diffIdOf("alone")]: "goes: no root needs it",
    });
  });

  test("what cannot be read keeps all that it may need", () => {
    const parts = { roots: [root("one", ["a"])], layers: [storedLayer("a"), storedLayer("b")] };
    assert.deepEqual(gone(parts), { roots: ["one"], layers: ["a", "b"] });
    assert.deepEqual(gone({ ...parts, areKnown: false }), { roots: [], layers: ["b"] });
    assert.deepEqual(gone({ ...parts, unreadable: { names: ["app.json"] } }), { roots: [], layers: ["b"] });
    assert.deepEqual(gone({ ...parts, unreadable: { roots: ["two"] } }), { roots: ["one"], layers: [] });
    const said = reasons({ ...parts, unreadable: { roots: ["two\u001b[2J"] } })[diffIdOf("a")];
    assert.equal(said, "stays: root two\\x1b[2J cannot be read, and may need it");
  });
});

suite("the cache", () => {
  const layers = [
    storedLayer("old", { usedAt: 1 }),
    storedLayer("new", { usedAt: 3 }),
    storedLayer("mid", { usedAt: 2 }),
  ];
  const room = { bytes: 1000, inodes: 1000 };

  test("the least recently used go first, and no more than the budget asks for", () => {
    const keep = (bytes: number) => gone({ layers }, { keepLast: 1, cache: { ...room, bytes } }).layers;
    assert.deepEqual(
      [keep(30), keep(29), keep(20), keep(10), keep(9)],
      [[], ["old"], ["old"], ["old", "mid"], ["old", "mid", "new"]],
    );
  });

  test("a budget of inodes counts as one of bytes does", () => {
    const inodes = 2 * 6;
    assert.deepEqual(gone({ layers }, { keepLast: 1, cache: { ...room, inodes } }).layers, ["old"]);
  });

  test("what is to be freed is freed of roots first, which go anyway", () => {
    const policy = { keepLast: 1, cache: room, free: { bytes: 15, inodes: 0 } };
    assert.deepEqual(gone({ layers }, policy).layers, ["old", "mid"]);
    const roots = [rootDocument("copy", { link: "copy", copiedBytes: 15, entries: 1 })];
    assert.deepEqual(gone({ layers, roots }, policy), { roots: ["copy"], layers: [] });
  });
});

const ids = ["r0", "r1", "r2", "r3", "r4"];
const layerNames = ["l0", "l1", "l2", "l3", "l4", "l5"];
const some = (of: readonly string[]) => fc.subarray([...of]);
const rootArbitrary = fc.record({ layers: some(layerNames), copiedBytes: fc.nat(20) });
const store = fc.record({
  roots: fc.uniqueArray(fc.constantFrom(...ids), { maxLength: 5 }),
  contents: fc.array(rootArbitrary, { minLength: 5, maxLength: 5 }),
  layers: some(layerNames),
  sizes: fc.array(fc.record({ bytes: fc.nat(30), entries: fc.nat(4) }), { minLength: 6, maxLength: 6 }),
  order: fc.shuffledSubarray([0, 1, 2, 3, 4, 5], { minLength: 6 }),
  names: fc.array(
    fc.record({
      rootIds: fc.array(fc.constantFrom(...ids, "lost"), { minLength: 1, maxLength: 5 }),
      current: fc.nat(4),
    }),
    { maxLength: 3 },
  ),
  pinned: some(ids),
  held: some(ids),
  leasedRoots: some(ids),
  leasedLayers: some(layerNames),
  unread: fc.constantFrom("", "", "", "holds", "names", "roots"),
  keepLast: fc.integer({ min: 1, max: 3 }),
  cache: fc.record({ bytes: fc.nat(100), inodes: fc.nat(60) }),
  free: fc.record({ bytes: fc.nat(60), inodes: fc.nat(30) }),
});

test("nothing that anything needs ever goes, and of the rest no more than the policy asks for, the oldest first", () => {
  fc.assert(
    fc.property(store, (drawn) => {
      const roots = drawn.roots.map((id, index) => {
        const { layers = [], copiedBytes = 0 } = drawn.contents[index] ?? {};
        return rootDocument(id, { layers: layers.map(diffIdOf), link: "copy", copiedBytes });
      });
      const layers = drawn.layers.map((name) => {
        const index = layerNames.indexOf(name);
        return storedLayer(name, { ...drawn.sizes[index], usedAt: drawn.order[index] ?? 0 });
      });
      const names = drawn.names.map(({ rootIds, current }, index) =>
        named(`name${index}`, rootIds, (current % rootIds.length) + 1),
      );
      const unreadable = {
        names: drawn.unread === "names" ? ["x.json"] : [],
        roots: drawn.unread === "roots" ? ["x"] : [],
      };
      const parts = { ...drawn, roots, layers, names, unreadable, areKnown: drawn.unread !== "holds" };
      const result = gone(parts, drawn);

      // The model: what is needed, by looking at everything.
      const isNamed = (rootId: string): boolean =>
        names.some(({ generations, current }) => {
          const standing = generations.filter((one) => drawn.roots.includes(one.rootId));
          const newest = standing.slice(-drawn.keepLast);
          return generations[(current ?? 0) - 1]?.rootId === rootId || newest.some((one) => one.rootId === rootId);
        });
      const keepsAllRoots = drawn.unread === "holds" || drawn.unread === "names";
      const lists = [drawn.pinned, drawn.held, drawn.leasedRoots];
      const staying = roots.filter(
        ({ rootId }) => keepsAllRoots || isNamed(rootId) || lists.some((list) => list.includes(rootId)),
      );
      assert.deepEqual(
        result.roots.sort(),
        drawn.roots.filter((id) => !staying.some(({ rootId }) => rootId === id)).sort(),
      );
      const needed = (name: string): boolean =>
        drawn.unread === "roots" ||
        drawn.leasedLayers.includes(name) ||
        staying.some((one) => one.layers.includes(diffIdOf(name)));
      const usedAt = (name: string): number => drawn.order[layerNames.indexOf(name)] ?? 0;
      const cache = drawn.layers.filter((name) => !needed(name)).sort((a, b) => usedAt(a) - usedAt(b));
      const amount = (list: readonly string[]) => ({
        bytes: list.reduce((sum, name) => sum + (drawn.sizes[layerNames.indexOf(name)]?.bytes ?? 0), 0),
        inodes: list.reduce((sum, name) => sum + (drawn.sizes[layerNames.indexOf(name)]?.entries ?? 0) + 5, 0),
      });
      const goingRoots = roots.filter((one) => !staying.includes(one));
      const isEnough = (count: number): boolean => {
        const [left, freed] = [amount(cache.slice(count)), amount(cache.slice(0, count))];
        const rootBytes = goingRoots.reduce((sum, { copiedBytes = 0 }) => sum + copiedBytes, 0);
        return (
          left.bytes <= drawn.cache.bytes &&
          left.inodes <= drawn.cache.inodes &&
          freed.bytes + rootBytes >= drawn.free.bytes &&
          freed.inodes + goingRoots.length * 3 >= drawn.free.inodes
        );
      };
      const counts = cache.map((_, index) => index);
      const least = counts.find(isEnough) ?? cache.length;
      assert.deepEqual(result.layers, cache.slice(0, least));
    }),
    { numRuns: 2000 },
  );
});

test("the work for a store grows as the store does, and is never long without a pause", () => {
  const stepsFor = (count: number): { steps: number; gone: number } => {
    const layers = Array.from({ length: count }, (_, index) =>
      storedLayer(`l${index}`, { usedAt: (index * 7919) % count }),
    );
    const run = planCollection(snapshotOf({ layers }), EVERYTHING);
    for (let steps = 0; ; steps += 1) {
      const step = run.next();
      if (step.done) return { steps, gone: going(step.value.layers).length };
    }
  };
  const [small, large] = [stepsFor(2000), stepsFor(20_000)];
  assert.deepEqual([small.gone, large.gone], [2000, 20_000]);
  assert.ok(large.steps > 20_000 / 256, `${large.steps} steps`);
  assert.ok(large.steps < 16 * small.steps, `${small.steps} steps, then ${large.steps}`);
});
