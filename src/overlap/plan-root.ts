/**
 * What a root holds, as a pure function of its layers' changesets and the policy (architecture.md, The central idea).
 *
 * It reads no disk and knows no threads. Nothing is linked and then removed: only what the policy lets stand is in the plan.
 *
 * The way through this folder: a layer's changeset (changeset.ts) is put where its annotations ask for (placement.ts); one
 * file for each policy makes of the placed layers a plan or conflicts: c disjoint-roots.ts, b disjoint-files.ts,
 * a stacked-changesets.ts with merged-root.ts; hard-links.ts says which files of a plan are one; name-folding.ts
 * refuses names that the file system would not keep apart.
 */
import { imageLimits } from "../limits.js";
import { byteOrder, type Entry, type RootEntry } from "./changeset.js";
import { disjointFiles } from "./disjoint-files.js";
import { disjointRoots } from "./disjoint-roots.js";
import { foldedNames } from "./name-folding.js";
import type { PathLimits } from "./path-limits.js";
import type { PlacedLayer } from "./placement.js";
import { stackedChangesets } from "./stacked-changesets.js";

/**
 * Which layers may meet in one root: c, no two with a name at the image root in common; b, no two with a path in common that
 * is not a directory in both; a, any, as image-spec says.
 */
export type PlannedPolicy = "c" | "b" | "a";

/** One path of a root, and the layer (by index, the lowest first) that it comes from. Whiteouts and unresolved links never appear. */
export interface PlannedEntry {
  readonly layer: number;
  /** The path in that layer's tree: a file is linked or copied from there. "" for a directory that no layer's tree has. */
  readonly from: string;
  /** With the path in the root. A hard link's target is a path of the root too: a file that stands before it. */
  readonly entry: RootEntry;
}

/** Depth first: a directory before what it holds, all of a directory's entries together, every path once. */
export type RootPlan = readonly PlannedEntry[];

export interface ConflictSide {
  readonly layer: number;
  readonly type: Entry["type"];
}

/** A path (bytes, latin1) that the policy lets only one of the sides have. */
export interface PathConflict {
  readonly code: "LAYER_OVERLAP";
  readonly path: string;
  /** The lowest layer first. */
  readonly sides: readonly ConflictSide[];
}

/** An entry that the policy has no meaning for: a whiteout, or a hard link to something that is not there. */
export interface EntryConflict {
  readonly code: "WHITEOUT" | "HARDLINK_TARGET";
  readonly path: string;
  readonly layer: number;
}

/** Names of one directory that the file system takes for the same. */
export interface FoldingConflict {
  readonly code: "NAME_FOLDING";
  /** The first of the sides' paths. */
  readonly path: string;
  /** In the order of their paths. */
  readonly sides: readonly (ConflictSide & { readonly path: string })[];
}

export type Conflict = PathConflict | EntryConflict | FoldingConflict;

export type PlanResult =
  | { readonly ok: true; readonly plan: RootPlan }
  /** All conflicts, sorted by path (bytes), then layer. */
  | { readonly ok: false; readonly conflicts: readonly Conflict[] };

export interface PlanOptions {
  readonly policy: PlannedPolicy;
  /** What the state's file system makes of a name, where it does not keep all names apart (`foldName`). */
  readonly folds?: ((name: string) => string) | undefined;
  /** Of paths that come about through a lower layer's symlink. */
  readonly limits?: PathLimits;
}

/**
 * The same layers and options give the same plan, in the same order. Throws PATH_TOO_LONG, NAME_TOO_LONG, DEPTH and BAD_LINK where
 * symlinks lead too far (only under a). `NAME_FOLDING` is judged on a plan, so it is found only where there is no other conflict.
 */
export function planRoot(layers: readonly PlacedLayer[], options: PlanOptions): PlanResult {
  const result = policyResult(layers, options);
  if (!result.ok) return refused(result.conflicts);
  const folded = options.folds === undefined ? [] : foldedNames(result.plan, options.folds);
  return folded.length > 0 ? refused(folded) : result;
}

function policyResult(layers: readonly PlacedLayer[], { policy, limits = imageLimits }: PlanOptions): PlanResult {
  switch (policy) {
    case "c":
      return disjointRoots(layers);
    case "b":
      return disjointFiles(layers);
    case "a":
      return stackedChangesets(layers, limits);
  }
}

const refused = (conflicts: readonly Conflict[]): PlanResult => ({ ok: false, conflicts: conflicts.toSorted(byPath) });

/** The order in which conflicts are told: by path (bytes), then layer. */
export const byPath = (a: Conflict, b: Conflict): number =>
  byteOrder(a.path, b.path) || lowestLayer(a) - lowestLayer(b) || byteOrder(a.code, b.code);

const lowestLayer = (conflict: Conflict): number =>
  "layer" in conflict ? conflict.layer : Math.min(...conflict.sides.map(({ layer }) => layer));
