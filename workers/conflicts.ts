/**
 * Worker entry: changesets and a policy into the conflicts between them. Half a million entries are no work, and no message, for
 * the main thread.
 */
import { StrataError } from "../src/errors.js";
import { imageLimits, MAX_CONFLICTS_LISTED } from "../src/limits.js";
import { placed } from "../src/overlap/placement.js";
import { planRoot } from "../src/overlap/plan-root.js";
import { type ConflictsResult, type ConflictsTask, type Outcome, outcomeOf } from "../src/tasks.js";
import { withChangeset } from "./changeset-file.js";

export default (task: ConflictsTask): Promise<Outcome<ConflictsResult>> =>
  outcomeOf("Cannot plan the root", () => {
    const changesets = task.changesets.map((file) => withChangeset(file, (changeset) => [...changeset.part(0, 1)]));
    const layers = changesets.map((changeset) => placed(changeset, undefined, imageLimits));
    const result = planRoot(layers, { policy: task.policy });
    if (result.ok)
      throw new StrataError("STORE_CORRUPT", "Cannot plan the root: layer.json and changeset of a layer disagree");
    return { conflicts: result.conflicts.slice(0, MAX_CONFLICTS_LISTED), total: result.conflicts.length };
  });
