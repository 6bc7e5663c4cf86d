/**
 * What a root of symlinks is made of: the outermost entries that a layer has as the root shows them, with all that is below them.
 *
 * A directory of which the root shows more, or from more places, than one directory of one layer (a prefix implies it, strip merges
 * several into it) is a directory of the root's own, and what stands in it is judged in turn. Pure.
 */
import type { PlannedEntry } from "./plan-root.js";

export interface Outermost {
  readonly planned: PlannedEntry;
  /** Made, and not linked. */
  readonly isOwnDirectory: boolean;
}

/** `plan` gives the same entries, depth first, each time that it is called. */
export function* outermost(plan: () => Iterable<PlannedEntry>): Generator<Outermost> {
  const own = ownDirectories(plan());
  let above: string | undefined;
  for (const planned of plan()) {
    const { path } = planned.entry;
    if (above !== undefined && path.startsWith(above)) continue;
    const isOwnDirectory = own.has(path);
    above = isOwnDirectory ? undefined : `${path}/`;
    yield { planned, isOwnDirectory };
  }
}

function ownDirectories(plan: Iterable<PlannedEntry>): ReadonlySet<string> {
  const own = new Set<string>();
  const above: PlannedEntry[] = [];
  for (const planned of plan) {
    const { path } = planned.entry;
    while (above.length > 0 && !path.startsWith(`${(above.at(-1) as PlannedEntry).entry.path}/`)) above.pop();
    const parent = above.at(-1);
    if (planned.from === "") own.add(path);
    if (parent !== undefined && !isBelow(planned, parent)) for (const { entry } of above) own.add(entry.path);
    above.push(planned);
  }
  return own;
}

/** Whether the layer has it in the directory that it has the parent in, under the same name. */
const isBelow = ({ layer, from, entry }: PlannedEntry, parent: PlannedEntry): boolean =>
  layer === parent.layer && parent.from !== "" && from === parent.from + entry.path.slice(parent.entry.path.length);
