/**
 * Policy c: the layers of one image share no name at the image root (overlap.md).
 *
 * A root is then whole top-level entries, each from one layer, and a layer's tree is linked as it stands. A whiteout has no
 * lower layer to hide anything in, so it is refused rather than ignored.
 */
import { topLevelNames } from "./changeset.js";
import { plannedEntry, standings } from "./hard-links.js";
import { withoutMeaning } from "./lower-layer-entries.js";
import type { PlacedLayer } from "./placement.js";
import type { Conflict, ConflictSide, PlannedEntry, PlanResult } from "./plan-root.js";

export function disjointRoots(layers: readonly PlacedLayer[]): PlanResult {
  const names = layers.map(({ entries }) => topLevelNames(entries.map(({ entry }) => entry)));
  const conflicts = [...overlappingNames(names), ...withoutMeaning(layers)];
  if (conflicts.length > 0) return { ok: false, conflicts };
  const plan: PlannedEntry[] = [];
  for (const [layer, placed] of layers.entries())
    for (const standing of standings(layer, placed)) plan.push(plannedEntry(standing.entry.path, standing));
  return { ok: true, plan };
}

/** What layer.json says of a layer that matters to this policy. */
export interface LayerOutline {
  readonly topLevel: readonly (readonly [name: string, type: string])[];
  readonly whiteouts: number;
  readonly unresolved: number;
}

/**
 * The verdict of `disjointRoots` on layers without a placement, without reading a changeset: the plan then is all entries of all
 * layers, as they stand.
 */
export function areDisjoint(layers: readonly LayerOutline[]): boolean {
  const others = new DisjointLayers();
  return layers.every((layer) => others.add(layer));
}

/** As `areDisjoint`, of layers that come one after another. */
export class DisjointLayers {
  readonly #names = new Set<string>();

  /** Whether it may stand beside those before it. */
  add({ topLevel, whiteouts, unresolved }: LayerOutline): boolean {
    if (whiteouts + unresolved > 0) return false;
    const before = this.#names.size;
    for (const [name] of topLevel) this.#names.add(name);
    return this.#names.size === before + topLevel.length;
  }
}

/** Every top-level name that more than one layer has, with all its sides. */
function overlappingNames(topLevels: readonly ReadonlyMap<string, ConflictSide["type"]>[]): Conflict[] {
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
