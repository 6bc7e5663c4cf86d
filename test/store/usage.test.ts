import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import type { RootDocument } from "../../src/store/documents.js";
import { StoreUsage, type Usage } from "../../src/store/usage.js";
import type { LayerDocument } from "../../src/tasks.js";
import { diffIdOf, layerDocument, rootDocument } from "./opened-store.js";

/** Bytes by layer; what a root has from which, linked unless it says otherwise. */
interface Row {
  readonly what: string;
  readonly layers: Readonly<Record<string, number>>;
  readonly roots: readonly (Pick<Partial<RootDocument>, "bytes" | "layerBytes" | "copiedBytes"> & { of: string })[];
  /** apparent, unique, shared: of each root, then of the store. */
  readonly usage: readonly (readonly [number, number, number])[];
}

const rows: readonly Row[] = [
  { what: "an empty store costs nothing", layers: {}, roots: [], usage: [[0, 0, 0]] },
  {
    what: "a layer that no root uses is held and nobody's",
    layers: { a: 10 },
    roots: [],
    usage: [[0, 10, 0]],
  },
  {
    what: "a root alone shares nothing",
    layers: { a: 10, b: 5 },
    roots: [{ of: "ab", bytes: 15 }],
    usage: [
      [15, 15, 0],
      [15, 15, 0],
    ],
  },
  {
    what: "two roots share one layer of two each",
    layers: { a: 10, b: 5, c: 3 },
    roots: [
      { of: "ab", bytes: 15 },
      { of: "ac", bytes: 13 },
    ],
    usage: [
      [15, 5, 10],
      [13, 3, 10],
      [28, 18, 10],
    ],
  },
  {
    what: "two roots of the same layers are worth nothing each",
    layers: { a: 10 },
    roots: [
      { of: "a", bytes: 10 },
      { of: "a", bytes: 10 },
    ],
    usage: [
      [10, 0, 10],
      [10, 0, 10],
      [20, 10, 10],
    ],
  },
  {
    what: "files that an upper layer hides are held and do not appear",
    layers: { a: 10, b: 5 },
    roots: [{ of: "ab", bytes: 12, layerBytes: [7, 5] }],
    usage: [
      [12, 15, 0],
      [12, 15, 0],
    ],
  },
  {
    what: "a hidden file is not shared, and hides no other root's saving",
    layers: { a: 10, b: 50, c: 4 },
    roots: [
      { of: "ab", bytes: 57, layerBytes: [7, 50] },
      { of: "a", bytes: 10 },
      { of: "cb", bytes: 2, layerBytes: [2, 0] },
    ],
    usage: [
      [57, 0, 57],
      [10, 0, 10],
      [2, 4, 0],
      [69, 64, 7],
    ],
  },
  {
    what: "a copy is the root's own, and the layer stays for it",
    layers: { a: 10 },
    roots: [{ of: "a", bytes: 10, layerBytes: [10], copiedBytes: 10 }],
    usage: [
      [10, 20, 0],
      [10, 20, 0],
    ],
  },
  {
    what: "a copy beside links shares nothing and saves nothing",
    layers: { a: 10 },
    roots: [
      { of: "a", bytes: 10 },
      { of: "a", bytes: 10 },
      { of: "a", bytes: 10, copiedBytes: 10 },
    ],
    usage: [
      [10, 0, 10],
      [10, 0, 10],
      [10, 10, 0],
      [30, 20, 10],
    ],
  },
  {
    what: "a layer that is only copied takes nothing from what others save",
    layers: { a: 10, m: 50 },
    roots: [
      { of: "a", bytes: 10 },
      { of: "a", bytes: 10 },
      { of: "m", bytes: 50, copiedBytes: 50 },
    ],
    usage: [
      [10, 0, 10],
      [10, 0, 10],
      [50, 100, 0],
      [70, 110, 10],
    ],
  },
  {
    what: "a file that a root alone copied saves nothing",
    layers: { a: 10 },
    roots: [{ of: "a", bytes: 10, copiedBytes: 4 }],
    usage: [
      [10, 14, 0],
      [10, 14, 0],
    ],
  },
  {
    what: "a file that ran out of links is the root's own, the others are shared",
    layers: { a: 10 },
    roots: [
      { of: "a", bytes: 10 },
      { of: "a", bytes: 10, copiedBytes: 4 },
    ],
    usage: [
      [10, 0, 10],
      [10, 4, 6],
      [20, 14, 6],
    ],
  },
  {
    what: "a layer that stands twice in a root is one",
    layers: { a: 10, b: 1 },
    roots: [{ of: "aba", bytes: 11 }],
    usage: [
      [11, 11, 0],
      [11, 11, 0],
    ],
  },
  {
    what: "a layer that stands twice gives what both give",
    layers: { a: 10, b: 1 },
    roots: [
      { of: "aba", bytes: 11, layerBytes: [4, 1, 6] },
      { of: "a", bytes: 10 },
    ],
    usage: [
      [11, 1, 10],
      [10, 0, 10],
      [21, 11, 10],
    ],
  },
  {
    what: "a layer that is not readable takes no bytes",
    layers: {},
    roots: [{ of: "x", bytes: 10, copiedBytes: 10 }],
    usage: [
      [10, 10, 0],
      [10, 10, 0],
    ],
  },
];

