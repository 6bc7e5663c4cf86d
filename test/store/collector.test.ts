/** Collections carried out on a store on the disk, beside work that comes and goes. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MAX_REMOVED_AT_ONCE } from "../../src/limits.js";
import { createLog } from "../../src/log.js";
import type { Collection } from "../../src/messages/collection.js";
import { type Digest, digestHex, digestOf } from "../../src/oci/digest.js";
import { Collector, type CollectorOptions } from "../../src/store/collector.js";
import type { Store } from "../../src/store/store.js";
import { commitLayer, commitRoot, diffIdOf, install, layerDocument, openStore, rootDocument } from "./opened-store.js";

interface Scene {
  readonly state: string;
  readonly store: Store;
  readonly collector: Collector;
  readonly told: [string, Collection["removed"]][];
  readonly rootsGone: string[];
}

const never = new AbortController().signal;
const MUCH = { bytes: 1e9, inodes: 1e9 };

async function scene(
  t: { after(cleanUp: () => void): void },
  options: Partial<CollectorOptions> = {},
  state = mkdtempSync(join(tmpdir(), "stratad-collector-")),
): Promise<Scene> {
  t.after(() => rmSync(state, { recursive: true, force: true }));
  const { store } = await openStore(state);
  const told: Scene["told"] = [];
  const rootsGone: string[] = [];
  store.roots.onRemoved((rootId) => rootsGone.push(rootId));
  const collector = new Collector({
    store,
    removeTree: (path) => rm(path, { recursive: true, force: true }),
    keepGenerations: 2,
    cache: MUCH,
    collected: ({ removed }, cause) => told.push([cause, removed]),
    log: createLog("error", () => undefined),
    ...options,
  });
  return { state, store, collector, told, rootsGone };
}

/** Layers that are there, by name, as memory and disk say alike. */
function layersThere({ store, state }: Pick<Scene, "store" | "state">, names: readonly string[]): string[] {
  const onDisk = new Set(readdirSync(join(state, "layers/sha256")));
  return names.filter((name) => {
    const isKnown = store.layers.get(diffIdOf(name)) !== undefined;
    assert.equal(onDisk.has(digestHex(diffIdOf(name))), isKnown, `${name} in memory and on the disk`);
    return isKnown;
  });
}

async function installed(store: Store, name: string, rootId: string, layers: readonly string[]): Promise<void> {
  for (const layer of layers)
    if (store.layers.get(diffIdOf(layer)) === undefined) await commitLayer(store, layerDocument(layer, 100));
  await commitRoot(store, rootDocument(rootId, { layers: layers.map(diffIdOf) }));
  await install(store, name, rootId);
}

test("what a removed name alone needed goes, with its meta and its spill; what another root shares stays", async (t) => {
  const it = await scene(t);
  const { store, collector, state } = it;
  await installed(store, "a", "ra", ["shared", "only-a"]);
  await installed(store, "b", "rb", ["shared", "only-b"]);
  await store.layers.flush();
  mkdirSync(store.layout.spill(diffIdOf("only-a")));
  writeFileSync(join(store.layout.spill(diffIdOf("only-a")), "1"), "x");
  await store.removeName("a");
  const planned = await collector.collect({ plan: true }, never);
  assert.deepEqual(layersThere(it, ["shared", "only-a", "only-b"]), ["shared", "only-a", "only-b"]);
  const done = await collector.collect({}, never);
  assert.deepEqual([planned.removed, planned.gone], [done.removed, done.gone]);
  assert.deepEqual(done.removed, { roots: 0, layers: 1, blobs: 0, bytes: 100, inodes: 6 });
  assert.deepEqual(layersThere(it, ["shared", "only-a", "only-b"]), ["shared", "only-b"]);
  assert.deepEqual(readdirSync(join(state, "spill")), []);
  assert.deepEqual(readdirSync(join(state, "staging")), []);
  assert.ok(!existsSync(store.layout.layerMeta(diffIdOf("only-a"))));
  assert.deepEqual(it.told, [["asked", done.removed]]);
  const again = await collector.collect({}, never);
  assert.deepEqual(again.removed, { roots: 0, layers: 0, blobs: 0, bytes: 0, inodes: 0 });
  assert.equal(it.told.length, 1, "nothing went, and nobody is told");
});

test("generations beyond those kept go with their layers, and the name goes on", async (t) => {
  const it = await scene(t);
  for (const n of [1, 2, 3]) await installed(it.store, "app", `r${n}`, [`l${n}`]);
  it.collector.consider();
  await it.collector.collect({ keepLast: 1, keepBytes: 0 }, never);
  assert.deepEqual(it.rootsGone.sort(), ["r1", "r2"]);
  assert.deepEqual(layersThere(it, ["l1", "l2", "l3"]), ["l3"]);
  await assert.rejects(it.store.rollback("app", undefined), /the root of generation 2 is gone/);
});

