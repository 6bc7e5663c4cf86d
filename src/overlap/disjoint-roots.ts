/**
 * Policy c: the layers of one image share no name at the image root (overlap.md).
 *
 * A root is then whole top-level entries, each from one layer, and a layer's tree is linked as it stands. A whiteout has no
 * lower layer to hide anything in, so it is refused rather than ignored.
 */
import { type Changeset, topLevelNames } from "./changeset.js";
import type { Conflict, ConflictSide, EntryConflict, PlannedEntry, PlanResult } from "./plan-root.js";

export function disjointRoots(changesets: readonly Changeset[]): PlanResult {
  const conflicts = [...overlappingNames(changesets.map(topLevelNames)), ...meaningless(changesets)];
  if (conflicts.length > 0) return { ok: false, conflicts: conflicts.sort(byPathThenLayer) };
  const plan: PlannedEntry[] = [];
  for (const [layer, changeset] of changesets.entries()) {
    for (const entry of changeset) {
      if (entry.type === "whiteout" || entry.type === "opaque" || entry.type === "unresolved") continue;
      plan.push({ layer, entry });
    }
  }
  return { ok: true, plan };
}

/** What layer.json says of a layer that matters to this policy. */
export interface LayerOutline {
  readonly topLevel: readonly (readonly [name: string, type: string])[];
  readonly whiteouts: number;
  readonly unresolved: number;
}

/** The verdict of `disjointRoots` without reading a changeset: the plan then is all entries of all layers, as they stand. */
export function areDisjoint(layers: readonly LayerOutline[]): boolean {
  const names = layers.flatMap(({ topLevel }) => topLevel.map(([name]) => name));
  const meaningful = layers.every(({ whiteouts, unresolved }) => whiteouts === 0 && unresolved === 0);
  return meaningful && new Set(names).size === names.length;
}

/** Every top-level name that more than one layer has, with all its sides. */
export function overlappingNames(topLevels: readonly ReadonlyMap<string, ConflictSide["type"]>[]): Conflict[] {
  const sides = new Map<string, ConflictSide[]>();
  for (const [layer, names] of topLevels.entries()) {
    for (const [name, type] of names) {
      const known = sides.get(name);
      if (known === undefined) sides.set(name, [{ layer, type }]);
      else known.push({ layer, type });
    }
  }
  const shared = [...sides].filter(([, each]) => each.length > 1);
  return shared.map(([path, each]) => ({ code: "LAYER_OVERLAP", path, sides: each }));
}

function meaningless(changesets: readonly Changeset[]): EntryConflict[] {
  const found: EntryConflict[] = [];
  for (const [layer, changeset] of changesets.entries()) {
    for (const { type, path } of changeset) {
      if (type === "whiteout" || type === "opaque") found.push({ code: "WHITEOUT", path, layer });
      if (type === "unresolved") found.push({ code: "HARDLINK_TARGET", path, layer });
    }
  }
  return found;
}

function byPathThenLayer(a: Conflict, b: Conflict): number {
  if (a.path !== b.path) return a.path < b.path ? -1 : 1;
  return lowestLayer(a) - lowestLayer(b);
}

const lowestLayer = (conflict: Conflict): number =>
  conflict.code === "LAYER_OVERLAP" ? Math.min(...conflict.sides.map((side) => side.layer)) : conflict.layer;
