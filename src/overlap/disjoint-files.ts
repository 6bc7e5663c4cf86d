/**
 * Policy b: layers may share directories, and nothing else (overlap.md).
 *
 * A path that two layers have is a conflict unless it is a directory in both, be the bytes the same or not: no file ever wins
 * over another, and the order of the layers decides nothing but a directory's attributes, which are those of the lowest layer
 * that declares it. It follows that a layer of directories alone may stand twice in an image; any other may not, unless it
 * is empty.
 */
import { isDirectory, isWhiteout } from "./changeset.js";
import { planOf, type Standing, standings } from "./hard-links.js";
import { withoutMeaning } from "./lower-layer-entries.js";
import { PathTree } from "./path-tree.js";
import type { PlacedLayer } from "./placement.js";
import type { ConflictSide, PathConflict, PlanResult } from "./plan-root.js";

export function disjointFiles(layers: readonly PlacedLayer[]): PlanResult {
  const tree = new PathTree<Standing>();
  const collided = new Set<string>();
  for (const [layer, placed] of layers.entries()) {
    for (const standing of standings(layer, placed)) {
      const { entry } = standing;
      const node = tree.at(entry.path);
      const below = node.value?.entry;
      if (below === undefined) node.value = standing;
      else if (!isDirectory(below) || !isDirectory(entry)) collided.add(entry.path);
      // A directory that a layer declares beats one that only follows from what it holds.
      else if (below.type === "implied" && entry.type === "dir") node.value = standing;
    }
  }
  const conflicts = [...collisions(layers, collided), ...withoutMeaning(layers)];
  return conflicts.length > 0 ? { ok: false, conflicts } : { ok: true, plan: planOf(tree) };
}

/** What each layer has at these paths. */
function collisions(layers: readonly PlacedLayer[], paths: ReadonlySet<string>): PathConflict[] {
  if (paths.size === 0) return [];
  const sides = new Map<string, ConflictSide[]>(Array.from(paths, (path) => [path, []]));
  for (const [layer, { entries }] of layers.entries()) {
    for (const { entry } of entries) {
      if (isWhiteout(entry)) continue;
      sides.get(entry.path)?.push({ layer, type: isDirectory(entry) ? "dir" : entry.type });
    }
  }
  return Array.from(sides, ([path, each]) => ({ code: "LAYER_OVERLAP", path, sides: each }));
}
