/** Pins and holds over starts and boots, and what a root that they keep has of it. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { MAX_PINS } from "../../src/limits.js";
import { Catalog } from "../../src/store/catalog.js";
import { install, openStore } from "./opened-store.js";

function stateDir(t: { after(cleanUp: () => void): void }): string {
  const state = mkdtempSync(join(tmpdir(), "stratad-holds-"));
  t.after(() => rmSync(state, { recursive: true, force: true }));
  return state;
}

const code = (expected: string) => (error: unknown) => (error as { code?: string }).code === expected;

test("a pin outlives every start and boot, until it is taken back", async (t) => {
  const state = stateDir(t);
  const { store } = await openStore(state);
  await install(store, "app", "one");
  const pinned = await new Catalog(store).pin({ name: "app", pinned: true });
  assert.equal(pinned.pinned, true);
  assert.equal(new Catalog((await openStore(state)).store).get({ name: "app" }).pinned, true);

  const later = (await openStore(state, { bootId: "another" })).store;
  const catalog = new Catalog(later);
  assert.equal((await catalog.remove({ name: "app" })).stays, "it is pinned");
  assert.deepEqual([later.names.size, later.roots.size], [0, 1]);
  await catalog.pin({ rootId: "one", pinned: false });
  assert.equal((await catalog.remove({ rootId: "one" })).stays, undefined);
  assert.equal(later.roots.size, 0);
});

test("a hold outlives a start, and dies with its boot or when it is released", async (t) => {
  const state = stateDir(t);
  const { store } = await openStore(state);
  await install(store, "app", "one");
  const hold = await new Catalog(store).hold({ name: "app", owner: "an editor" });
  await new Catalog(store).hold({ name: "app" });
  const restarted = (await openStore(state)).store;
  assert.equal((await new Catalog(restarted).remove({ name: "app" })).stays, "it is held for a client");
  assert.equal(await restarted.release(hold.holdId), true);
  assert.equal(await restarted.release(hold.holdId), false);
  assert.notEqual(restarted.holds.holdOf("one"), undefined, "two clients held it");

  const rebooted = (await openStore(state, { bootId: "another" })).store;
  assert.equal(rebooted.holds.holdOf("one"), undefined);
  assert.equal((await new Catalog(rebooted).remove({ rootId: "one" })).stays, undefined);
  assert.equal(rebooted.roots.size, 0);
});

test("the id that a client gave its hold finds that hold again, and no other root's", async (t) => {
  const { store } = await openStore(stateDir(t));
  await install(store, "app", "one");
  await install(store, "other", "two");
  const catalog = new Catalog(store);
  const holdId = "0198c0de-0000-7000-8000-000000000001";
  const hold = await catalog.hold({ name: "app", owner: "an editor", holdId });
  assert.equal(hold.holdId, holdId);
  assert.deepEqual(await catalog.hold({ name: "app", holdId }), hold);
  await assert.rejects(catalog.hold({ name: "other", holdId }), code("INVALID_PARAMS"));
  assert.equal(await store.release(holdId), true);
  assert.equal(store.holds.holdOf("one"), undefined, "it was one hold");
});

test("a name that goes says why its root stays", async (t) => {
  const { store } = await openStore(stateDir(t));
  await install(store, "app", "one");
  await install(store, "two", "one");
  await install(store, "three", "one");
  await install(store, "three", "other");
  const catalog = new Catalog(store);
  assert.equal((await catalog.remove({ name: "app" })).stays, "two has it too");
  assert.equal((await catalog.remove({ name: "two" })).stays, "another name has it as an earlier generation");
});

test("a root that running work leases stays when its name goes", async (t) => {
  const { store } = await openStore(stateDir(t));
  await install(store, "app", "one");
  const lease = store.leases.open();
  lease.root("one");
  assert.equal((await new Catalog(store).remove({ name: "app" })).stays, "running work needs it");
  lease.drop();
  assert.equal((await new Catalog(store).remove({ rootId: "one" })).stays, undefined);
  assert.equal(store.roots.size, 0);
});

for (const [how, text] of [
  ["is cut off", '{"schema":1,"pins":["on'],
  ["has another shape", '{"schema":1,"pins":"one"}'],
  ["names more than it may", JSON.stringify({ schema: 1, pins: Array(MAX_PINS + 1).fill("r"), holds: [] })],
] as const) {
  test(`a list of pins and holds that ${how} keeps every root and is not written over`, async (t) => {
    const state = stateDir(t);
    await install((await openStore(state)).store, "app", "one");
    writeFileSync(join(state, "holds.json"), text);
    const { store, logged } = await openStore(state);
    assert.deepEqual(
      logged.map(({ event }) => event).filter((event) => String(event).startsWith("holds")),
      ["holds.unreadable"],
    );
    const catalog = new Catalog(store);
    assert.equal((await catalog.remove({ name: "app" })).stays, "the list of pins and holds cannot be read");
    await assert.rejects(catalog.pin({ rootId: "one", pinned: true }), code("STORE_CORRUPT"));
    await assert.rejects(catalog.hold({ rootId: "one" }), code("STORE_CORRUPT"));
    assert.equal(readFileSync(join(state, "holds.json"), "utf8"), text);
  });
}

test("what is not there is not pinned and not held", async (t) => {
  const { store } = await openStore(stateDir(t));
  await assert.rejects(store.pin("none", true), code("UNKNOWN_ROOT"));
  await assert.rejects(store.hold("none", "x"), code("UNKNOWN_ROOT"));
});
