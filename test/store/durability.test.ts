/**
 * What the store takes for durable, and what it does with what is not: at commits, at syncs, and at the next start.
 */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { CheckedTree } from "../../src/findings.js";
import type { Store } from "../../src/store/store.js";
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

const base = await mkdtemp(join(tmpdir(), "stratad-durable-"));
after(() => rm(base, { recursive: true, force: true }));
let states = 0;
const newState = (): string => join(base, String(states++));

const synced = { syncFileSystem: async () => true };
/** Knows nothing wrong, and which trees were asked for. */
function judge(isDamaged: (tree: CheckedTree) => boolean = () => false) {
  const checked: string[] = [];
  const checkTree = async (tree: CheckedTree) => {
    checked.push(tree.kind);
    return isDamaged(tree) ? { findings: [], total: 1 } : { findings: [], total: 0 };
  };
  return { checked, checkTree };
}

const layer = layerDocument("layer", 1);
const root = rootDocument("root", { layers: [layer.diffId] });

async function storeWith(options: Parameters<typeof openStore>[1]): Promise<{ state: string; store: Store }> {
  const state = newState();
  const { store } = await openStore(state, options);
  await commitLayer(store, layer);
  await commitRoot(store, root);
  return { state, store };
}

const isDurable = (store: Store) => [store.layers.get(layer.diffId)?.meta.durable, store.roots.isDurable(root.rootId)];

test("nothing is durable before a sync, and what was committed before it is durable behind it, over a restart too", async () => {
  const { state, store } = await storeWith(synced);
  assert.deepEqual(isDurable(store), [false, false]);
  assert.equal(await store.makeDurable(), true);
  assert.deepEqual(isDurable(store), [true, true]);
  const { checked, checkTree } = judge();
  const again = await openStore(state, { ...synced, checkTree, bootId: "next boot" });
  assert.deepEqual(isDurable(again.store), [true, true]);
  assert.deepEqual(checked, []);
});

test("what comes while the disk is synced is not durable when that has ended, nor what takes a thing's place meanwhile", async () => {
  let during = async (): Promise<void> => undefined;
  const { store } = await storeWith({
    syncFileSystem: async () => {
      await during();
      return true;
    },
  });
  during = async () => {
    during = async () => undefined;
    await commitLayer(store, layerDocument("late", 1));
    await store.staging.with((paths) => store.layers.take(layer.diffId, paths.layer).then(() => undefined));
    await commitLayer(store, { ...layer });
    await store.staging.with((paths) => store.roots.take(root.rootId, paths.root).then(() => undefined));
    await commitRoot(store, { ...root });
  };
  await store.makeDurable();
  assert.deepEqual(isDurable(store), [false, false]);
  assert.equal(store.layers.get(diffIdOf("late"))?.meta.durable, false);
  await store.makeDurable();
  assert.deepEqual(isDurable(store), [true, true]);
});

test("all that ask while the file system is synced share the next sync", async () => {
  let syncs = 0;
  let open = (): void => undefined;
  const { store } = await storeWith({
    syncFileSystem: async () => {
      syncs += 1;
      if (syncs === 1)
        await new Promise<void>((resolve) => {
          open = resolve;
        });
      return false;
    },
  });
  const asked = Array.from({ length: 5 }, () => store.makeDurable());
  open();
  assert.deepEqual(await Promise.all(asked), [false, false, false, false, false]);
  assert.equal(syncs, 2);
});

test("a disk that refuses to sync makes nothing durable, and the next sync is another one's", async () => {
  let fails = true;
  const { store } = await storeWith({
    syncFileSystem: async () => {
      if (fails) throw new Error("EIO");
      return true;
    },
  });
  const first = assert.rejects(store.makeDurable());
  const second = store.makeDurable();
  fails = false;
  await first;
  assert.equal(await second, true);
  assert.deepEqual(isDurable(store), [true, true]);
});

for (const [what, damage] of [
  ["missing", (path: string) => rmSync(path)],
  ["empty", (path: string) => truncateSync(path)],
  ["of another boot", (path: string) => writeFileSync(path, readFileSync(path, "utf8").replace('"boot"', '"before"'))],
] as const)
  test(`what a document that is ${what} says nothing good of is compared before the store is open`, async () => {
    const { state } = await storeWith({});
    for (const path of [`meta/${layer.diffId.slice(7)}.json`, `meta/roots/${root.rootId}.json`])
      damage(join(state, path));
    const { checked, checkTree } = judge();
    const { store, logged } = await openStore(state, { checkTree });
    assert.deepEqual(checked, ["layer", "root"]);
    assert.deepEqual(logged.find(({ event }) => event === "store.opened")?.suspect, { layers: 1, roots: 1 });
    // This machine cannot sync: not durable, and known in this boot.
    assert.deepEqual(isDurable(store), [false, false]);
    const next = judge();
    await openStore(state, { checkTree: next.checkTree });
    assert.deepEqual(next.checked, []);
  });

