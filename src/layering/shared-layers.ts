/**
 * Layers out of a partition: for each set of images that is kept a layer, and in it what is stored for them.
 *
 * The first of a layer's images has all of it, so that its tree, gone through once, gives the entries of each of its layers in order.
 */
import { byteOrder, encodeEntry, type RootEntry } from "../overlap/changeset.js";
import {
  byImages,
  type ImageSet,
  imagesOf,
  isWithin,
  NO_SIGNATURE,
  NOBODY,
  only,
  type Signatures,
} from "./image-sets.js";
import type { Partition } from "./partition.js";
import type { RepackedEntry, RepackedLayer } from "./plan-repack.js";
import { ADDED, AT_ROOT, byDepthFirst, contentBytes, type SortedTree } from "./sorted-tree.js";

/** By signature: the disjoint sets that it is stored for, each with a copy. */
export type Copies = ReadonlyMap<number, readonly ImageSet[]>;

interface Filling {
  readonly images: ImageSet;
  readonly speaker: number;
  readonly entries: RepackedEntry[];
  /** Directories (indexes in the speaker's tree) that it has. */
  readonly directories: Set<number>;
  bytes: number;
}

/** Ordered as a RepackPlan's; images that have nothing at all share an empty layer. */
export function sharedLayers(
  trees: readonly SortedTree[],
  partition: Partition,
  { known, copies }: { readonly known: Signatures; readonly copies: Copies },
): RepackedLayer[] {
  const fillings = new Map<ImageSet, Filling>();
  const fillingFor = (images: ImageSet): Filling => {
    const there = fillings.get(images);
    if (there !== undefined) return there;
    const made = {
      images,
      speaker: imagesOf(images)[0] as number,
      entries: [],
      directories: new Set<number>(),
      bytes: 0,
    };
    fillings.set(images, made);
    return made;
  };
  for (const [image, tree] of trees.entries()) {
    const storedFor = partition.storedFor[image] as Int32Array;
    const toldTo = partition.toldTo[image] as Int32Array;
    const fillingOf = new Map<number, Filling>();
    const find = (signature: number): Filling => {
      const set = copies.get(signature)?.find((images) => isWithin(only(image), images)) ?? known.set(signature);
      const filling = fillingFor(set);
      fillingOf.set(signature, filling);
      return filling;
    };
    for (const [index, signature] of storedFor.entries()) {
      if (signature === NO_SIGNATURE) continue;
      const filling = fillingOf.get(signature) ?? find(signature);
      if (filling.speaker !== image || filling.directories.has(index)) continue;
      for (const above of missingAbove(tree, index, filling)) {
        const tells = isWithin(filling.images, known.set(toldTo[above] as number));
        add(filling, tree, above, tells);
      }
      add(filling, tree, index, true);
    }
  }
  return [...fillings.values(), ...emptyLayer(trees)].map(layerOf).sort(byWidth);
}

/** The directories that the filling does not have yet, the outermost first. */
function missingAbove({ parents }: SortedTree, index: number, { directories }: Filling): number[] {
  const missing: number[] = [];
  for (
    let above = parents[index] as number;
    above !== AT_ROOT && !directories.has(above);
    above = parents[above] as number
  )
    missing.push(above);
  return missing.reverse();
}

function add(filling: Filling, tree: SortedTree, index: number, asItIs: boolean): void {
  const entry = tree.entries[index] as RootEntry;
  const source = tree.sources[index] as number;
  const image = filling.speaker;
  if (entry.type === "dir" || entry.type === "implied") filling.directories.add(index);
  filling.bytes += contentBytes(entry);
  if (!asItIs) filling.entries.push({ entry: { type: "implied", path: entry.path }, image });
  else filling.entries.push(source === ADDED ? { entry, image } : { entry, image, source });
}

function emptyLayer(trees: readonly SortedTree[]): Filling[] {
  const images = trees.flatMap(({ entries }, image) => (entries.length === 0 ? [image] : []));
  if (images.length === 0) return [];
  const set = images.reduce((all, image) => all | only(image), NOBODY);
  return [{ images: set, speaker: images[0] as number, entries: [], directories: new Set(), bytes: 0 }];
}

const layerOf = ({ images, entries, bytes }: Filling): RepackedLayer => ({ images: imagesOf(images), entries, bytes });

/** The widest first, so that images share the layers that others are stacked on; else by what they hold, whatever the images' order. */
function byWidth(a: RepackedLayer, b: RepackedLayer): number {
  const width = b.images.length - a.images.length;
  if (width !== 0) return width;
  for (const [i, { entry }] of a.entries.entries()) {
    const other = b.entries[i]?.entry;
    const order = other === undefined ? 1 : byEntry(entry, other);
    if (order !== 0) return order;
  }
  return a.entries.length - b.entries.length || byImages(a.images, b.images);
}

const byEntry = (a: RootEntry, b: RootEntry): number =>
  byDepthFirst(a.path, b.path) || byteOrder(encodeEntry(a), encodeEntry(b));
