/**
 * Worker entry: whether an image's new layers hold what its tree had, under the policy that they were made for, and applied one over another as
 * any other program does. The layers' changesets come from blobs that were unpacked anew, so that contents are compared too, by hash.
 */
import { resolveHoisted } from "../src/layering/hoisted-links.js";
import type { RootEntry } from "../src/overlap/changeset.js";
import { foldName } from "../src/overlap/name-folding.js";
import { type PlacedLayer, placed } from "../src/overlap/placement.js";
import { planRoot } from "../src/overlap/plan-root.js";
import { printableName } from "../src/printable.js";
import type { VerifyRepackedResult, VerifyRepackedTask } from "../src/repack-tasks.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { withEntries } from "./entries-file.js";
import { IMPLIED_MODE } from "./stored-mode.js";
import { readTree } from "./tree-file.js";

/** One says that there is a bug; a few more say where to look. */
const MAX_TOLD = 10;

export default (task: VerifyRepackedTask): Promise<Outcome<VerifyRepackedResult>> =>
  outcomeOf("Cannot verify the image", () => ({ differences: differences(task) }));

function differences(task: VerifyRepackedTask): string[] {
  const { policy, limits, folding } = task;
  const expected = factsOf(resolveHoisted(readTree(task.tree, task.latestMtime).map(({ entry }) => entry)));
  const layers = task.layers.map(
    (file): PlacedLayer =>
      placed(
        withEntries(file, (entries) => [...entries.unplanned()]),
        undefined,
        limits,
      ),
  );
  const folds = folding === undefined ? undefined : foldName(folding);
  for (const under of [policy, "a"] as const) {
    const result = planRoot(layers, { policy: under, folds, limits });
    if (!result.ok)
      return result.conflicts.slice(0, MAX_TOLD).map((c) => `${printableName(c.path)}: ${c.code} under ${under}`);
    const found = between(factsOf(resolveHoisted(result.plan.map(({ entry }) => entry))), expected);
    if (found.length > 0) return found;
  }
  return [];
}

type Facts = ReadonlyMap<string, string>;

function between(actual: Facts, expected: Facts): string[] {
  const found: string[] = [];
  const tell = (path: string): void => {
    const [is, should] = [actual.get(path) ?? "missing", expected.get(path) ?? "missing"];
    if (is !== should && found.length < MAX_TOLD) found.push(`${printableName(path)}: ${is}, not ${should}`);
  };
  for (const path of expected.keys()) tell(path);
  for (const path of actual.keys()) if (!expected.has(path)) tell(path);
  return found;
}

/** By path, all that a root shows of it; of a file with several names the first in the order of bytes, whichever the tree has first. */
function factsOf(tree: readonly RootEntry[]): Facts {
  const files = new Map<string, RootEntry & { readonly type: "file" }>();
  const firstNames = new Map<string, string>();
  for (const entry of tree) {
    if (entry.type === "file") files.set(entry.path, entry);
    if (entry.type !== "hardlink") continue;
    const { path, target } = entry;
    const first = firstNames.get(target) ?? target;
    firstNames.set(target, path < first ? path : first);
  }
  const facts = new Map<string, string>();
  for (const entry of tree) facts.set(entry.path, factOf(entry));
  return facts;

  function factOf(entry: RootEntry): string {
    switch (entry.type) {
      case "dir":
        return `a directory ${entry.mode.toString(8)} of ${entry.mtime}`;
      case "implied":
        return `a directory ${IMPLIED_MODE.toString(8)} of 0`;
      case "symlink":
        return `a symlink to ${printableName(entry.target)} of ${entry.mtime}`;
      case "hardlink":
      case "file": {
        const name = entry.type === "file" ? entry.path : entry.target;
        const file = files.get(name);
        if (file === undefined) return "a hard link to nothing";
        const first = firstNames.get(name);
        const { mode, mtime, size, sha256 } = file;
        const shared = first === undefined ? "" : `, the same as ${printableName(first)}`;
        return `a file ${mode.toString(8)} of ${mtime}, ${size} bytes, ${sha256}${shared}`;
      }
    }
  }
}
