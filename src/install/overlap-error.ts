/** Conflicts of a plan as the error that a client sees (overlap.md): sides by layer and digest, paths escaped, a stable order. */
import { StrataError } from "../errors.js";
import { MAX_CONFLICTS_LISTED } from "../limits.js";
import type { Conflict as ListedConflict } from "../messages/plan.js";
import type { Conflict, PlannedPolicy } from "../overlap/plan-root.js";
import { printableName } from "../printable.js";
import type { ResolvedImage } from "../sources/resolve.js";

export interface Overlap {
  readonly conflicts: readonly Conflict[];
  /** How many there are in all; absent where not every layer was looked at. */
  readonly total?: number;
  readonly image: ResolvedImage;
  readonly overlap: PlannedPolicy;
  /** Policies that are proven to accept the image. */
  readonly accepted?: readonly PlannedPolicy[];
}

/** The first conflict's code; LAYER_OVERLAP where any path is shared. */
export function overlapError({ conflicts, total, image, overlap, accepted = [] }: Overlap): StrataError {
  const first = conflicts.find(({ code }) => code === "LAYER_OVERLAP") ?? conflicts[0];
  if (first === undefined) throw new Error("an overlap without a conflict");
  const complete = total !== undefined;
  const more = complete && total > 1 ? `; ${total - 1} more conflict${total > 2 ? "s" : ""}` : "";
  return new StrataError(first.code, `Cannot assemble the root: ${factOf(first, overlap)}${more}`, {
    phase: "link",
    details: {
      policy: overlap,
      complete,
      ...(complete ? { total } : {}),
      conflicts: listedConflicts(conflicts, image),
      hints: hintsOf(accepted),
    },
    ...(accepted[0] === undefined ? {} : { hint: `It fits with --overlap ${accepted.join(" or --overlap ")}.` }),
  });
}

/** The first of them as a client sees them. */
export function listedConflicts(conflicts: readonly Conflict[], image: ResolvedImage): ListedConflict[] {
  const digestOf = (layer: number): string => image.layers[layer]?.descriptor.digest ?? "";
  return conflicts.slice(0, MAX_CONFLICTS_LISTED).map((conflict) => ({
    path: printableName(conflict.path),
    sides: sidesOf(conflict).map(({ layer, type, path }) => ({
      layer,
      digest: digestOf(layer),
      type,
      ...(path === undefined ? {} : { path: printableName(path) }),
    })),
  }));
}

export const hintsOf = (accepted: readonly PlannedPolicy[]): string[] =>
  accepted.map((policy) => `--overlap ${policy} accepts this image`);

interface Side {
  readonly layer: number;
  readonly type: string;
  readonly path?: string;
}

const typeOf = { WHITEOUT: "whiteout", HARDLINK_TARGET: "unresolved" } as const;

const sidesOf = (conflict: Conflict): readonly Side[] =>
  "sides" in conflict ? conflict.sides : [{ layer: conflict.layer, type: typeOf[conflict.code] }];

function factOf(conflict: Conflict, policy: PlannedPolicy): string {
  const path = `\`${printableName(conflict.path)}\``;
  const layers = [...new Set(sidesOf(conflict).map(({ layer }) => layer))];
  const who = layers.length > 1 ? `layers ${listed(layers)}` : `layer ${layers[0]}`;
  const have = layers.length > 2 ? "all have" : "both have";
  switch (conflict.code) {
    case "LAYER_OVERLAP":
      return policy === "c" ? `${who} ${have} ${path} at the root` : `${who} ${have} ${path}`;
    case "WHITEOUT":
      return `${who} hides ${path} of a lower layer, which policy ${policy} does not know`;
    case "HARDLINK_TARGET":
      return policy === "a"
        ? `${path} of ${who} is a hard link to something that no layer below has`
        : `${path} of ${who} is a hard link to something its layer lacks`;
    case "NAME_FOLDING":
      return `to the file system a name of ${who} is the same as ${path}`;
  }
}

const listed = (layers: readonly number[]): string => `${layers.slice(0, -1).join(", ")} and ${layers.at(-1)}`;
