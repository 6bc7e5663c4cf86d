/**
 * What the catalog says of a store whose roots, layers and names come and go.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MAX_SNAPSHOT_BYTES } from "../../src/limits.js";
import { methods } from "../../src/messages/methods.js";
import { Root } from "../../src/messages/root.js";
import { StoreUsage } from "../../src/messages/usage.js";
import { ByAge } from "../../src/store/by-age.js";
import { Catalog } from "../../src/store/catalog.js";
import type { NameDocument, RootDocument } from "../../src/store/documents.js";
import type { KeptNow } from "../../src/store/holds.js";
import { NameIndex } from "../../src/store/name-index.js";
import type { Store } from "../../src/store/store.js";
import { StoreUsage as Reckoning } from "../../src/store/usage.js";
import {
  commitLayer,
  commitRoot,
  diffIdOf,
  digestOf,
  install,
  layerDocument,
  openStore,
  rootDocument,
} from "./opened-store.js";

async function catalogOf(t: TestContext): Promise<{ store: Store; catalog: Catalog }> {
  const state = mkdtempSync(join(tmpdir(), "stratad-catalog-"));
  t.after(() => rmSync(state, { recursive: true, force: true }));
  const { store } = await openStore(state);
  for (const [name, bytes] of [
    ["base", 100],
    ["one", 10],
    ["two", 20],
  ] as const)
    await commitLayer(store, layerDocument(name, bytes));
  return { store, catalog: new Catalog(store) };
}

const linking = (rootId: string, bytes: number, ...layers: readonly string[]) =>
  rootDocument(rootId, { layers: layers.map(diffIdOf), bytes });
const totalOf = async (catalog: Catalog) => {
  const { apparentBytes, uniqueBytes, sharedBytes } = await catalog.usage();
  return [apparentBytes, uniqueBytes, sharedBytes];
};

test("usage follows every root and layer that comes and goes, one for one too", async (t) => {
  const { store, catalog } = await catalogOf(t);
  const [one, two] = [linking("r1", 110, "base", "one"), linking("r2", 120, "base", "two")];
  assert.deepEqual(await totalOf(catalog), [0, 130, 0]);
  await commitRoot(store, one);
  assert.deepEqual(await totalOf(catalog), [110, 130, 0]);
  assert.deepEqual(catalog.root(one).uniqueBytes, 110);
  await commitRoot(store, two);
  assert.deepEqual(await totalOf(catalog), [230, 130, 100]);
  assert.deepEqual([catalog.root(one).uniqueBytes, catalog.root(one).sharedBytes], [10, 100]);
  await store.removeRoot("r1");
  await commitRoot(store, linking("r3", 100, "base"));
  assert.deepEqual(await totalOf(catalog), [220, 130, 100]);
  await commitLayer(store, layerDocument("three", 5));
  assert.deepEqual(await totalOf(catalog), [220, 135, 100]);
});

test("usage lists each root with its names, policy and link mode, the oldest first", async (t) => {
  const { store, catalog } = await catalogOf(t);
  for (const root of [linking("r1", 110, "base", "one"), linking("r2", 120, "base", "two")]) {
    await commitRoot(store, root);
    for (const name of ["b", "a"]) await install(store, `${name}-${root.rootId}`, root.rootId);
  }
  const usage = await catalog.usage();
  assert.deepEqual(StoreUsage.parse(usage), usage);
  const both = { overlap: "c", link: "hardlink", sharedBytes: 100 };
  assert.deepEqual(usage.roots, [
    { rootId: "r1", names: ["a-r1", "b-r1"], apparentBytes: 110, uniqueBytes: 10, ...both },
    { rootId: "r2", names: ["a-r2", "b-r2"], apparentBytes: 120, uniqueBytes: 20, ...both },
  ]);
});

test("a layer names each root that uses it once, and what that saves", async (t) => {
  const { store, catalog } = await catalogOf(t);
  await commitRoot(store, linking("r1", 110, "base", "one", "base"));
  await commitRoot(store, linking("r2", 120, "base", "two"));
  assert.deepEqual(
    catalog.layers({ limit: 10 }).items.map(({ roots, sharedBytes }) => [roots, sharedBytes]),
    [
      [["r1", "r2"], 100],
      [["r1"], 0],
      [["r2"], 0],
    ],
  );
});

test("a root tells the generations of the name that it was asked by, and of no other", async (t) => {
  const { store, catalog } = await catalogOf(t);
  for (const rootId of ["one", "two", "one"]) await install(store, "app", rootId);
  await install(store, "other", "two");
  await store.rollback("app", 2);
  const root = catalog.get({ name: "app" });
  assert.deepEqual(Root.parse(root), root);
  assert.deepEqual(
    root.names.map(({ name, generation, generations }) => [name, generation, generations?.length]),
    [
      ["app", 2, 3],
      ["other", 1, undefined],
    ],
  );
  assert.deepEqual(
    root.names[0]?.generations?.map(({ generation, rootId, reference, current, stands }) => [
      generation,
      rootId,
      reference,
      current,
      stands,
    ]),
    [
      [1, "one", "oci:/images:one", false, true],
      [2, "two", "oci:/images:two", true, true],
      [3, "one", "oci:/images:one", false, true],
    ],
  );
  assert.ok(catalog.get({ rootId: "two" }).names.every(({ generations }) => generations === undefined));
});

test("a generation whose root is gone does not stand, and a name whose root is gone says so", async (t) => {
  const { store, catalog } = await catalogOf(t);
  for (const rootId of ["one", "two"]) await install(store, "app", rootId);
  await rm(store.layout.root("one"), { recursive: true });
  await assert.rejects(catalog.rollback("app", undefined), { code: "UNKNOWN_ROOT" });
  const [named] = catalog.get({ name: "app" }).names;
  assert.deepEqual(
    named?.generations?.map(({ stands }) => stands),
    [false, true],
  );
  await rm(store.layout.root("two"), { recursive: true });
  assert.equal(await store.roots.stands("two"), false);
  assert.throws(() => catalog.get({ name: "app" }), {
    code: "UNKNOWN_ROOT",
    message: /^Cannot find the root of app: /,
  });
});

test("a rollback tells the root that the name had, as it was, and the one that it has", async (t) => {
  const { store, catalog } = await catalogOf(t);
  for (const rootId of ["one", "two"]) await install(store, "app", rootId);
  await install(store, "other", "two");
  const { flipped, generation, ...roots } = await catalog.rollback("app", undefined);
  assert.deepEqual([flipped, generation], [true, 1]);
  assert.deepEqual(methods["root/rollback"].result.parse(roots), roots);
  const named = (root: Root | undefined) => root?.names.map(({ name, path, generation: at }) => [name, path, at]);
  const path = (name: string) => store.layout.name(name);
  assert.deepEqual(
    [roots.had?.rootId, named(roots.had)],
    [
      "two",
      [
        ["app", path("app"), 2],
        ["other", path("other"), 1],
      ],
    ],
  );
  assert.deepEqual([roots.has.rootId, named(roots.has)], ["one", [["app", path("app"), 1]]]);
  const again = await catalog.rollback("app", 1);
  assert.deepEqual([again.flipped, again.had], [false, again.has]);
});

test("a rollback from a root that is gone tells only the one that the name has", async (t) => {
  const { store, catalog } = await catalogOf(t);
  for (const rootId of ["one", "two"]) await install(store, "app", rootId);
  await rm(store.layout.root("two"), { recursive: true });
  assert.equal(await store.roots.stands("two"), false);
  const { had, has } = await catalog.rollback("app", undefined);
  assert.deepEqual([had, has.rootId], [undefined, "one"]);
});

test("a generation of the same root is another generation", async (t) => {
  const { store, catalog } = await catalogOf(t);
  await install(store, "app", "one", "oci:/images:v1");
  await install(store, "app", "one", "oci:/images:latest");
  const { had, has, flipped } = await catalog.rollback("app", undefined);
  assert.deepEqual([had?.rootId, had?.names[0]?.generation], ["one", 2]);
  assert.deepEqual([has.rootId, has.names[0]?.generation, flipped], ["one", 1, true]);
});

/** In memory, and with a hook in the first view: what happens then happens between two slices. */
function changing(
  change: (parts: { names: NameIndex; roots: ByAge<string, RootDocument>; holds: { now: () => KeptNow } }) => void,
) {
  const names = new NameIndex();
  const roots = new ByAge<string, RootDocument>(({ createdAt }) => createdAt);
  const holds = keptOnly("r1", "an editor");
  for (const rootId of ["r1", "r2", "r3"]) roots.set(rootId, linking(rootId, 110, "base"));
  names.set(nameDocument("app", "r1", 1));
  let isFirst = true;
  const rootTree = (rootId: string): string => {
    if (isFirst) change({ names, roots, holds });
    isFirst = false;
    return `/roots/${rootId}/tree`;
  };
  const layout = { rootTree, name: (name: string) => `/names/${name}` };
  const usage = new Reckoning(() => undefined);
  return new Catalog({ names, roots, holds, usage, layout } as unknown as Store);
}

