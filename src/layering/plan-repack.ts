/**
 * Which layers a set of images is stored in, as a pure function of their trees (overlap.md, cli.md): what is identical in the
 * same images goes to one layer, which is the least that can be stored.
 *
 * It reads no disk and knows no threads, no tar and no compression. An image never gets what it did not have, and under its
 * policy its layers are, entry for entry, its tree.
 */
import type { RootEntry } from "../overlap/changeset.js";
import { capped } from "./capped-layers.js";
import { figuresOf } from "./figures.js";
import { type HoistOptions, hoistShared } from "./hoist.js";
import { resolvedTree } from "./hoisted-links.js";
import { Signatures } from "./image-sets.js";
import { partitionByPath, partitionByTopLevel, portionsOf, type SignedPortion } from "./partition.js";
import { type PathUnits, pathUnits } from "./path-units.js";
import { type Copies, sharedLayers } from "./shared-layers.js";
import { ADDED, type SortedTree, sortedTree } from "./sorted-tree.js";
import { type Subtrees, subtrees } from "./subtrees.js";

/** What one image's root holds, depth first, as a RootPlan's entries stand. */
export type ImageTree = readonly RootEntry[];

export interface RepackOptions {
  /** c: whole top-level entries; b: paths. Hard links join what they lead across. */
  readonly policy: "c" | "b";
  /** At most so many layers in any one image; at least 1. */
  readonly maxLayers?: number | undefined;
  /** A layer with less content than this is merged into others where that costs least; it stays where an image has nothing else. */
  readonly minLayerBytes?: number | undefined;
  /**
   * Under c only: what images share below a top-level entry goes to a directory of its own, with links in its place. A path that
   * `keeps` names (bytes, latin1) stays as it is, with all below it, and so does every directory above it. Absent: nothing is hoisted,
   * and what was hoisted before stays as it stands.
   */
  readonly hoist?: { readonly keeps: (path: string) => boolean } | undefined;
}

/** An entry of a layer, and where it comes from. */
export interface RepackedEntry {
  /** With the path in the layer; a hard link's target is a file that stands before it in this layer. */
  readonly entry: RootEntry;
  /** An image that has it, and not always one of the layer's own. */
  readonly image: number;
  /**
   * Which entry of that image's tree: for a file always a `file`, whose content it has. Undefined for what repack adds: hoisted
   * links, and directories that only lead to what stands below them.
   */
  readonly source?: number;
}

export interface RepackedLayer {
  /** Whose it is (indexes), ascending. */
  readonly images: readonly number[];
  /** A changeset: depth first, names in the order of their bytes. Empty only in the one layer of images that hold nothing. */
  readonly entries: readonly RepackedEntry[];
  /** Of content; a file with several names counts once. */
  readonly bytes: number;
}

export interface RepackPlan {
  /** The most widely shared first, then in the order of their entries. */
  readonly layers: readonly RepackedLayer[];
  /** For each image its layers (indexes, ascending) in the manifest's order; at least one. */
  readonly images: readonly (readonly number[])[];
  readonly figures: RepackFigures;
}

/** All bytes are of content, uncompressed; a file with several names counts once. */
export interface RepackFigures {
  /** All images' trees together. */
  readonly beforeBytes: number;
  /** All layers together. */
  readonly afterBytes: number;
  /** If each image were one layer; equal images have the same. */
  readonly oneLayerEachBytes: number;
  /** If each content were stored once, wherever it stands: no layering can do better. */
  readonly perFileBytes: number;
  /** Who shares what, before any cap, the most widely shared first: `entries` counts all but directories. */
  readonly sharing: readonly { readonly images: readonly number[]; readonly bytes: number; readonly entries: number }[];
  /** What policy b would not store again, before any cap, and at which paths: some of them, the costliest first, as deep as there is room. */
  readonly lostToPolicy: {
    readonly bytes: number;
    readonly paths: readonly { readonly path: string; readonly bytes: number }[];
  };
  readonly caps: CapFigures;
  /** Only where hoisting was asked for. */
  readonly hoist?: HoistFigures;
}

export interface CapFigures {
  /** none: the caps changed nothing; exact: no layering within them stores less; greedy: it stores the least that was found. */
  readonly method: "none" | "exact" | "greedy";
  readonly duplicatedBytes: number;
  /** What every layering within the caps duplicates at least. */
  readonly atLeastBytes: number;
}

