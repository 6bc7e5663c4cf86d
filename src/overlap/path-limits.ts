/**
 * Bounds on a path that no archive had, but that a root would have: below a prefix, or through a symlink of a lower layer.
 */
import { StrataError } from "../errors.js";
import type { ImageLimits } from "../limits.js";
import { printableName } from "../printable.js";

export type PathLimits = Pick<ImageLimits, "maxPathBytes" | "maxComponentBytes" | "maxDepth">;

/** PATH_TOO_LONG, NAME_TOO_LONG, DEPTH. */
export function refuseFarPath(path: string, { maxPathBytes, maxComponentBytes, maxDepth }: PathLimits): void {
  if (path.length > maxPathBytes) refuse("PATH_TOO_LONG", path, `in the root it is longer than ${maxPathBytes} bytes`);
  let depth = 0;
  for (let start = 0; start <= path.length; depth += 1) {
    const slash = path.indexOf("/", start);
    const end = slash === -1 ? path.length : slash;
    if (end - start > maxComponentBytes)
      refuse("NAME_TOO_LONG", path, `in the root it has a name of more than ${maxComponentBytes} bytes`);
    start = end + 1;
  }
  if (depth > maxDepth) refuse("DEPTH", path, `in the root it is deeper than ${maxDepth} directories`);
}

function refuse(code: "PATH_TOO_LONG" | "NAME_TOO_LONG" | "DEPTH", path: string, fact: string): never {
  throw new StrataError(code, `Cannot plan ${printableName(path)}: ${fact}`);
}