const layersOf = (row: Pick<Row, "layers">): LayerDocument[] =>
  Object.entries(row.layers).map(([name, bytes]) => layerDocument(name, bytes));
const rootsOf = (row: Pick<Row, "roots">): RootDocument[] =>
  row.roots.map(({ of, ...fields }, index) =>
    rootDocument(`root-${index}`, { layers: [...of].map(diffIdOf), ...fields }),
  );
const triple = ({ apparentBytes, uniqueBytes, sharedBytes }: Usage) => [apparentBytes, uniqueBytes, sharedBytes];

suite("the usage of a store", () => {
  for (const row of rows) {
    test(row.what, () => {
      const roots = rootsOf(row);
      const usage = usageOf(roots, layersOf(row));
      assert.deepEqual([...roots.map((root) => triple(usage.of(root))), triple(usage.total())], row.usage);
    });
  }

  test("a layer saves what its files would take once more for each root but one", () => {
    const row = { layers: { a: 10, b: 5, c: 3 }, roots: ["aba", "a", "a"].map((of) => ({ of })) };
    const usage = usageOf(
      rootsOf(row).map((root) => ({ ...root, bytes: 10 })),
      layersOf(row),
    );
    assert.deepEqual(
      ["a", "b", "c", "unknown"].map((name) => usage.sharedBytesOf(diffIdOf(name))),
      [20, 0, 0, 0],
    );
  });

  const bytes = fc.nat(1000);
  const sizes = fc.record({ a: bytes, b: bytes, c: bytes, d: bytes, e: bytes });
  const subsets = fc.array(fc.subarray(["a", "b", "c", "d", "e"] as const), { maxLength: 8 });

  test("what is unique to a root is what removing it and its layers that nobody else uses gives back", () => {
    fc.assert(
      fc.property(sizes, subsets, fc.nat(200), (layers, sets, copiedBytes) => {
        const { usage, roots, documents } = linkedStore(layers, sets, copiedBytes);
        const [gone, ...rest] = roots;
        if (gone === undefined) return;
        const needed = new Set(rest.flatMap((root) => root.layers));
        const kept = documents.filter(({ diffId }) => needed.has(diffId) || !gone.layers.includes(diffId));
        const left = usageOf(rest, kept);
        assert.equal(usage.total().uniqueBytes - left.total().uniqueBytes, usage.of(gone).uniqueBytes);
      }),
    );
  });

  test("of roots that only link, apparent is unique and shared together, and the store saves what it does not hold", () => {
    fc.assert(
      fc.property(sizes, subsets, (layers, sets) => {
        const { usage, roots, documents } = linkedStore(layers, sets, 0);
        for (const root of roots) {
          const { apparentBytes, uniqueBytes, sharedBytes } = usage.of(root);
          assert.equal(uniqueBytes + sharedBytes, apparentBytes);
        }
        const used = new Set(roots.flatMap((root) => root.layers));
        const unused = documents.filter(({ diffId }) => !used.has(diffId)).reduce((sum, layer) => sum + layer.bytes, 0);
        const { apparentBytes, uniqueBytes, sharedBytes } = usage.total();
        assert.equal(apparentBytes - sharedBytes + unused, uniqueBytes);
        assert.equal(
          documents.reduce((sum, { diffId }) => sum + usage.sharedBytesOf(diffId), 0),
          sharedBytes,
        );
      }),
    );
  });

  const sets = fc.array(fc.array(fc.constantFrom("a", "b", "c", "gone"), { maxLength: 4 }), { maxLength: 6 });
  const told = fc.array(fc.option(fc.nat(50)), { minLength: 6, maxLength: 6 });

  test("whatever comes and goes, what is left is reckoned as though nothing else had ever been", () => {
    fc.assert(
      fc.property(sets, told, fc.array(fc.nat(20), { maxLength: 12 }), (sets, told, steps) => {
        const layers = layersOf({ layers: { a: 10, b: 5, c: 0 } });
        const roots = sets.map((names, index) => {
          const layerBytes = told[index] == null ? {} : { layerBytes: names.map(() => told[index] as number) };
          const copied = index % 3 === 1 ? { copiedBytes: 20 * (index % 2) } : {};
          return rootDocument(`root-${index}`, { layers: names.map(diffIdOf), bytes: 20, ...layerBytes, ...copied });
        });
        const things = [...layers, ...roots];
        const there = new Set(things);
        const sizes = new Map<string, number>();
        const usage = usageOf(roots, layers, sizes);
        for (const step of steps) {
          const thing = things[step % things.length] as (typeof things)[number];
          const comes = !there.has(thing);
          if ("rootId" in thing) comes ? usage.addRoot(thing) : usage.removeRoot(thing);
          else if (comes) addLayer(usage, thing, sizes);
          else {
            sizes.delete(thing.diffId);
            usage.removeLayer(thing);
          }
          comes ? there.add(thing) : there.delete(thing);
        }
        const left = roots.filter((root) => there.has(root));
        const fresh = usageOf(
          left,
          layers.filter((layer) => there.has(layer)),
        );
        assert.deepEqual(usage.total(), fresh.total());
        for (const root of left) assert.deepEqual(usage.of(root), fresh.of(root));
        for (const { diffId } of layers) {
          assert.equal(usage.sharedBytesOf(diffId), fresh.sharedBytesOf(diffId));
          assert.deepEqual(usage.rootsOf(diffId).sort(), fresh.rootsOf(diffId).sort());
        }
      }),
    );
  });

  test("10,000 roots of 12 layers are reckoned in a second of this processor's time", () => {
    const layers = Array.from({ length: 5000 }, (_, n) => layerDocument(`layer-${n}`, n));
    const roots = Array.from({ length: 10_000 }, (_, n) =>
      rootDocument(`root-${n}`, { layers: layers.slice(n % 4000, (n % 4000) + 12).map(({ diffId }) => diffId) }),
    );
    const before = process.cpuUsage();
    const usage = usageOf(roots, layers);
    for (const root of roots) usage.of(root);
    usage.total();
    const { user, system } = process.cpuUsage(before);
    assert.ok(user + system < 1e6, `${user + system} µs`);
  });
});

function usageOf(
  roots: readonly RootDocument[],
  layers: readonly LayerDocument[],
  sizes = new Map<string, number>(),
): StoreUsage {
  const usage = new StoreUsage((diffId) => sizes.get(diffId));
  for (const layer of layers) addLayer(usage, layer, sizes);
  for (const root of roots) usage.addRoot(root);
  return usage;
}

function addLayer(usage: StoreUsage, layer: LayerDocument, sizes: Map<string, number>): void {
  sizes.set(layer.diffId, layer.bytes);
  usage.addLayer(layer);
}

/** A root for each set, which links all that its layers have; the first has copies besides. */
function linkedStore(
  layers: Readonly<Record<string, number>>,
  sets: readonly (readonly string[])[],
  copiedBytes: number,
) {
  const documents = layersOf({ layers });
  const roots = sets.map((names, index) => {
    const linked = names.reduce((sum, name) => sum + (layers[name] ?? 0), 0);
    const copies = index === 0 ? copiedBytes : 0;
    return rootDocument(`root-${index}`, {
      layers: names.map(diffIdOf),
      bytes: linked + copies,
      copiedBytes: copies,
    });
  });
  return { documents, roots, usage: usageOf(roots, documents) };
}
