/**
 * The partition that stores least: for every entry of every image the signature of the unit it is stored with. What has one signature
 * makes one layer.
 *
 * Under b a directory's attributes go with what stands below it, into each layer whose images all have them so; only where no such
 * layer tells them to an image are they stored as a unit of their own, in the layer of their signature. Under c everything goes
 * with its top-level entry, and top-level entries that share a file go together.
 */
import { isDirectory, type RootEntry, topLevelOf } from "../overlap/changeset.js";
import { type ImageSet, NO_SIGNATURE, NOBODY, type Signatures } from "./image-sets.js";
import type { PathUnits } from "./path-units.js";
import { AT_ROOT, type SortedTree } from "./sorted-tree.js";
import type { Subtrees } from "./subtrees.js";

export interface Partition {
  /** For each image, for each entry: the images that it is stored for, or NO_SIGNATURE: for a directory, only with what is below. */
  readonly storedFor: readonly Int32Array[];
  /** For each image, for each entry: the images in which a directory has these attributes. */
  readonly toldTo: readonly Int32Array[];
}

/** By paths. */
export function partitionByPath(trees: readonly SortedTree[], units: PathUnits, known: Signatures): Partition {
  const isStored = storedUnits(trees, units, known);
  const signatureOf = (unit: number): number => units.signatures[unit] as number;
  return {
    storedFor: units.unitOf.map((each) =>
      each.map((unit) => (isStored[unit] === 1 ? signatureOf(unit) : NO_SIGNATURE)),
    ),
    toldTo: units.unitOf.map((each) => each.map(signatureOf)),
  };
}

/** By unit: 0 for a directory that what is stored below it tells to every image that has it. */
function storedUnits(trees: readonly SortedTree[], units: PathUnits, known: Signatures): Uint8Array {
  const isStored = new Uint8Array(units.signatures.length);
  const told = new Map<number, ImageSet>();
  // Who stores something below a directory, for images that all have it so, speaks later than the directory or stands behind it.
  for (let image = trees.length - 1; image >= 0; image -= 1) {
    const { entries, parents } = trees[image] as SortedTree;
    const unitOf = units.unitOf[image] as Int32Array;
    /** By directory: the signature that was last told to it from below. */
    const last = new Int32Array(entries.length);
    for (let index = entries.length - 1; index >= 0; index -= 1) {
      const parent = parents[index] as number;
      const unit = unitOf[index] as number;
      const signature = units.signatures[unit] as number;
      if (known.speaker(signature) !== image) continue;
      const { type } = entries[index] as RootEntry;
      if (type === "implied" && parents[index + 1] === index) continue;
      if (type === "dir" && told.get(unit) === known.set(signature)) continue;
      isStored[unit] = 1;
      for (let above = parent; above !== AT_ROOT && last[above] !== signature; above = parents[above] as number) {
        last[above] = signature;
        const directory = unitOf[above] as number;
        if (known.isWithin(signature, units.signatures[directory] as number))
          told.set(directory, (told.get(directory) ?? NOBODY) | known.set(signature));
      }
    }
  }
  return isStored;
}

/** By whole top-level entries. */
export function partitionByTopLevel(
  trees: readonly SortedTree[],
  { subtreeOf }: Subtrees,
  known: Signatures,
): Partition {
  const joined = new Map<string, number>();
  const groups = trees.map((tree) => joinedTopLevels(tree));
  const keys = trees.map((_tree, image) => {
    const tops = groups[image] as readonly (readonly number[])[];
    return tops.map((group) => group.map((top) => subtreeOf[image]?.[top] as number).join(" "));
  });
  for (const [image, each] of keys.entries())
    for (const key of each) joined.set(key, known.extended(joined.get(key) ?? NO_SIGNATURE, image));
  const storedFor = trees.map((tree, image) => {
    const found = new Int32Array(tree.entries.length);
    for (const [nth, group] of (groups[image] as readonly (readonly number[])[]).entries()) {
      const signature = joined.get(keys[image]?.[nth] as string) as number;
      for (const top of group) found[top] = signature;
    }
    for (const [index, parent] of tree.parents.entries())
      if (parent !== AT_ROOT) found[index] = found[parent] as number;
    return found;
  });
  return { storedFor, toldTo: storedFor };
}

/** The top-level entries, those together that a file's names join. */
function joinedTopLevels(tree: SortedTree): number[][] {
  const tops = new Map<string, number>();
  for (const [index, { path }] of tree.entries.entries()) if (tree.parents[index] === AT_ROOT) tops.set(path, index);
  const headOf = new Map<number, number>(Array.from(tops.values(), (top) => [top, top]));
  const find = (top: number): number => {
    let head = top;
    while (headOf.get(head) !== head) head = headOf.get(head) as number;
    return head;
  };
  const topOf = (index: number): number => tops.get(topLevelOf((tree.entries[index] as RootEntry).path)) as number;
  for (const [first, names] of tree.names) {
    for (const name of names) {
      const [a, b] = [find(topOf(first)), find(topOf(name))];
      headOf.set(Math.max(a, b), Math.min(a, b));
    }
  }
  const groups = new Map<number, number[]>();
  for (const top of tops.values()) {
    const head = find(top);
    const group = groups.get(head);
    if (group === undefined) groups.set(head, [top]);
    else group.push(top);
  }
  return [...groups.values()];
}

export interface SignedPortion {
  readonly signature: number;
  bytes: number;
  /** All but directories. */
  entries: number;
}

/** What is stored under each signature, once. */
export function portionsOf(trees: readonly SortedTree[], { storedFor }: Partition, known: Signatures): SignedPortion[] {
  const portions = new Map<number, SignedPortion>();
  for (const [image, tree] of trees.entries()) {
    for (const [index, entry] of tree.entries.entries()) {
      const signature = storedFor[image]?.[index] as number;
      if (signature === NO_SIGNATURE || known.speaker(signature) !== image) continue;
      const portion = portions.get(signature) ?? { signature, bytes: 0, entries: 0 };
      portions.set(signature, portion);
      if (entry.type === "file") portion.bytes += entry.size;
      if (!isDirectory(entry)) portion.entries += 1;
    }
  }
  return [...portions.values()];
}
