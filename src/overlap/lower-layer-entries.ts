/**
 * Entries that say something about lower layers: whiteouts, and hard links to what their own layer lacks. A policy that never
 * looks below a layer (c, b) has no meaning for them, and refuses instead of ignoring them.
 */
import { isWhiteout } from "./changeset.js";
import type { PlacedLayer } from "./placement.js";
import type { EntryConflict } from "./plan-root.js";

/** A conflict for each of them. */
export function withoutMeaning(layers: readonly PlacedLayer[]): EntryConflict[] {
  const found: EntryConflict[] = [];
  for (const [layer, { entries }] of layers.entries()) {
    for (const { entry } of entries) {
      const { path } = entry;
      if (isWhiteout(entry)) found.push({ code: "WHITEOUT", path, layer });
      if (entry.type === "unresolved") found.push({ code: "HARDLINK_TARGET", path, layer });
    }
  }
  return found;
}
