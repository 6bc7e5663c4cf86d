/**
 * Names on a real disk: what installs, rollbacks and removals make of them, and what a start makes of what a crash left.
 */
import assert from "node:assert/strict";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { mkdir, rename, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MAX_GENERATIONS } from "../../src/limits.js";
import type { Store } from "../../src/store/store.js";
import { digestOf, install, openStore } from "./opened-store.js";

function stateOf(t: TestContext): string {
  const state = mkdtempSync(join(tmpdir(), "stratad-names-"));
  t.after(() => rmSync(state, { recursive: true, force: true }));
  return state;
}

/** Opened, with each of these roots installed under `app` in turn. */
async function storeWith(t: TestContext, ...rootIds: readonly string[]) {
  const state = stateOf(t);
  const { store } = await openStore(state);
  for (const rootId of rootIds) await install(store, "app", rootId);
  return { state, store, reopened: () => openStore(state) };
}

const pointsTo = ({ layout }: Store, name = "app"): string => readlinkSync(layout.name(name));
const current = ({ names }: Store, name = "app"): number | undefined => names.current(name)?.generation;
const numbers = ({ names }: Store, name = "app") => names.get(name)?.generations.map(({ generation }) => generation);
const documentOf = ({ layout }: Store, name = "app"): string => readFileSync(layout.nameDocument(name), "utf8");

test("a rollback makes the generation before current, and none anew: twice goes back two", async (t) => {
  const { store } = await storeWith(t, "one", "two", "three");
  for (const [had, has, rootId] of [
    [3, 2, "two"],
    [2, 1, "one"],
  ] as const) {
    const rolledBack = await store.rollback("app", undefined);
    assert.deepEqual([rolledBack.had.generation, rolledBack.has.generation], [had, has]);
    assert.equal(pointsTo(store), `../roots/${rootId}/tree`);
  }
  assert.deepEqual(numbers(store), [1, 2, 3]);
});

test("two rollbacks at once go back two", async (t) => {
  const { store } = await storeWith(t, "one", "two", "three");
  const both = await Promise.all([store.rollback("app", undefined), store.rollback("app", undefined)]);
  assert.deepEqual(
    both.map(({ had, has }) => [had.generation, has.generation]),
    [
      [3, 2],
      [2, 1],
    ],
  );
});

test("a rollback to a generation goes to any that is remembered, forward too, and to the current one without a change", async (t) => {
  const { store } = await storeWith(t, "one", "two", "three");
  for (const to of [1, 3, 2, 2]) {
    await store.rollback("app", to);
    assert.equal(current(store), to);
  }
  const { ino } = statSync(store.layout.nameDocument("app"));
  const { had, has } = await store.rollback("app", 2);
  assert.equal(had, has);
  assert.equal(statSync(store.layout.nameDocument("app")).ino, ino, "the document is not written again");
});

test("an install behind a rollback is numbered behind the last, and current", async (t) => {
  const { store, reopened } = await storeWith(t, "one", "two", "three");
  await store.rollback("app", 1);
  const named = await install(store, "app", "four");
  assert.equal(named?.generation.generation, 4);
  assert.deepEqual([current(store), numbers(store)], [4, [1, 2, 3, 4]]);
  assert.equal((await store.rollback("app", undefined)).has.generation, 3);
  assert.equal(current((await reopened()).store), 3);
});

test("an install of what is current makes no generation, also where a rollback made it current", async (t) => {
  const { store } = await storeWith(t, "one", "two");
  await store.rollback("app", undefined);
  const named = await install(store, "app", "one");
  assert.deepEqual([named?.flipped, named?.generation.generation, numbers(store)], [false, 1, [1, 2]]);
});

