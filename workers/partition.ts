/**
 * Worker entry: image trees into the layers that they are to be stored in. A million entries are no work, and no message, for the main
 * thread: each layer is a file that a pack task reads.
 */
import { keepGlobs } from "../src/layering/keep-glob.js";
import { planRepack, type RepackedLayer } from "../src/layering/plan-repack.js";
import type { RootEntry } from "../src/overlap/changeset.js";
import { encodePlan } from "../src/overlap/plan-file.js";
import type { PlannedEntry } from "../src/overlap/plan-root.js";
import type { PartitionedLayer, PartitionResult, PartitionTask } from "../src/repack-tasks.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { directoryAttributes } from "./stored-mode.js";
import { writeSyncedText } from "./synced-file.js";
import { readTree } from "./tree-file.js";

export default (task: PartitionTask): Promise<Outcome<PartitionResult>> =>
  outcomeOf("Cannot plan the layers", () => partition(task));

function partition(task: PartitionTask): PartitionResult {
  const { policy, maxLayers, minLayerBytes, hoist, directory } = task;
  const trees = task.trees.map((tree) => readTree(tree, task.latestMtime));
  const plan = planRepack(
    trees.map((tree) => tree.map(({ entry }) => entry)),
    { policy, maxLayers, minLayerBytes, ...(hoist === undefined ? {} : { hoist: { keeps: keepGlobs(hoist.keep) } }) },
  );
  const layers = plan.layers.map((layer, index): PartitionedLayer => {
    const path = `${directory}/${index}`;
    const sha256 = writeSyncedText(path, encodePlan(sourced(layer, trees)));
    const { images, entries, bytes } = layer;
    return { file: { kind: "plan", path, sha256 }, images, entries: entries.length, bytes };
  });
  return { layers, images: plan.images, figures: plan.figures };
}

/** What repack adds is from nowhere: it has no content. */
function* sourced({ entries }: RepackedLayer, trees: readonly (readonly PlannedEntry[])[]): Generator<PlannedEntry> {
  for (const [index, { entry, image, source }] of entries.entries()) {
    const origin = source === undefined ? undefined : trees[image]?.[source];
    const next = entries[index + 1]?.entry.path ?? "";
    yield { layer: origin?.layer ?? 0, from: origin?.from ?? "", entry: declared(entry, next) };
  }
}

/** A directory that nothing in it implies any more needs an entry; one says what the directory was. */
function declared(entry: RootEntry, next: string): RootEntry {
  if (entry.type !== "implied" || next.startsWith(`${entry.path}/`)) return entry;
  return { type: "dir", ...directoryAttributes(entry) };
}
