/**
 * An image's tree as a repack's workers read it: its plan, with times as the repack keeps them, and where each entry is from.
 */
import type { RootEntry } from "../src/overlap/changeset.js";
import type { PlannedEntry } from "../src/overlap/plan-root.js";
import type { TreeFile } from "../src/repack-tasks.js";
import { withEntries } from "./entries-file.js";

/** Depth first; `layer` is that of all stored layers. */
export function readTree({ plan, layers }: TreeFile, latestMtime = Number.POSITIVE_INFINITY): PlannedEntry[] {
  return withEntries(plan, (entries) => {
    const tree: PlannedEntry[] = [];
    for (const { layer, from, entry } of entries.part(0, 1)) {
      const stored = layers[layer];
      if (stored === undefined) throw new Error(`the tree has no layer ${layer}`);
      tree.push({ layer: stored, from, entry: untilMtime(entry, latestMtime) });
    }
    return tree;
  });
}

/** As https://reproducible-builds.org/specs/source-date-epoch has it: what is later was made by the build itself. */
function untilMtime(entry: RootEntry, latest: number): RootEntry {
  return "mtime" in entry && entry.mtime > latest ? { ...entry, mtime: latest } : entry;
}