const refusals: readonly [what: string, name: string, to: number | undefined, code: string, message: RegExp][] = [
  [
    "nothing before the first generation",
    "app",
    undefined,
    "UNKNOWN_ROOT",
    /^Cannot roll back app: generation 1 is current and none is remembered before it$/,
  ],
  [
    "a generation that there never was",
    "app",
    7,
    "UNKNOWN_ROOT",
    /^Cannot roll back app: no generation 7 is remembered$/,
  ],
  [
    "a generation whose root is gone",
    "app",
    2,
    "UNKNOWN_ROOT",
    /^Cannot roll back app: the root of generation 2 is gone$/,
  ],
  ["a name that there is not", "other", undefined, "UNKNOWN_NAME", /^Cannot find the name other: there is none$/],
  ["a name of the object's prototype", "constructor", undefined, "UNKNOWN_NAME", /constructor/],
];
for (const [what, name, to, code, message] of refusals) {
  test(`a rollback to ${what} is ${code} and changes nothing`, async (t) => {
    const { store } = await storeWith(t, "one", "two", "three");
    await store.rollback("app", 1);
    await rm(store.layout.root("two"), { recursive: true });
    const before = [documentOf(store), pointsTo(store), store.names.get("app")];
    await assert.rejects(store.rollback(name, to), { code, message });
    assert.deepEqual([documentOf(store), pointsTo(store), store.names.get("app")], before);
  });
}

test("a rollback leads away from a current root that is gone", async (t) => {
  const { store } = await storeWith(t, "one", "two");
  await rm(store.layout.root("two"), { recursive: true });
  assert.equal((await store.rollback("app", undefined)).has.rootId, "one");
});

test("a name remembers its last generations only, and always the current one", async (t) => {
  const { store } = await storeWith(t, "one", "two");
  for (let n = 3; n <= MAX_GENERATIONS + 1; n += 1) await install(store, "app", n % 2 === 0 ? "two" : "one");
  assert.deepEqual([numbers(store)?.length, numbers(store)?.[0]], [MAX_GENERATIONS, 2]);
  await store.rollback("app", 2);
  await install(store, "app", "one");
  assert.deepEqual([numbers(store)?.length, numbers(store)?.[0]], [MAX_GENERATIONS, 3]);
  assert.equal(current(store), MAX_GENERATIONS + 2);
  await assert.rejects(store.rollback("app", 2), { code: "UNKNOWN_ROOT" });
});

test("rm after a rollback takes the name with every generation, and every root that no other name has", async (t) => {
  const { store, state } = await storeWith(t, "one", "two", "three");
  await install(store, "other", "two");
  await store.rollback("app", 1);
  const removed: string[] = [];
  store.roots.onRemoved((rootId) => removed.push(rootId));
  await store.removeName("app");
  assert.deepEqual(removed.sort(), ["one", "three"]);
  assert.deepEqual(readdirSync(join(state, "roots")), ["two"]);
  assert.deepEqual(readdirSync(join(state, "names")).sort(), [".meta", "other"]);
  assert.deepEqual(readdirSync(join(state, "names/.meta")), ["other.json"]);
});

test("a document that knows no rollback is read: its last generation is current", async (t) => {
  const { store, reopened } = await storeWith(t, "one", "two");
  assert.deepEqual(Object.keys(JSON.parse(documentOf(store))), ["schema", "name", "generations"]);
  assert.equal(current((await reopened()).store), 2);
});

test("the current generation is no field of the document where it is the last", async (t) => {
  const { store } = await storeWith(t, "one", "two");
  const before = documentOf(store);
  await store.rollback("app", 1);
  assert.equal(JSON.parse(documentOf(store)).current, 1);
  await store.rollback("app", 2);
  assert.equal(documentOf(store), before);
});

