/**
 * Any sequence of installs, removals, rollbacks, pins, collections, damage with its repair, and crashes, some of them in the middle of
 * another change: after each of them all that can be seen of the store is what a model of plain maps says, and a verification finds
 * nothing. A change that was cut short has happened as a whole, or not at all; a collection may have taken a part of what it takes.
 */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { inScope, type Scope } from "../support/sandbox.js";
import { CHANGES } from "./kill-run.js";
import { Model, type Tag } from "./model.js";
import { type Change, ModelledStore, type Seen } from "./modelled-store.js";
import type { Workshop } from "./workshop.js";

const TAGS: readonly Tag[] = ["one", "two", "three"];
/** Changes to the disk that an install of such an image makes, at most. */
const CHANGES_OF_INSTALL = 120;
const CHANGES_OF_ROLLBACK = 12;

const name = fc.constantFrom("app", "b.new");
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ install: fc.constantFrom(...TAGS), name }) },
  { weight: 2, arbitrary: fc.record({ remove: name }) },
  { weight: 3, arbitrary: fc.record({ rollback: name }) },
  { weight: 2, arbitrary: fc.record({ pin: name }) },
  { weight: 1, arbitrary: fc.record({ unpin: fc.constantFrom(...TAGS) }) },
  { weight: 2, arbitrary: fc.record({ collect: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ damage: name }) },
);
const what = fc.constantFrom("kill-before" as const, "kill-after" as const);
const at = fc.oneof(fc.integer({ min: 1, max: CHANGES_OF_ROLLBACK }), fc.integer({ min: 1, max: CHANGES_OF_INSTALL }));
const fault = fc.record({ at, what, pattern: fc.constant(CHANGES) });
const command = fc.oneof(
  { weight: 6, arbitrary: fc.record({ change }) },
  { weight: 1, arbitrary: fc.record({ crash: fc.constant(true) }) },
  { weight: 1, arbitrary: fc.record({ verify: fc.constant(true) }) },
  { weight: 3, arbitrary: fc.record({ cut: change, fault }) },
);
type Command = typeof command extends fc.Arbitrary<infer Value> ? Value : never;

export interface ModelRuns {
  readonly seed: number;
  readonly runs: number;
  /** The most commands of a run. */
  readonly commands: number;
}

export interface ModelFigures {
  commands: number;
  cut: number;
  /** Changes that were cut short and had not happened. */
  undone: number;
}

/** Throws what fast-check says of the first difference, its seed included. */
export async function runModel(workshop: Workshop, { seed, runs, commands }: ModelRuns): Promise<ModelFigures> {
  const figures: ModelFigures = { commands: 0, cut: 0, undone: 0 };
  const property = fc.asyncProperty(fc.array(command, { minLength: commands / 2, maxLength: commands }), (sequence) =>
    inScope((scope) => run(scope, workshop, { sequence, figures })),
  );
  await fc.assert(property, { seed, numRuns: runs, endOnFailure: true });
  return figures;
}

async function run(
  scope: Scope,
  workshop: Workshop,
  { sequence, figures }: { sequence: readonly Command[]; figures: ModelFigures },
): Promise<void> {
  const store = await ModelledStore.create(scope, {
    library: workshop.library,
    place: await workshop.place(),
    tags: TAGS,
  });
  let model = new Model();
  for (const command of sequence) {
    figures.commands += 1;
    if ("change" in command) {
      const isDone = await store.carryOut(command.change);
      assert.equal(
        isDone,
        foretell(model, command.change),
        `${JSON.stringify(command)} was ${isDone ? "" : "not "}done`,
      );
    } else if ("cut" in command) {
      const changed = model.copy();
      foretell(changed, command.cut);
      await store.crashIn(command.cut, command.fault);
      figures.cut += 1;
      model = whichOf(await store.see(), { undone: model, done: changed }, figures);
    } else if ("verify" in command) assert.deepEqual(await store.findings(), []);
    else await store.crash();
    const seen = await store.see();
    assert.deepEqual(seen, viewOf(asSeen(model, seen)), `after ${JSON.stringify(command)}`);
  }
  assert.deepEqual(await store.findings(), []);
  assert.deepEqual(await store.judge(), []);
}

/** False where it must be refused. */
function foretell(model: Model, change: Change): boolean {
  if ("remove" in change) return model.remove(change.remove);
  if ("rollback" in change) return model.rollback(change.rollback);
  if ("pin" in change) return model.pin(change.pin);
  if ("damage" in change) return model.names.has(change.damage);
  if ("unpin" in change) model.unpin(change.unpin);
  else if ("collect" in change) model.collect(change.collect);
  else model.install(change.install, change.name);
  return true;
}

/**
 * Its names and pins are those of before or of after, no third. Of roots and layers that one of them has, some may stand: those are
 * the model's from then on.
 */
function whichOf(seen: Seen, { undone, done }: { undone: Model; done: Model }, figures: ModelFigures): Model {
  const isDone =
    isDeepStrictEqual(seen.names, viewOf(done).names) && isDeepStrictEqual(seen.pinned, viewOf(done).pinned);
  if (!isDone) figures.undone += 1;
  const model = (isDone ? done : undone).copy();
  for (const of of ["roots", "layers"] as const) {
    for (const tag of seen[of]) assert.ok(undone[of].has(tag) || done[of].has(tag), `${of}: ${tag}, which nobody made`);
    for (const tag of undone[of]) assert.ok(!done[of].has(tag) || isThere(seen, of, tag, undone), `${of}: no ${tag}`);
    model[of].clear();
    for (const tag of seen[of]) model[of].add(tag);
  }
  return model;
}

/** A root that nothing keeps may be gone. */
const isThere = (seen: Seen, of: "roots" | "layers", tag: Tag, model: Model): boolean =>
  seen[of].includes(tag) || (of === "roots" && !model.kept().has(tag));

/** Roots that nothing keeps go by themselves, when it suits the daemon. */
function asSeen(model: Model, { roots }: Seen): Model {
  const kept = model.kept();
  for (const tag of model.roots) if (!kept.has(tag) && !roots.includes(tag)) model.roots.delete(tag);
  return model;
}

const viewOf = (model: Model): Seen => ({
  names: Object.fromEntries(model.names),
  roots: [...model.roots].sort(),
  pinned: [...model.pinned].sort(),
  layers: [...model.layers].sort(),
});
