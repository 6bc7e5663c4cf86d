/**
 * What a root of symlinks is made of, by its list, as symlinks.ts makes it: where each leads, and directories of its own.
 */
import type { RootList } from "../src/findings.js";
import { type Outermost, outermost } from "../src/overlap/outermost.js";
import type { StoredEntries } from "./entries-file.js";

export interface SymlinkOfRoot {
  readonly path: string;
  /** Absent: a directory of the root's own. */
  readonly target?: string;
}

export function* symlinksOf(entries: StoredEntries, { entries: { kind }, layers }: RootList): Generator<SymlinkOfRoot> {
  for (const { planned, isOwnDirectory } of kind === "plan" ? outermost(() => entries.part(0, 1)) : topLevel(entries)) {
    const { entry, layer, from } = planned;
    const { path } = entry;
    if (isOwnDirectory) yield { path };
    else if (entry.type === "symlink") yield { path, target: entry.target };
    else yield { path, target: `${"../".repeat(path.split("/").length - 1)}${layers[layer]?.target ?? ""}/${from}` };
  }
}

/** Layers as they stand: one for each top-level name, whatever is below it. */
function* topLevel(entries: StoredEntries): Generator<Outermost> {
  for (const planned of entries.part(0, 1))
    if (!planned.entry.path.includes("/")) yield { planned, isOwnDirectory: false };
}
