/**
 * A start of a store that an earlier start wrote memos of: what it reads, what it knows, and what it leaves.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, type TestContext, test } from "node:test";
import fc from "fast-check";
import { createLog } from "../../src/log.js";
import { rowsOf, thingAt } from "../../src/memo-rows.js";
import type { ScanTask } from "../../src/scan-tasks.js";
import { MemoUpkeep } from "../../src/store/memo-upkeep.js";
import type { Store } from "../../src/store/store.js";
import { syntheticDiffId, writeSyntheticStore } from "../support/synthetic-store.js";
import { listing, openStore, scanning, settled } from "./opened-store.js";

const quiet = createLog("error", () => undefined);

function temporary(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "stratad-memos-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

suite("a start of a store with memos", () => {
  // So few roots and names are read in no time, and have no memos.
  const size = { layers: 1100, roots: 10, names: 10, bare: true };
  const few = size.roots + size.names;
  const settling = { scan: (task: ScanTask) => scanning(settled(task)) };

  /** All that a store knows, in the order in which it tells it. */
  const known = (store: Store) => ({
    layers: store.layers
      .page({ limit: Number.POSITIVE_INFINITY })
      .items.map(({ document, meta }) => ({ document, meta })),
    roots: store.roots.page({ limit: Number.POSITIVE_INFINITY }).items,
    names: store.names.all().toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    usage: store.usage.total(),
    bytes: store.layers.bytes,
    suspect: [store.layers.suspect(), store.roots.suspect()],
  });
  const counts = (logged: readonly object[]) => {
    const { read, recalled } = logged.find((line) => "event" in line && line.event === "store.opened") as Readonly<
      Record<string, number>
    >;
    return { read, recalled };
  };

  test("reads no document of the many where nothing has changed, and knows the same as one that reads all", async (t) => {
    const state = temporary(t);
    writeSyntheticStore(state, size);
    const first = await openStore(state, settling);
    assert.deepEqual(counts(first.logged), { read: size.layers + few, recalled: 0 });
    const second = await openStore(state, settling);
    assert.deepEqual(counts(second.logged), { read: few, recalled: size.layers });
    const { store } = second;
    assert.deepEqual(known(store), known(first.store));
    const { document, meta } = first.store.layers.get(syntheticDiffId(7)) ?? assert.fail("no such layer");
    const [blob] = meta.blobs;
    assert.ok(blob !== undefined);
    assert.deepEqual(
      store.layers.find({
        descriptor: { ...blob, mediaType: "application/vnd.oci.image.layer.v1.tar+gzip" },
        diffId: undefined,
      } as never)?.document,
      document,
    );
    store.layers.used(document.diffId);
    await store.layers.flush();
    assert.deepEqual(counts((await openStore(state, settling)).logged), { read: few + 1, recalled: size.layers - 1 });
  });

  test("removes what else lies among them, and what a kill left of one", async (t) => {
    const state = temporary(t);
    writeSyntheticStore(state, size);
    const { layout } = (await openStore(state, settling)).store;
    const names = readdirSync(layout.memos).sort();
    writeFileSync(layout.memo(`${names[0]}.1-1.new`), "half");
    writeFileSync(layout.memo("layers-512-3"), "");
    await openStore(state, settling);
    assert.deepEqual(readdirSync(layout.memos).sort(), names);
  });

  test("finds memos of what came while a daemon ran: they are renewed in the background", async (t) => {
    const state = temporary(t);
    writeSyntheticStore(state, size);
    const { store } = await openStore(state);
    rmSync(store.layout.memos, { recursive: true });
    mkdirSync(store.layout.memos);
    await new MemoUpkeep({ store, workers: { list: listing, ...settling }, log: quiet }).renew();
    assert.deepEqual(counts((await openStore(state)).logged), { read: few, recalled: size.layers });
  });
});

test("a thing is the same before it becomes a row and after", () => {
  const document = fc.dictionary(fc.constantFrom("a", "b", "constructor", "id"), fc.jsonValue(), {
    noNullPrototype: true,
  });
  const thing = fc.record({ document, meta: document }, { requiredKeys: ["document"], noNullPrototype: true });
  fc.assert(
    fc.property(fc.array(thing, { maxLength: 8 }), (some) => {
      const things = some.map((thing, at) => ({ ...thing, document: { ...thing.document, id: `id ${at}` } }));
      const rows = JSON.parse(JSON.stringify(rowsOf(things, "id")));
      assert.deepEqual(
        things.map((_, row) => thingAt(rows, row, `id ${row}`)),
        JSON.parse(JSON.stringify(things)),
      );
    }),
  );
});
