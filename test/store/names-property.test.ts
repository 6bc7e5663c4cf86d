/**
 * Any sequence of installs, rollbacks, removals and starts against a naive model: symlink, document and memory say the same, and
 * so does a store that is opened anew.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { StrataError } from "../../src/errors.js";
import type { Store } from "../../src/store/store.js";
import { install, openStore } from "./opened-store.js";

/** Generations are numbered from 1, in the order of their array. */
interface ModelName {
  readonly generations: { rootId: string; reference: string }[];
  current: number;
}
type Model = Map<string, ModelName>;

const name = fc.constantFrom("app", "b.new", "constructor");
const change = fc.oneof(
  { weight: 5, arbitrary: fc.record({ install: name, rootId: fc.constantFrom("r1", "r2", "r3"), tag: fc.nat(1) }) },
  { weight: 5, arbitrary: fc.record({ rollback: name, to: fc.option(fc.integer({ min: 1, max: 5 })) }) },
  { weight: 1, arbitrary: fc.record({ remove: name }) },
  { weight: 1, arbitrary: fc.record({ start: fc.constant(true) }) },
);
type Change = typeof change extends fc.Arbitrary<infer Value> ? Value : never;

/** What the change does to the model; false where it must be refused. */
function foretell(model: Model, change: Change): boolean {
  if ("install" in change) {
    const next = { rootId: change.rootId, reference: `oci:/images:${change.tag}` };
    const known = model.get(change.install) ?? { generations: [], current: 0 };
    const { rootId, reference } = known.generations[known.current - 1] ?? {};
    if (rootId === next.rootId && reference === next.reference) return true;
    known.current = known.generations.push(next);
    model.set(change.install, known);
  } else if ("rollback" in change) {
    const known = model.get(change.rollback);
    const to = change.to ?? (known?.current ?? 0) - 1;
    if (known?.generations[to - 1] === undefined) return false;
    known.current = to;
  } else if ("remove" in change) model.delete(change.remove);
  return true;
}

async function carryOut(store: Store, change: Change): Promise<Store> {
  if ("install" in change) await install(store, change.install, change.rootId, `oci:/images:${change.tag}`);
  else if ("rollback" in change) await store.rollback(change.rollback, change.to ?? undefined);
  else if ("remove" in change) await store.removeName(change.remove);
  else return (await openStore(store.layout.state)).store;
  return store;
}

function assertAgreement(store: Store, model: Model): void {
  const { layout, names, roots } = store;
  assert.deepEqual(readdirSync(layout.names).sort(), [".meta", ...[...model.keys()].sort()]);
  assert.deepEqual(readdirSync(layout.nameDocuments).sort(), [...model.keys()].map((key) => `${key}.json`).sort());
  for (const [key, { generations, current }] of model) {
    const rootId = generations[current - 1]?.rootId ?? "";
    assert.equal(readlinkSync(layout.name(key)), `../roots/${rootId}/tree`);
    assert.ok(existsSync(layout.name(key)), "the symlink leads to a root");
    assert.deepEqual(JSON.parse(readFileSync(layout.nameDocument(key), "utf8")), names.get(key));
    assert.equal(names.current(key)?.generation, current);
    assert.deepEqual(
      names.get(key)?.generations.map((one) => ({ rootId: one.rootId, reference: one.reference })),
      generations,
    );
    assert.ok(names.of(rootId).some((named) => named.name === key && named.generation === current));
  }
  const held = new Set([...model.values()].flatMap(({ generations }) => generations.map(({ rootId }) => rootId)));
  assert.deepEqual(readdirSync(layout.roots).sort(), [...held].sort());
  const pointing = roots.all().flatMap(({ rootId }) => names.of(rootId).map((named) => named.name));
  assert.deepEqual(pointing.sort(), [...model.keys()].sort());
}

test("symlink, document and memory agree after any sequence of changes, and after a start", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 16 }), async (changes) => {
      const state = mkdtempSync(join(tmpdir(), "stratad-names-"));
      try {
        let { store } = await openStore(state);
        const model: Model = new Map();
        for (const one of changes) {
          if (foretell(model, one)) store = await carryOut(store, one);
          else await assert.rejects(carryOut(store, one), StrataError);
          assertAgreement(store, model);
        }
        const again = (await openStore(state)).store;
        assertAgreement(again, model);
        for (const key of model.keys()) assert.deepEqual(again.names.get(key), store.names.get(key));
      } finally {
        rmSync(state, { recursive: true, force: true });
      }
    }),
    { numRuns: 60 },
  );
});