export interface HoistFigures {
  /** Links left in the place of what was hoisted, all images together. */
  readonly links: number;
  /** Content below the directories that hoisting made; each is counted once. */
  readonly bytes: number;
  /** Images (indexes) nothing is hoisted out of: they have names like those that hoisting makes. */
  readonly left: readonly number[];
}

/**
 * The same trees, whatever the order of their siblings, and options give the same plan. Another order of the images gives the same layers
 * in the same order, unless a cap had to be kept: then it may keep it in another way, at the same cost where that is exact.
 */
export function planRepack(images: readonly ImageTree[], options: RepackOptions): RepackPlan {
  const hoist = options.policy === "c" ? options.hoist : undefined;
  const before = images.map((tree) =>
    hoist === undefined ? { tree: sortedTree(tree), isForeign: false } : resolvedTree(tree),
  );
  const trees = before.map(({ tree }) => tree);
  const known = new Signatures();
  const units = pathUnits(trees, known);
  const hoisted =
    hoist === undefined ? { trees: trees.map(ownSources) } : hoistedTrees(before, { units, known, keeps: hoist.keeps });
  const partition =
    options.policy === "b"
      ? partitionByPath(trees, units, known)
      : partitionByTopLevel(
          hoisted.trees,
          wholeSubtrees(hoisted.trees, hoist === undefined ? units : undefined, known),
          known,
        );
  const portions = portionsOf(hoisted.trees, partition, known);
  const { copies, caps } = copiesWithin(portions, options, known);
  const stored = hoisted.trees.map((tree, image) => withSourcesOf(tree, trees[image] as SortedTree));
  const layers = sharedLayers(stored, partition, { known, copies });
  return {
    layers,
    images: images.map((_tree, image) => layers.flatMap((layer, at) => (layer.images.includes(image) ? [at] : []))),
    figures: {
      ...figuresOf({ trees, units, hoisted: hoisted.trees, partition, portions, known }),
      afterBytes: layers.reduce((sum, { bytes }) => sum + bytes, 0),
      caps,
      ...("figures" in hoisted ? { hoist: hoisted.figures } : {}),
    },
  };
}

/** Nothing is hoisted out of images that have names like those that hoisting makes. */
function hoistedTrees(
  before: readonly Before[],
  options: HoistOptions,
): { trees: readonly SortedTree[]; figures: HoistFigures } {
  const own = before.flatMap(({ isForeign }, image) => (isForeign ? [] : [image]));
  const left = before.flatMap(({ isForeign }, image) => (isForeign ? [image] : []));
  const { trees, links, bytes } = hoistShared(
    own.map((image) => (before[image] as Before).tree),
    left.length === 0 ? options : amongThemselves(before, options),
  );
  const all = before.map(({ tree }, image) => trees[own.indexOf(image)] ?? ownSources(tree));
  return { trees: all, figures: { links, bytes, left } };
}

interface Before {
  readonly tree: SortedTree;
  readonly isForeign: boolean;
}

/** What images share with those that nothing is hoisted out of does not count: their numbers are among themselves. */
function amongThemselves(before: readonly Before[], options: HoistOptions): HoistOptions {
  const known = new Signatures();
  const trees = before.flatMap(({ tree, isForeign }) => (isForeign ? [] : [tree]));
  return { ...options, units: pathUnits(trees, known), known };
}

/** `units` are known where they are the trees' own. */
const wholeSubtrees = (trees: readonly SortedTree[], units: PathUnits | undefined, known: Signatures): Subtrees =>
  subtrees(trees, units ?? pathUnits(trees, known), known);

function copiesWithin(
  portions: readonly SignedPortion[],
  options: RepackOptions,
  known: Signatures,
): { copies: Copies; caps: CapFigures } {
  const { maxLayers = Number.POSITIVE_INFINITY, minLayerBytes = 0 } = options;
  const stored = portions.map(({ signature, bytes, entries }) => ({ images: known.set(signature), bytes, entries }));
  const { parts, figures } = capped(stored, { maxLayers, minLayerBytes });
  return { copies: new Map(portions.map(({ signature }, nth) => [signature, parts[nth] ?? []])), caps: figures };
}

const ownSources = (tree: SortedTree): SortedTree => ({ ...tree, sources: tree.entries.map((_entry, index) => index) });

/** A tree made of another one, as if made of what that was made of. */
const withSourcesOf = (tree: SortedTree, former: SortedTree): SortedTree => ({
  ...tree,
  sources: tree.sources.map((source) => (source === ADDED ? ADDED : (former.sources[source] as number))),
});
