/**
 * The tasks of a repack that are neither unpacking nor packing: partition, and the comparison of what was made with what was read. Plain data
 * both ways, as tasks.ts lists them.
 */
import type { RepackFigures } from "./layering/plan-repack.js";
import type { ImageLimits } from "./limits.js";
import type { Folding } from "./overlap/name-folding.js";
import type { EntriesFile } from "./root-tasks.js";

/** What one image's root holds: its plan, and for each layer of the plan which of all stored layers that is. */
export interface TreeFile {
  readonly plan: EntriesFile;
  readonly layers: readonly number[];
}

/** Image trees into the layers that they are to be stored in. */
export interface PartitionTask {
  readonly trees: readonly TreeFile[];
  readonly policy: "c" | "b";
  readonly maxLayers: number;
  readonly minLayerBytes: number;
  /** Absent: nothing is hoisted. Globs (keep-glob.ts) of paths that stay as they are. */
  readonly hoist?: { readonly keep: readonly string[] };
  /** Times after this become this (SOURCE_DATE_EPOCH, in seconds). */
  readonly latestMtime?: number;
  /** Where a plan of each layer is written. */
  readonly directory: string;
}

export interface PartitionedLayer {
  /** Its entries, with the stored layer that each is from. */
  readonly file: EntriesFile;
  /** Whose it is (indexes), ascending. */
  readonly images: readonly number[];
  readonly entries: number;
  /** Of content. */
  readonly bytes: number;
}

export interface PartitionResult {
  readonly layers: readonly PartitionedLayer[];
  /** For each image its layers, in the manifest's order. */
  readonly images: readonly (readonly number[])[];
  readonly figures: RepackFigures;
}

/** One image's layers, unpacked anew, against the tree that it was made of. */
export interface VerifyRepackedTask {
  readonly tree: TreeFile;
  /** Changesets, the lowest first. */
  readonly layers: readonly EntriesFile[];
  readonly policy: "c" | "b";
  readonly latestMtime?: number;
  readonly folding?: Folding;
  readonly limits: ImageLimits;
}

export interface VerifyRepackedResult {
  /** What is different, the first of it, ready to be shown; empty where nothing is. */
  readonly differences: readonly string[];
}