const edits: readonly [what: string, edit: (document: string) => string][] = [
  ["whose current generation is none of its own", (text) => text.replace('"name"', '"current":9,"name"')],
  ["of another name", (text) => text.replace('"name":"app"', '"name":"other"')],
  ["that is cut", (text) => text.slice(0, 40)],
];
for (const [what, edit] of edits) {
  test(`a document ${what} is left as it is, and said`, async (t) => {
    const { store, reopened } = await storeWith(t, "one", "two");
    const edited = edit(documentOf(store));
    writeFileSync(store.layout.nameDocument("app"), edited);
    const again = await reopened();
    assert.ok(again.logged.some(({ event }) => event === "name.unreadable"));
    assert.equal(again.store.names.size, 0);
    assert.deepEqual([documentOf(store), pointsTo(store)], [edited, "../roots/two/tree"]);
  });
}

test("a name that ends like a temporary file is still there after a start", async (t) => {
  const { store, reopened } = await storeWith(t);
  await install(store, "app.new", "one");
  symlinkSync("nowhere", store.layout.name(".other.new"));
  await reopened();
  assert.deepEqual(readdirSync(store.layout.names).sort(), [".meta", "app.new"]);
  assert.equal(pointsTo(store, "app.new"), "../roots/one/tree");
});

/** Where a crash in the middle of a change leaves the disk: an install and a rollback have written the document, a removal has taken the symlink. */
const leftBehind = {
  documentWritten: async ({ layout }: Store, before: { symlink: string }) => {
    await rename(layout.name("app"), layout.name(".app.new"));
    symlinkSync(before.symlink, layout.name("app"));
  },
  symlinkGone: async ({ layout }: Store, before: { document: string }) => {
    writeFileSync(layout.nameDocument("app"), before.document);
  },
};
const crashes: readonly {
  readonly of: string;
  readonly change: (store: Store) => Promise<unknown>;
  readonly leaves: keyof typeof leftBehind;
  readonly generation: number;
  readonly rootId: string;
}[] = [
  {
    of: "an install",
    change: (store) => install(store, "app", "three"),
    leaves: "documentWritten",
    generation: 3,
    rootId: "three",
  },
  {
    of: "a rollback",
    change: (store) => store.rollback("app", undefined),
    leaves: "documentWritten",
    generation: 1,
    rootId: "one",
  },
  {
    of: "a removal",
    change: (store) => store.names.remove("app"),
    leaves: "symlinkGone",
    generation: 2,
    rootId: "two",
  },
];
for (const { of, change, leaves, generation, rootId } of crashes) {
  test(`a crash in the middle of ${of} is made good at the next start`, async (t) => {
    const { store, reopened } = await storeWith(t, "one", "two");
    const before = { symlink: pointsTo(store), document: documentOf(store) };
    await change(store);
    await leftBehind[leaves](store, before);
    const again = (await reopened()).store;
    assert.equal(pointsTo(again), `../roots/${rootId}/tree`);
    assert.equal(current(again), generation);
    assert.deepEqual(readdirSync(again.layout.names).sort(), [".meta", "app"]);
  });
}

test("a crash before the intention has its name leaves everything as it was", async (t) => {
  const { store, reopened } = await storeWith(t, "one", "two");
  writeFileSync(`${store.layout.nameDocument("app")}.1-1.new`, '{"schema":1,"na');
  const again = (await reopened()).store;
  assert.deepEqual([current(again), pointsTo(again)], [2, "../roots/two/tree"]);
  assert.deepEqual(readdirSync(store.layout.nameDocuments), ["app.json"]);
});

const inTheWay: readonly [what: string, change: (store: Store) => Promise<unknown>][] = [
  ["an install", (store) => install(store, "app", "three")],
  ["a rollback", (store) => store.rollback("app", undefined)],
];
for (const [what, change] of inTheWay) {
  test(`${what} that cannot flip the symlink leaves document and memory, and no later start carries it out`, async (t) => {
    const { store, reopened } = await storeWith(t, "one", "two");
    const before = [documentOf(store), store.names.get("app")];
    await rename(store.layout.name("app"), store.layout.name("aside"));
    await mkdir(store.layout.name("app"));
    await assert.rejects(change(store), { code: /^E(ISDIR|EXIST|NOTEMPTY)$/ });
    assert.deepEqual([documentOf(store), store.names.get("app")], before);
    await rmdir(store.layout.name("app"));
    await rename(store.layout.name("aside"), store.layout.name("app"));
    const again = (await reopened()).store;
    assert.deepEqual([current(again), pointsTo(again)], [2, "../roots/two/tree"]);
  });
}

