/**
 * Names that start in `.wh.` (image-spec v1.1 layer.md, Whiteouts; aufs): never anything in a tree. They hide something of lower layers, or
 * are what aufs kept for itself. Pure.
 */
import type { Whiteout } from "../src/overlap/changeset.js";

export const WHITEOUT = ".wh.";
const AUFS = ".wh..wh.";
export const OPAQUE = ".wh..wh..opq";

export type ReservedName =
  | { readonly kind: "whiteout"; readonly mark: Whiteout }
  /** aufs' own: not part of the image. */
  | { readonly kind: "aufs" }
  /** Something stands below the whiteout of that name. */
  | { readonly kind: "directory"; readonly name: string }
  /** It would hide the directory that it stands in, or the one above. */
  | { readonly kind: "nothing" };

/** Undefined for every other path. */
export function reservedName(path: string): ReservedName | undefined {
  if (!path.includes(WHITEOUT)) return undefined;
  const components = path.split("/");
  const first = components.find((component) => component.startsWith(WHITEOUT));
  if (first === undefined) return undefined;
  if (first.startsWith(AUFS) && first !== OPAQUE) return { kind: "aufs" };
  if (components.indexOf(first) < components.length - 1) return { kind: "directory", name: first };
  const hidden = first.slice(WHITEOUT.length);
  if (hidden === "" || hidden === "." || hidden === "..") return { kind: "nothing" };
  const above = path.slice(0, -first.length);
  const mark: Whiteout =
    first === OPAQUE ? { type: "opaque", path: above.slice(0, -1) } : { type: "whiteout", path: above + hidden };
  return { kind: "whiteout", mark };
}
