/** Conflicts of a plan as the error that a client sees (overlap.md): sides by layer and digest, paths escaped, a stable order. */
import { StrataError } from "../errors.js";
import { MAX_CONFLICTS_LISTED } from "../limits.js";
import type { Conflict, PlannedPolicy } from "../overlap/plan-root.js";
import { printableName } from "../printable.js";
import type { ResolvedImage } from "../sources/resolve.js";

export interface Overlap {
  readonly conflicts: readonly Conflict[];
  /** How many there are in all; absent where not every layer was looked at. */
  readonly total?: number;
  readonly image: ResolvedImage;
  readonly overlap: PlannedPolicy;
}

/** The first conflict's code; LAYER_OVERLAP where any path is shared. */
export function overlapError({ conflicts, total, image, overlap }: Overlap): StrataError {
  const shared = conflicts.filter((conflict) => conflict.code === "LAYER_OVERLAP");
  const code = shared.length > 0 ? "LAYER_OVERLAP" : (conflicts[0]?.code ?? "LAYER_OVERLAP");
  const digestOf = (layer: number): string => image.layers[layer]?.descriptor.digest ?? "";
  const listed = conflicts.slice(0, MAX_CONFLICTS_LISTED).map((conflict) => ({
    path: printableName(conflict.path),
    sides: ("sides" in conflict ? conflict.sides : [{ layer: conflict.layer, type: typeOf[conflict.code] }]).map(
      ({ layer, type }) => ({ layer, digest: digestOf(layer), type }),
    ),
  }));
  const complete = total !== undefined;
  return new StrataError(code, `Cannot assemble the root: ${fact(code, listed, total)}`, {
    phase: "link",
    details: { policy: overlap, complete, ...(complete ? { total } : {}), conflicts: listed, hints: [] },
  });
}

const typeOf = { WHITEOUT: "whiteout", HARDLINK_TARGET: "unresolved" } as const;

function fact(
  code: Conflict["code"],
  listed: readonly { path: string; sides: readonly { layer: number }[] }[],
  total?: number,
): string {
  const first = listed[0];
  const path = first?.path ?? "";
  const more = total !== undefined && total > 1 ? `, and ${total - 1} more` : "";
  const layers = first?.sides.map(({ layer }) => layer).join(" and ") ?? "";
  switch (code) {
    case "LAYER_OVERLAP":
      return `layers ${layers} both have \`${path}\` at the root${more}`;
    case "WHITEOUT":
      return `layer ${layers} hides \`${path}\` of a lower layer, which policy c does not know${more}`;
    case "HARDLINK_TARGET":
      return `\`${path}\` of layer ${layers} is a hard link to something its layer lacks${more}`;
    case "NAME_FOLDING":
      return `to the file system a name of layers ${layers} is the same as \`${path}\`${more}`;
  }
}