test("a damaged layer goes with its roots, a name goes back, and a layer that is made again is nothing of the old one's", async () => {
  const { state, store } = await storeWith({});
  await install(store, "app", "first");
  await store.name("app", { rootId: root.rootId, reference: "r", platform: "p", manifestDigest: root.manifestDigest });
  const { checkTree } = judge(({ kind }) => kind === "layer");
  const { store: next } = await openStore(state, { ...synced, checkTree, bootId: "next" });
  assert.equal(next.layers.size, 0);
  assert.deepEqual(
    next.roots.all().map(({ rootId }) => rootId),
    ["first"],
  );
  assert.equal(next.names.current("app")?.rootId, "first");
  assert.deepEqual(readdirSync(join(state, "staging")), []);
  assert.deepEqual(readdirSync(join(state, "meta")), ["roots"]);
  await commitLayer(next, layer);
  assert.equal(next.layers.get(layer.diffId)?.meta.durable, false);
});

test("a root whose layer is gone is not trusted; one that is a copy is kept where nothing ever becomes durable", async () => {
  const { state, store } = await storeWith({});
  await commitRoot(store, rootDocument("copy", { link: "copy" }));
  rmSync(join(state, "layers/sha256", layer.diffId.slice(7)), { recursive: true });
  const { store: next } = await openStore(state, {
    checkTree: judge(({ kind }) => kind === "root").checkTree,
    bootId: "2",
  });
  assert.deepEqual(
    next.roots.all().map(({ rootId }) => rootId),
    ["copy"],
  );
  const other = await openStore(state, { ...synced, checkTree: judge(() => true).checkTree, bootId: "3" });
  assert.equal(other.store.roots.size, 0);
});

test("before something comes where another stood, what called that durable is gone", async () => {
  const { state, store } = await storeWith(synced);
  await store.makeDurable();
  const [layerMeta, rootMeta] = [`meta/${layer.diffId.slice(7)}.json`, `meta/roots/${root.rootId}.json`];
  assert.match(
    readFileSync(join(state, layerMeta), "utf8") + readFileSync(join(state, rootMeta), "utf8"),
    /true.*\n.*true/,
  );
  rmSync(join(state, "layers/sha256", layer.diffId.slice(7)), { recursive: true });
  rmSync(join(state, "roots", root.rootId), { recursive: true });
  // Commits that come no further than their rename: what they publish is not there.
  const nowhere = join(state, "staging/nowhere");
  const blob = { digest: digestOf("blob"), size: 1, codec: "gzip" } as const;
  await assert.rejects(store.layers.commit(nowhere, layer, blob), { code: "ENOENT" });
  assert.ok(!existsSync(join(state, layerMeta)));
  await store.staging.with(async ({ root: staged }) => {
    mkdirSync(staged);
    rmSync(join(state, "roots"), { recursive: true });
    await assert.rejects(store.roots.commit(staged, root), { code: "ENOENT" });
  });
  assert.ok(!existsSync(join(state, rootMeta)));
});

test("what a hand left in the place of a layer or a root is moved aside by the next commit, not taken for it", async () => {
  const state = newState();
  const { store } = await openStore(state);
  const places = [join(state, "layers/sha256", layer.diffId.slice(7)), join(state, "roots", root.rootId)];
  for (const place of places) {
    mkdirSync(join(place, "tree"), { recursive: true });
    writeFileSync(join(place, "tree/half"), "");
  }
  await commitLayer(store, layer);
  await commitRoot(store, root);
  for (const place of places) assert.ok(!existsSync(join(place, "tree/half")));
  assert.deepEqual(readdirSync(join(state, "staging")), []);
});

test("a version that a power cut left empty is written again; another one's is refused", async () => {
  const { state } = await storeWith({});
  truncateSync(join(state, "version"));
  await openStore(state);
  assert.equal(readFileSync(join(state, "version"), "utf8"), "1\n");
  writeFileSync(join(state, "version"), "2\n");
  await assert.rejects(openStore(state), { code: "STORE_VERSION" });
});

test("a manifest that is not what its name says is removed where a power cut may have been", async () => {
  const { state, store } = await storeWith({});
  await store.documents.keep(digestOf("{}"), Buffer.from("{}"));
  await store.documents.keep(digestOf("whole"), Buffer.from("damaged"));
  const { logged } = await openStore(state, { bootId: "next" });
  assert.deepEqual(readdirSync(join(state, "blobs/sha256")), [digestOf("{}").slice(7)]);
  assert.deepEqual(logged.find(({ event }) => event === "store.opened")?.dropped, {
    layers: 0,
    roots: 0,
    documents: 1,
  });
});

test("what a hand put beside the manifests stays, and stops no start where a power cut may have been", async () => {
  const { state } = await storeWith({});
  const beside = join(state, "blobs/sha256");
  writeFileSync(join(beside, "notes"), "mine");
  mkdirSync(join(beside, "a".repeat(64)));
  symlinkSync("nowhere", join(beside, "b".repeat(64)));
  await openStore(state, { bootId: "next" });
  assert.deepEqual(readdirSync(beside).sort(), ["a".repeat(64), "b".repeat(64), "notes"]);
});
