/**
 * Where links lead: a hard link to a path of its own archive, a symlink to anywhere, which is only told. Pure: looks at names, not at
 * what stands there.
 */
import type { ImageLimits } from "../src/limits.js";
import type { Entry } from "../src/overlap/changeset.js";
import { printableName } from "../src/printable.js";
import { refuseEntry } from "./refuse-entry.js";
import { parsePath } from "./tar-path.js";

/** Hard links in a chain all name the first: one hop is enough for who reads the changeset. */
export const firstName = (of: Entry, target: string): string => (of.type === "hardlink" ? of.target : target);

/** The path that a hard link names, below the image root. HARDLINK_TARGET. */
export function hardlinkTarget(linkName: string, path: string, limits: ImageLimits): string {
  let target: string;
  try {
    target = parsePath(linkName, limits);
  } catch {
    return refuseEntry("HARDLINK_TARGET", path, `its target ${printableName(linkName)} is no path of this archive`);
  }
  if (target === path) refuseEntry("HARDLINK_TARGET", path, "it is a link to itself");
  if (target === "") refuseEntry("HARDLINK_TARGET", path, "its target is the image root");
  return target;
}

/** Whether a symlink points outside the image root when it is read where it stands. */
export function escapes(path: string, target: string): boolean {
  if (target.startsWith("/")) return true;
  let depth = path.split("/").length - 1;
  for (const component of target.split("/")) {
    if (component === "..") depth -= 1;
    else if (component !== "" && component !== ".") depth += 1;
    if (depth < 0) return true;
  }
  return false;
}