test("a change whose intention cannot be written flips nothing", async (t) => {
  const { store } = await storeWith(t, "one", "two");
  await rename(store.layout.nameDocuments, store.layout.name("aside"));
  await assert.rejects(store.rollback("app", undefined), { code: "ENOENT" });
  await assert.rejects(install(store, "app", "three"), { code: "ENOENT" });
  assert.deepEqual([current(store), pointsTo(store)], [2, "../roots/two/tree"]);
});

test("a removal that cannot take the symlink leaves the name as it was", async (t) => {
  const { store } = await storeWith(t, "one");
  const before = documentOf(store);
  await rm(store.layout.name("app"));
  await mkdir(store.layout.name("app"));
  await assert.rejects(store.removeName("app"), { code: /^E(ISDIR|PERM)$/ });
  assert.deepEqual([documentOf(store), current(store)], [before, 1]);
});

test("a first install that cannot flip the symlink leaves no document", async (t) => {
  const { store } = await storeWith(t);
  await mkdir(store.layout.name("app"));
  await assert.rejects(install(store, "app", "one"));
  assert.deepEqual([store.names.size, readdirSync(store.layout.nameDocuments)], [0, []]);
});

const losses: readonly [what: string, at: number, lost: readonly string[], generation: number][] = [
  ["the one before", 3, ["three"], 2],
  ["the nearest before", 3, ["two", "three"], 1],
  ["the nearest behind where none is before", 1, ["one"], 2],
  ["the same where another is lost", 2, ["one", "three"], 2],
];
for (const [what, at, lost, generation] of losses) {
  test(`at a start, a name whose roots ${lost.join(" and ")} are gone goes from ${at} to ${what}, for good`, async (t) => {
    const { store, reopened } = await storeWith(t, "one", "two", "three");
    await store.rollback("app", at);
    for (const rootId of lost) await rm(store.layout.root(rootId), { recursive: true });
    const again = (await reopened()).store;
    assert.equal(current(again), generation);
    assert.equal(pointsTo(again), `../roots/${again.names.current("app")?.rootId}/tree`);
    for (const rootId of lost) await install(again, "other", rootId);
    assert.equal(current((await reopened()).store), generation, "a root that is made again takes no name with it");
    assert.equal((await install(again, "app", "four"))?.generation.generation, 4, "numbers only rise");
  });
}

test("a name of which no root is left is gone after a start", async (t) => {
  const { store, reopened } = await storeWith(t, "one");
  await rm(store.layout.root("one"), { recursive: true });
  const again = await reopened();
  assert.equal(again.store.names.size, 0);
  assert.deepEqual(readdirSync(store.layout.names), [".meta"]);
  assert.deepEqual(readdirSync(store.layout.nameDocuments), []);
});

test("the names of a root are those whose current generation it is", async (t) => {
  const { store } = await storeWith(t, "one", "two");
  await install(store, "b", "one");
  await install(store, "a", "one");
  assert.deepEqual(store.names.of("one"), [
    { name: "a", generation: 1 },
    { name: "b", generation: 1 },
  ]);
  await store.rollback("app", 1);
  assert.deepEqual(store.names.of("two"), []);
  assert.deepEqual(
    store.names.of("one").map(({ name }) => name),
    ["a", "app", "b"],
  );
});

test("all names come with the current generation last, and with every generation", async (t) => {
  const { store } = await storeWith(t, "one", "two", "three");
  await store.rollback("app", 2);
  const [app] = store.names.all();
  assert.deepEqual(
    app?.generations.map(({ generation }) => generation),
    [1, 3, 2],
  );
  assert.equal(app?.generations.at(-1)?.manifestDigest, digestOf("two"));
});
