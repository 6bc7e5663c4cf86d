/**
 * Units of policy b: a path with all that it is, the same in some of the images. A file's names are one unit with it, wherever they
 * stand; a directory's attributes are a unit, without what it holds.
 */
import type { FileEntry, RootEntry } from "../overlap/changeset.js";
import { NO_SIGNATURE, type Signatures } from "./image-sets.js";
import type { SortedTree } from "./sorted-tree.js";

export interface PathUnits {
  /** For each tree, for each of its entries: the unit (a number from 0). */
  readonly unitOf: readonly Int32Array[];
  /** By unit: the images that have it. */
  readonly signatures: readonly number[];
  /** By unit: the first image that has it, and the entry there; of a file with several names the first. */
  readonly speakers: readonly { readonly image: number; readonly index: number }[];
}

export function pathUnits(trees: readonly SortedTree[], known: Signatures): PathUnits {
  const unitOf: Int32Array[] = [];
  const signatures: number[] = [];
  const speakers: { image: number; index: number }[] = [];
  /** By path the unit found last, and from each unit to the one before it. */
  const latest = new Map<string, number>();
  const before: (number | undefined)[] = [];
  const unitAt = (tree: SortedTree, image: number, index: number): number => {
    const { path } = tree.entries[index] as RootEntry;
    const last = latest.get(path);
    for (let unit = last; unit !== undefined; unit = before[unit]) {
      const speaker = speakers[unit] as { image: number; index: number };
      if (isSame(trees[speaker.image] as SortedTree, speaker.index, tree, index)) return unit;
    }
    const unit = signatures.length;
    before.push(last);
    latest.set(path, unit);
    speakers.push({ image, index });
    signatures.push(NO_SIGNATURE);
    return unit;
  };
  for (const [image, tree] of trees.entries()) {
    const units = new Int32Array(tree.entries.length);
    unitOf.push(units);
    for (const [index, { type }] of tree.entries.entries()) {
      if (type === "hardlink") continue;
      const unit = unitAt(tree, image, index);
      signatures[unit] = known.extended(signatures[unit] as number, image);
      units[index] = unit;
      for (const name of tree.names.get(index) ?? []) units[name] = unit;
    }
  }
  return { unitOf, signatures, speakers };
}

/** Of two entries at the same path. */
function isSame(tree: SortedTree, index: number, other: SortedTree, at: number): boolean {
  const [a, b] = [tree.entries[index] as RootEntry, other.entries[at] as RootEntry];
  switch (a.type) {
    case "implied":
      return b.type === "implied" && holdsNothing(tree, index) === holdsNothing(other, at);
    case "dir":
      return b.type === "dir" && a.mode === b.mode && a.mtime === b.mtime;
    case "symlink":
      return b.type === "symlink" && a.target === b.target && a.mtime === b.mtime;
    case "file":
      return b.type === "file" && isSameFile(a, b) && haveSameNames(tree, index, other, at);
    case "hardlink":
      return false;
  }
}

/** Such a directory follows from nothing, and has to be stored. */
const holdsNothing = ({ parents }: SortedTree, index: number): boolean => parents[index + 1] !== index;

const isSameFile = (a: FileEntry, b: FileEntry): boolean =>
  a.sha256 === b.sha256 && a.size === b.size && a.mode === b.mode && a.mtime === b.mtime;

function haveSameNames(tree: SortedTree, index: number, other: SortedTree, at: number): boolean {
  const [names, others] = [tree.names.get(index) ?? [], other.names.get(at) ?? []];
  if (names.length !== others.length) return false;
  return names.every((name, i) => tree.entries[name]?.path === other.entries[others[i] as number]?.path);
}
