/**
 * Whole subtrees that are the same in some of the images: by their own path and attributes, and by all that stands below them.
 *
 * A subtree is known by a number, so that two directories are the same where their children have the same numbers: nothing is
 * hashed. What is no directory is known by its unit, which no two paths share but the names of one file.
 */
import { isDirectory, type RootEntry } from "../overlap/changeset.js";
import { NO_SIGNATURE, type Signatures } from "./image-sets.js";
import type { PathUnits } from "./path-units.js";
import { AT_ROOT, type SortedTree } from "./sorted-tree.js";

export interface Subtrees {
  /** For each tree, for each of its entries: the subtree. */
  readonly subtreeOf: readonly Int32Array[];
  /** By subtree: the images that have it. */
  readonly signatures: readonly number[];
}

export function subtrees(trees: readonly SortedTree[], units: PathUnits, known: Signatures): Subtrees {
  const signatures = [...units.signatures];
  /** What the directories of one path and one set of attributes hold, each kind once. */
  const kinds = new Map<number, { readonly subtree: number; readonly children: readonly number[] }[]>();
  const subtreeAt = (unit: number, children: readonly number[]): number => {
    const there = kinds.get(unit) ?? [];
    const same = there.find((kind) => isSameList(kind.children, children));
    if (same !== undefined) return same.subtree;
    const subtree = signatures.length;
    signatures.push(NO_SIGNATURE);
    kinds.set(unit, [...there, { subtree, children }]);
    return subtree;
  };
  const subtreeOf = trees.map((tree, image) => {
    const found = new Int32Array(tree.entries.length);
    const childrenOf: (number[] | undefined)[] = [];
    // Backwards: what a directory holds comes before it.
    for (let index = tree.entries.length - 1; index >= 0; index -= 1) {
      const unit = units.unitOf[image]?.[index] as number;
      const subtree = isDirectory(tree.entries[index] as RootEntry) ? subtreeAt(unit, childrenOf[index] ?? []) : unit;
      if (subtree !== unit) signatures[subtree] = known.extended(signatures[subtree] as number, image);
      childrenOf[index] = undefined;
      found[index] = subtree;
      const parent = tree.parents[index] as number;
      if (parent === AT_ROOT) continue;
      const siblings = childrenOf[parent];
      if (siblings === undefined) childrenOf[parent] = [subtree];
      else siblings.push(subtree);
    }
    return found;
  });
  return { subtreeOf, signatures };
}

const isSameList = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i]);
