/**
 * Names that differ only by case or by Unicode normalisation, on a file system that takes them for the same (overlap.md).
 *
 * Names are bytes everywhere else; only here are they read as UTF-8, because that is what such a file system does. It may
 * fold more than the file system in question: a name is then refused that would have fitted, and never one overwritten.
 */
import { baseName, byteOrder, parentPath } from "./changeset.js";
import type { FoldingConflict, PlannedEntry, RootPlan } from "./plan-root.js";

/** What a file system makes no difference of. */
export interface Folding {
  readonly case: boolean;
  readonly unicode: boolean;
}

/** What a file system that folds case, or normalisation, or both, makes of a name (bytes, latin1). What is no UTF-8 it keeps. */
export function foldName(ignored: Folding): (name: string) => string {
  const normalised = (text: string): string => (ignored.unicode ? text.normalize("NFD") : text);
  // There and back: U+212A (Kelvin) meets k only in lower case, U+017F (long s) meets s only in upper case.
  const caseless = (text: string): string => (ignored.case ? text.toLowerCase().toUpperCase() : text);
  return (name) => {
    const text = Buffer.from(name, "latin1").toString("utf8");
    return text.includes("\ufffd") ? name : caseless(normalised(text));
  };
}

/** A conflict for each set of names of one directory that fold to the same. */
export function foldedNames(plan: RootPlan, folds: (name: string) => string): FoldingConflict[] {
  const byFolded = new Map<string, PlannedEntry[]>();
  for (const planned of plan) {
    const { path } = planned.entry;
    const folded = `${parentPath(path)}/${folds(baseName(path))}`;
    const known = byFolded.get(folded);
    if (known === undefined) byFolded.set(folded, [planned]);
    else known.push(planned);
  }
  return [...byFolded.values()].filter((each) => each.length > 1).map(conflictOf);
}

function conflictOf(planned: readonly PlannedEntry[]): FoldingConflict {
  const sides = planned
    .map(({ layer, entry: { path, type } }) => ({ layer, type: type === "implied" ? ("dir" as const) : type, path }))
    .sort((a, b) => byteOrder(a.path, b.path));
  return { code: "NAME_FOLDING", path: sides[0]?.path ?? "", sides };
}
