/**
 * Which layers a set of images is stored in, as a pure function of their trees (overlap.md, cli.md): what is identical in the
 * same images goes to one layer, which is the least that can be stored.
 *
 * It reads no disk and knows no threads, no tar and no compression. An image never gets what it did not have, and under its
 * policy its layers are, entry for entry, its tree.
 */
import type { FileEntry, RootEntry } from "../overlap/changeset.js";

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
  /** What policy b would not store again, before any cap: disjoint paths that add up to it, the costliest first. */
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
  /** Images nothing is hoisted out of: they have names like those that hoisting makes, or symlinks that lead too far. */
  readonly left: readonly number[];
}

/** The same trees, whatever the order of their siblings, and options give the same plan. */
export function planRepack(images: readonly ImageTree[], _options: RepackOptions): RepackPlan {
  const layers = images.map((tree, image): RepackedLayer => {
    const entries = tree.map((entry, source) => ({ entry, image, source }));
    return { images: [image], entries, bytes: contentBytes(tree) };
  });
  const bytes = layers.reduce((sum, layer) => sum + layer.bytes, 0);
  return {
    layers,
    images: images.map((_tree, image) => [image]),
    figures: {
      beforeBytes: bytes,
      afterBytes: bytes,
      oneLayerEachBytes: bytes,
      perFileBytes: bytes,
      sharing: layers.map((layer) => ({ images: layer.images, bytes: layer.bytes, entries: layer.entries.length })),
      lostToPolicy: { bytes: 0, paths: [] },
      caps: { method: "none", duplicatedBytes: 0, atLeastBytes: 0 },
    },
  };
}

const contentBytes = (tree: ImageTree): number =>
  tree.filter((entry): entry is FileEntry => entry.type === "file").reduce((sum, { size }) => sum + size, 0);
