import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ByAge } from "../../src/store/by-age.js";

interface Item {
  readonly key: string;
  readonly createdAt: string;
}

const key = fc.constantFrom("a", "b", "c", "d", "e", "f");
const change = fc.record({ key, age: fc.constantFrom("1", "2", "3"), comes: fc.boolean() });

/** All pages, one behind the other. */
function walked(things: ByAge<string, Item>, limit: number): string[] {
  const keys: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = things.page({ limit, cursor });
    keys.push(...page.items.map((item) => item.key));
    if (page.nextCursor === undefined) return keys;
    cursor = page.nextCursor;
  }
}

test("pages hold everything once, oldest first, whenever the order was first asked for", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(change),
      fc.nat(20),
      fc.integer({ min: 1, max: 4 }),
      fc.boolean(),
      async (changes, askedAt, limit, isWaited) => {
        const things = new ByAge<string, Item>(({ createdAt }) => createdAt);
        const model = new Map<string, Item>();
        const told: string[] = [];
        let sorted: Promise<void> | undefined;
        things.watch({
          added: (item) => told.push(item.key),
          removed: (item) => told.splice(told.indexOf(item.key), 1),
        });
        for (const [at, { key, age, comes }] of changes.entries()) {
          if (at === askedAt) sorted = things.sort();
          if (isWaited) await sorted;
          const createdAt = model.get(key)?.createdAt ?? age;
          if (comes) things.set(key, { key, createdAt });
          else things.delete(key);
          if (comes) model.set(key, { key, createdAt });
          else model.delete(key);
        }
        const ordered = [...model.values()].sort((a, b) => (a.createdAt + a.key < b.createdAt + b.key ? -1 : 1));
        assert.deepEqual(
          walked(things, limit),
          ordered.map((item) => item.key),
        );
        assert.deepEqual(told.sort(), [...model.keys()].sort());
      },
    ),
  );
});

test("a page goes on where the last one ended, also where that item is gone", () => {
  const things = new ByAge<string, Item>(({ createdAt }) => createdAt);
  for (const key of ["a", "b", "c", "d"]) things.set(key, { key, createdAt: key });
  const { nextCursor: cursor } = things.page({ limit: 2 });
  things.delete("b");
  assert.deepEqual(
    things.page({ limit: 2, cursor }).items.map((item) => item.key),
    ["c", "d"],
  );
});

test("a cursor that no page ended with is INVALID_PARAMS", () => {
  const things = new ByAge<string, Item>(({ createdAt }) => createdAt);
  for (const cursor of ["a", "", "2026-01-01 "]) {
    assert.throws(() => things.page({ limit: 1, cursor }), { code: "INVALID_PARAMS" });
  }
});
