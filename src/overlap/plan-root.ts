/**
 * What a root holds, as a pure function of its layers' changesets and the policy (architecture.md, The central idea).
 *
 * It reads no disk and knows no threads. Nothing is linked and then removed: only what the policy lets stand is in the plan.
 */
import { assertNever } from "../errors.js";
import type { Changeset, Entry } from "./changeset.js";
import { disjointRoots } from "./disjoint-roots.js";

/** The overlap policies that this release can plan; b and a come with their own files beside `disjoint-roots.ts`. */
export type PlannedPolicy = "c";

/** One thing of the root: an entry of the layer with this index (lowest first). Whiteouts and unresolved links never appear. */
export interface PlannedEntry {
  readonly layer: number;
  readonly entry: Exclude<Entry, { type: "whiteout" | "opaque" | "unresolved" }>;
}

/** Depth first, a directory before what it holds, every path once. */
export type RootPlan = readonly PlannedEntry[];

export interface ConflictSide {
  readonly layer: number;
  readonly type: Entry["type"];
}

/** A path (bytes, latin1) that the policy lets only one of the sides have. */
export interface PathConflict {
  readonly code: "LAYER_OVERLAP";
  readonly path: string;
  readonly sides: readonly ConflictSide[];
}

/** An entry that the policy has no meaning for: a whiteout, or a hard link to something the layer lacks. */
export interface EntryConflict {
  readonly code: "WHITEOUT" | "HARDLINK_TARGET";
  readonly path: string;
  readonly layer: number;
}

export type Conflict = PathConflict | EntryConflict;

export type PlanResult =
  | { readonly ok: true; readonly plan: RootPlan }
  /** All conflicts, sorted by path (bytes), then layer. */
  | { readonly ok: false; readonly conflicts: readonly Conflict[] };

export function planRoot(changesets: readonly Changeset[], policy: PlannedPolicy): PlanResult {
  switch (policy) {
    case "c":
      return disjointRoots(changesets);
    default:
      return assertNever(policy);
  }
}
