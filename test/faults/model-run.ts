/**
 * Any sequence of installs, removals, rollbacks and crashes, some of them in the middle of another change: after each of them all that
 * can be seen of the store is what a model of plain maps says. A change that was cut short has happened as a whole, or not at all.
 */
import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { inScope, type Scope } from "../support/sandbox.js";
import { Model, type Tag } from "./model.js";
import { type Change, ModelledStore, type Seen } from "./modelled-store.js";
import type { Workshop } from "./workshop.js";

const TAGS: readonly Tag[] = ["one", "two", "three"];
/** What an install of such an image takes, at most. */
const CALLS = 170;

const name = fc.constantFrom("app", "b.new");
const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ install: fc.constantFrom(...TAGS), name }) },
  { weight: 2, arbitrary: fc.record({ remove: name }) },
  { weight: 3, arbitrary: fc.record({ rollback: name }) },
);
const what = fc.constantFrom("kill-before" as const, "kill-after" as const);
const command = fc.oneof(
  { weight: 6, arbitrary: fc.record({ change }) },
  { weight: 1, arbitrary: fc.record({ crash: fc.constant(true) }) },
  {
    weight: 2,
    arbitrary: fc.record({ cut: change, fault: fc.record({ at: fc.integer({ min: 1, max: CALLS }), what }) }),
  },
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
    } else await store.crash();
    assert.deepEqual(await store.see(), viewOf(model), `after ${JSON.stringify(command)}`);
  }
  assert.deepEqual(await store.judge(), []);
}

/** False where it must be refused. */
function foretell(model: Model, change: Change): boolean {
  if ("remove" in change) return model.remove(change.remove);
  if ("rollback" in change) return model.rollback(change.rollback);
  model.install(change.install, change.name);
  return true;
}

/**
 * Its names are those of before or of after, no third. A root that has lost its name, or has not got it yet, may stand without: it is
 * the model's too from then on.
 */
function whichOf(seen: Seen, { undone, done }: { undone: Model; done: Model }, figures: ModelFigures): Model {
  const isDone = isDeepStrictEqual(seen.names, viewOf(done).names);
  if (!isDone) figures.undone += 1;
  const model = isDone ? done : undone;
  for (const tag of seen.roots) assert.ok(undone.roots.has(tag) || done.roots.has(tag), `a root of ${tag}`);
  for (const tag of model.held()) assert.ok(seen.roots.includes(tag), `no root of ${tag}`);
  model.roots.clear();
  for (const tag of seen.roots) model.roots.add(tag);
  return model;
}

const viewOf = (model: Model): Seen => ({
  names: Object.fromEntries(model.names),
  roots: [...model.roots].sort(),
});