test("a root that goes is told of before its files go: another may stand in its place by then", async (t) => {
  const toldThen: string[][] = [];
  const it: Scene = await scene(t, { removeTree: async () => void toldThen.push([...it.rootsGone]) });
  for (const n of [1, 2]) await installed(it.store, "app", `r${n}`, ["layer"]);
  await it.collector.collect({ keepLast: 1 }, never);
  assert.deepEqual(toldThen, [["r1"]]);
});

test("manifests and configs go with the last root that needs them, and all stay where a manifest cannot be read", async (t) => {
  const { store, collector, state } = await scene(t);
  const documents: Digest[] = [];
  for (const name of ["a", "b"]) {
    const config = Buffer.from(`{"of":"${name}"}`);
    const manifest = Buffer.from(JSON.stringify({ config: { digest: digestOf(config) } }));
    for (const bytes of [config, manifest]) {
      await store.documents.keep(digestOf(bytes), bytes);
      documents.push(digestOf(bytes));
    }
    await commitRoot(store, rootDocument(`r${name}`, { manifestDigest: digestOf(manifest) }));
    await install(store, name, `r${name}`);
  }
  const there = () => documents.map((digest) => existsSync(store.layout.document(digest)));
  writeFileSync(join(state, "blobs/sha256/stranger"), "x");
  await store.removeName("a");
  const manifest = store.layout.document(documents[3] as Digest);
  const text = `{"config":{"digest":"${documents[0]}"}}`;
  writeFileSync(manifest, text);
  const kept = await collector.collect({}, never);
  assert.deepEqual(there(), [true, true, true, true]);
  assert.match(kept.kept.find(({ id }) => id === documents[0])?.because ?? "", /manifest of root rb cannot be read/);
  writeFileSync(manifest, JSON.stringify({ config: { digest: documents[2] } }));
  assert.equal((await collector.collect({}, never)).removed.blobs, 2);
  assert.deepEqual(there(), [false, false, true, true]);
  assert.ok(existsSync(join(state, "blobs/sha256/stranger")));
});

test("a layer and a root that cannot be read are left, and said", async (t) => {
  const first = await scene(t);
  await installed(first.store, "app", "ra", ["one"]);
  await commitLayer(first.store, layerDocument("unread", 1));
  await commitLayer(first.store, layerDocument("unneeded", 1));
  writeFileSync(first.store.layout.layerDocument(diffIdOf("unread")), "{");
  const { store, collector } = await scene(t, {}, first.state);
  const done = await collector.collect({}, never);
  assert.deepEqual(
    done.gone.map(({ id }) => id),
    [diffIdOf("unneeded")],
  );
  assert.equal(done.kept.find(({ id }) => id === diffIdOf("unread"))?.because, "its layer.json cannot be read");
  assert.ok(existsSync(store.layout.layer(diffIdOf("unread"))));
});

test("the cache is kept within its budget by itself, the last used longest", async (t) => {
  const it = await scene(t, { cache: { bytes: 250, inodes: 1000 } });
  for (const name of ["a", "b", "c"]) await commitLayer(it.store, layerDocument(name, 100));
  const touched = Date.now();
  while (Date.now() <= touched);
  it.store.layers.used(diffIdOf("a"));
  it.collector.consider();
  while (it.told.length === 0) await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(it.told, [["automatic", { roots: 0, layers: 1, blobs: 0, bytes: 100, inodes: 6 }]]);
  assert.deepEqual(layersThere(it, ["a", "b", "c"]), ["a", "c"]);
  assert.deepEqual(await it.collector.makeRoom({ bytes: 1, inodes: 0 }, never), { bytes: 100, inodes: 6 });
  assert.deepEqual(layersThere(it, ["a", "c"]), ["a"]);
  assert.deepEqual(await it.collector.makeRoom({ bytes: 1000, inodes: 0 }, never), { bytes: 100, inodes: 6 });
});

test("what came to be needed between the plan and the removal stays", async (t) => {
  const it = await scene(t, { keepGenerations: 1 });
  const { store, collector } = it;
  for (const n of [1, 2, 3]) await installed(store, "app", `r${n}`, [`l${n}`]);
  await commitRoot(store, rootDocument("lone", { layers: [diffIdOf("l4")] }));
  await commitLayer(store, layerDocument("l4", 1));
  await commitLayer(store, layerDocument("l5", 1));
  const done = collector.collect({}, never);
  // The plan is made before the disk is touched first; what follows is not in it.
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  const lease = store.leases.open();
  lease.layer({ descriptor: { digest: digestOf(Buffer.from("x")), size: 1, mediaType: "" }, diffId: diffIdOf("l5") });
  lease.drop();
  await Promise.all([store.rollback("app", 1), store.pin("lone", true)]);
  await done;
  assert.deepEqual(it.rootsGone, ["r2"]);
  assert.deepEqual(layersThere(it, ["l1", "l2", "l3", "l4", "l5"]), ["l1", "l3", "l4", "l5"]);
});