const keptOnly = (kept: string, heldFor: string): { now: () => KeptNow } => ({
  now: () => (rootId) => (rootId === kept ? { pinned: true, heldFor } : { pinned: false }),
});

const nameDocument = (name: string, rootId: string, generation: number): NameDocument => ({
  schema: 1,
  name,
  generations: [
    {
      generation,
      rootId,
      manifestDigest: digestOf(rootId),
      platform: "linux/amd64",
      reference: "oci:/x:x",
      at: "2026-01-01T00:00:00Z",
    },
  ],
});

const turned = ({ names, roots, holds }: Parameters<Parameters<typeof changing>[0]>[0]): void => {
  names.set(nameDocument("app", "r2", 2));
  names.set(nameDocument("late", "r2", 1));
  roots.delete("r3");
  roots.set("r4", linking("r4", 110, "base"));
  holds.now = keptOnly("r2", "another").now;
};

test("a snapshot is of the moment in which it is asked for, whatever changes while it is viewed", async () => {
  const { items, nextCursor } = await changing(turned).snapshot();
  assert.equal(nextCursor, undefined);
  assert.deepEqual(
    items.map(({ rootId, names, pinned, heldFor }) => [rootId, names, pinned, heldFor]),
    [
      ["r1", [{ name: "app", path: "/names/app", generation: 1 }], true, "an editor"],
      ["r2", [], false, undefined],
      ["r3", [], false, undefined],
    ],
  );
});

test("a snapshot beyond what a frame takes says where the list goes on", async () => {
  const layers = Array.from({ length: 512 }, (_, index) => `l${index}`);
  const roots = new ByAge<string, RootDocument>(({ createdAt }) => createdAt);
  for (let n = 0; n < 500; n += 1) roots.set(`r${n}`, linking(`r${n}`, 1, ...layers));
  const layout = { rootTree: (rootId: string) => rootId };
  const holds = { now: () => () => ({ pinned: false }) };
  const usage = new Reckoning(() => undefined);
  const catalog = new Catalog({ names: new NameIndex(), roots, holds, usage, layout } as unknown as Store);
  const { items, nextCursor } = await catalog.snapshot();
  const length = JSON.stringify(items).length;
  assert.ok(length < MAX_SNAPSHOT_BYTES && length > MAX_SNAPSHOT_BYTES / 2, `${length}`);
  const rest = catalog.roots({ limit: 1000, cursor: nextCursor });
  assert.deepEqual(
    [...items, ...rest.items].map(({ rootId }) => rootId),
    Array.from({ length: 500 }, (_, n) => `r${n}`),
  );
});
