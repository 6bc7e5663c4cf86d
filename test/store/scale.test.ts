/**
 * A store of many things: the start reads each document once and by workers, and no answer walks over all of them.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { imageStatus } from "../../src/install/image-status.js";
import type { Jobs } from "../../src/install/jobs.js";
import { cursorBehind } from "../../src/store/by-age.js";
import { Catalog } from "../../src/store/catalog.js";
import { StoreLayout } from "../../src/store/layout.js";
import type { Store } from "../../src/store/store.js";
import { syntheticDiffId, syntheticName, syntheticReference, writeSyntheticStore } from "../support/synthetic-store.js";
import { type OpenedStore, openStore, scanning } from "./opened-store.js";

const SMALL = { layers: 50, roots: 5, names: 5, bare: true };
const LARGE = { layers: 1500, roots: 150, names: 150, bare: true };

function written(t: { after(cleanUp: () => void): void }, size: typeof SMALL): string {
  const state = mkdtempSync(join(tmpdir(), "stratad-scale-"));
  t.after(() => rmSync(state, { recursive: true, force: true }));
  writeSyntheticStore(state, size);
  return state;
}

interface Answering {
  readonly store: Store;
  readonly catalog: Catalog;
}

/** What a client asks, and what an install does besides its own work. */
const answers: Readonly<Record<string, (of: Answering, round: number) => unknown>> = {
  "server/status": ({ store, catalog }) => [store.layers.bytes, store.layers.size, catalog.total()],
  "a page of root/list": ({ catalog }, round) => catalog.roots({ limit: 3, cursor: cursorOf(catalog, round) }),
  "a page of layer/list": ({ store, catalog }) => {
    const key = syntheticDiffId(20);
    const createdAt = store.layers.get(key)?.document.createdAt ?? "";
    return catalog.layers({ limit: 3, cursor: cursorBehind({ createdAt, key }) });
  },
  "root/get": ({ catalog }, round) => catalog.get({ name: syntheticName(round % 5) }),
  "image/status": ({ store, catalog }, round) =>
    imageStatus({ reference: syntheticReference(round % 5) }, store, catalog, {
      latestFor: () => undefined,
    } as unknown as Jobs),
  "whether a name is free": ({ store }) => store.names.foldedLike("other"),
  "whether a root is held": ({ store }, round) => store.names.holds(`root-${round}`),
  "what is not durable": ({ store }) => store.layers.notDurable(),
};

const cursors = new WeakMap<Catalog, string | undefined>();
function cursorOf(catalog: Catalog, round: number): string | undefined {
  if (round === 0) cursors.set(catalog, catalog.roots({ limit: 1 }).nextCursor);
  return cursors.get(catalog);
}

/** A page, or the generations of a name; far from what the store holds. */
const AT_MOST = 20;

/** How many things the largest Map or Set holds that is walked while `run` runs: no clock, so no machine is too slow for it. */
function largestWalk(run: () => unknown): number {
  let largest = 0;
  const restore: (() => void)[] = [];
  for (const prototype of [Map.prototype, Set.prototype] as object[]) {
    for (const walk of [Symbol.iterator, "values", "keys", "entries", "forEach"]) {
      const original = Reflect.get(prototype, walk);
      Reflect.set(prototype, walk, function (this: Map<unknown, unknown>, ...given: unknown[]) {
        largest = Math.max(largest, this.size);
        return Reflect.apply(original, this, given);
      });
      restore.push(() => Reflect.set(prototype, walk, original));
    }
  }
  try {
    run();
  } finally {
    for (const undo of restore) undo();
  }
  return largest;
}

const answering = ({ store }: OpenedStore): Answering => ({ store, catalog: new Catalog(store) });

suite("a large store", () => {
  const large = mkdtempSync(join(tmpdir(), "stratad-scale-"));
  before(() => writeSyntheticStore(large, LARGE));
  after(() => rmSync(large, { recursive: true, force: true }));

  test("is read by workers, a thousand documents in each task at the most, and each once", async () => {
    const tasks: Record<string, number> = { layers: 0, roots: 0, names: 0 };
    const told: Record<string, number> = {};
    const { store, logged } = await openStore(large, {
      scan: (task) => {
        tasks[task.kind] = (tasks[task.kind] ?? 0) + 1;
        told[task.kind] = (told[task.kind] ?? 0) + task.ids.split("/").length;
        return scanning(task);
      },
    });
    assert.deepEqual([store.layers.size, store.roots.size, store.names.size], [LARGE.layers, LARGE.roots, LARGE.names]);
    assert.deepEqual(
      logged.filter(({ level }) => level !== "info"),
      [],
    );
    const { layers, roots, names } = LARGE;
    assert.deepEqual(told, { layers, roots, names });
    assert.deepEqual(tasks, { layers: 2, roots: 1, names: 1 });
  });

  test("answers without a look at all that it holds", async () => {
    const opened = await openStore(large);
    await Promise.all([opened.store.layers.inOrder, opened.store.roots.inOrder]);
    const many = answering(opened);
    for (const [what, answer] of Object.entries(answers)) {
      const walked = largestWalk(() => answer(many, 0));
      assert.ok(walked <= AT_MOST, `${what} walks over ${walked} things`);
    }
  });

  test("that was edited by hand keeps what cannot be read out of sight, and says so", async (t) => {
    const state = written(t, SMALL);
    const layout = new StoreLayout(state);
    const document = (layer: number): string => layout.layerDocument(syntheticDiffId(layer));
    writeFileSync(document(10), readFileSync(document(10), "utf8").slice(0, -5));
    unlinkSync(document(11));
    writeFileSync(document(12), readFileSync(document(13)));
    unlinkSync(document(14));
    execFileSync("mkfifo", [document(14)]);
    writeFileSync(join(layout.layers, "sha256", "stranger"), "");
    writeFileSync(layout.layerMeta(syntheticDiffId(20)), "{}");
    const { store, logged } = await openStore(state);
    const hidden = [10, 11, 12, 14].map(syntheticDiffId);
    assert.equal(store.layers.size, SMALL.layers - hidden.length);
    for (const diffId of hidden) assert.equal(store.layers.get(diffId), undefined);
    const said = logged.filter(({ event }) => event === "layer.unreadable").map(({ layer }) => layer);
    assert.deepEqual(said.sort(), [...hidden, "sha256:stranger"].sort());
    assert.deepEqual(
      store.layers.notDurable().map(({ diffId }) => diffId),
      [syntheticDiffId(20)],
    );
    assert.deepEqual(store.layers.unreadable().toSorted(), said.toSorted());
    assert.deepEqual(store.layers.get(syntheticDiffId(20))?.meta.blobs, []);
  });
});