test("a layer that is taken and one that comes under the same diffID do not meet", async (t) => {
  const it = await scene(t);
  const { store, state } = it;
  const document = layerDocument("one", 1);
  const blob = { digest: digestOf(Buffer.from("one")), size: 1, codec: "gzip" as const };
  for (let turn = 0; turn < 20; turn += 1) {
    await commitLayer(store, document);
    await store.staging.with(async (paths) => {
      await mkdir(paths.layer);
      await writeFile(join(paths.layer, "layer.json"), JSON.stringify(document));
      const take = () => store.layers.take(document.diffId, paths.removed(0), () => true);
      const commit = () => store.layers.commit(paths.layer, document, blob);
      await Promise.all(turn % 2 === 0 ? [take(), commit()] : [commit(), take()]);
    });
    layersThere(it, ["one"]);
    await store.layers.flush();
    const hasMeta = existsSync(store.layout.layerMeta(document.diffId));
    assert.equal(hasMeta, store.layers.get(document.diffId) !== undefined, "meta of a layer that is gone");
  }
  assert.deepEqual(readdirSync(join(state, "staging")), []);
});

test("a cancelled collection takes nothing more, and the next one goes on", async (t) => {
  const gaveUp = new AbortController();
  const it = await scene(t, { removeTree: async () => gaveUp.abort() });
  const [batch, count] = [MAX_REMOVED_AT_ONCE.things, 2 * MAX_REMOVED_AT_ONCE.things];
  for (let n = 0; n < count; n += 1) await commitLayer(it.store, layerDocument(`l${n}`, 1));
  await assert.rejects(it.collector.collect({}, AbortSignal.abort()));
  assert.equal(it.store.layers.size, count);
  assert.equal((await it.collector.collect({}, gaveUp.signal)).removed.layers, batch);
  assert.equal(it.store.layers.size, count - batch, "what was out of sight goes, and the next is not taken");
  const both = await Promise.all([it.collector.collect({}, never), it.collector.collect({}, never)]);
  assert.deepEqual(both.map(({ removed }) => removed.layers).sort(), [0, count - batch]);
});

test("collections beside installs and removals never take what an install found", async (t) => {
  const it = await scene(t, { keepGenerations: 1, cache: { bytes: 300, inodes: 1000 } });
  const { store, collector, state } = it;
  const layers = ["l0", "l1", "l2", "l3", "l4", "l5"];
  let seed = 20_261_126;
  const draw = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (seed >> 8) % below;
  };
  /** As an install does it: lease, look, make what is missing, name, let go. */
  const install = async (name: string, wanted: readonly string[]): Promise<void> => {
    const rootId = wanted.join("-");
    const lease = store.leases.open();
    try {
      lease.root(rootId);
      const blob = { digest: digestOf(Buffer.from(rootId)), size: 1, mediaType: "" };
      for (const layer of wanted) lease.layer({ descriptor: blob, diffId: diffIdOf(layer) });
      for (const layer of wanted)
        if (store.layers.get(diffIdOf(layer)) === undefined || !(await store.layers.exists(diffIdOf(layer))))
          await commitLayer(store, layerDocument(layer, 100));
      for (const layer of wanted) {
        assert.notEqual(store.layers.get(diffIdOf(layer)), undefined, `${layer} left the store`);
        assert.ok(existsSync(store.layout.layerDocument(diffIdOf(layer))), `${layer} is missing`);
      }
      if (!(await store.roots.stands(rootId)))
        await store.staging.with(async (paths) => {
          await mkdir(paths.rootTree, { recursive: true });
          await writeFile(join(paths.rootTree, "file"), "x");
          await store.roots.commit(paths.root, rootDocument(rootId, { layers: wanted.map(diffIdOf) }));
        });
      const manifestDigest = rootDocument(rootId).manifestDigest;
      const named = await store.name(name, { rootId, reference: rootId, platform: "linux/amd64", manifestDigest });
      assert.ok(named !== undefined && existsSync(join(store.layout.rootTree(rootId), "file")), `${rootId} is gone`);
    } finally {
      lease.drop();
      collector.consider();
    }
  };
  const worker = async (name: string): Promise<void> => {
    for (let turn = 0; turn < 25; turn += 1) {
      const from = draw(layers.length - 2);
      await install(name, layers.slice(from, from + 1 + draw(3)));
      if (draw(3) === 0) await store.removeName(name);
    }
  };
  let working = true;
  const collecting = (async () => {
    while (working) await collector.collect(draw(2) === 0 ? {} : { keepBytes: 200 }, never);
  })();
  await Promise.all(["a", "b", "c"].map(worker)).finally(() => {
    working = false;
  });
  await collecting;
  await collector.stop();
  for (const { rootId, layers: needed } of store.roots.all())
    for (const diffId of needed) assert.ok(store.layers.get(diffId), `${rootId} lacks a layer, seed 20261126`);
  layersThere(it, layers);
  assert.deepEqual(
    readdirSync(join(state, "roots")).sort(),
    store.roots
      .all()
      .map(({ rootId }) => rootId)
      .sort(),
  );
  assert.deepEqual(readdirSync(join(state, "staging")), []);
});
