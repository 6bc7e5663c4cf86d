/**
 * Worker entry: changesets and a policy into a plan, or into the conflicts between them. Half a million entries are no work, and no
 * message, for the main thread: the plan goes into a file that link tasks share.
 */
import { StrataError } from "../src/errors.js";
import { MAX_CONFLICTS_LISTED } from "../src/limits.js";
import { foldName } from "../src/overlap/name-folding.js";
import { outermost } from "../src/overlap/outermost.js";
import { placed } from "../src/overlap/placement.js";
import { encodePlan } from "../src/overlap/plan-file.js";
import { planRoot, type RootPlan } from "../src/overlap/plan-root.js";
import type { PlannedRoot, PlanResult, PlanTask } from "../src/root-tasks.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { withEntries } from "./entries-file.js";
import { writeSyncedText } from "./synced-file.js";

export default (task: PlanTask): Promise<Outcome<PlanResult>> => outcomeOf("Cannot plan the root", () => plan(task));

function plan({ policy, layers, folding, limits, file }: PlanTask): PlanResult {
  const placedLayers = layers.map(({ changeset, placement }) =>
    placed(
      withEntries(changeset, (entries) => [...entries.unplanned()]),
      placement,
      limits,
    ),
  );
  const folds = folding === undefined ? undefined : foldName(folding);
  const result = planRoot(placedLayers, { policy, folds, limits });
  if (!result.ok) {
    const { conflicts } = result;
    return { kind: "conflicts", conflicts: conflicts.slice(0, MAX_CONFLICTS_LISTED), total: conflicts.length };
  }
  const measured = measure(result.plan, layers.length);
  if (measured.entries > limits.maxEntriesPerImage)
    throw new StrataError(
      "LIMIT_ENTRIES",
      `Cannot plan the root: it has more than ${limits.maxEntriesPerImage} entries`,
    );
  if (measured.bytes > limits.maxImageBytes)
    throw new StrataError("LIMIT_BYTES", `Cannot plan the root: it is larger than ${limits.maxImageBytes} bytes`);
  return {
    kind: "plan",
    ...measured,
    dropped: placedLayers.reduce((sum, layer) => sum + layer.dropped, 0),
    ...(file === undefined ? {} : { sha256: writeSyncedText(file, encodePlan(result.plan)) }),
  };
}

function measure(plan: RootPlan, layers: number): Omit<PlannedRoot, "kind" | "dropped" | "sha256"> {
  const layerBytes = Array<number>(layers).fill(0);
  const empty = new Set<string>();
  let [ownInodes, files, emptyLinks] = [0, 0, 0];
  for (const { layer, entry } of plan) {
    if (entry.type === "file" && entry.size > 0) {
      layerBytes[layer] = (layerBytes[layer] ?? 0) + entry.size;
      files += 1;
    } else if (entry.type === "hardlink") {
      if (empty.has(entry.target)) emptyLinks += 1;
    } else {
      ownInodes += 1;
      if (entry.type === "file") empty.add(entry.path);
    }
  }
  return {
    entries: plan.length,
    bytes: layerBytes.reduce((sum, bytes) => sum + bytes, 0),
    layerBytes,
    ownInodes,
    files,
    emptyLinks,
    outermost: [...outermost(() => plan)].length,
  };
}
