/**
 * Globs of paths that a repack shall leave as they are. `*` and `?` stand for what is between two slashes, `**` for any number of
 * components; nothing else is special. Paths are bytes (latin1), and so is what a glob matches. Pure.
 */
import { parentPath } from "../overlap/changeset.js";

/** Whether any of the globs (text) names the path or a directory that it is in. */
export function keepGlobs(globs: readonly string[]): (path: string) => boolean {
  if (globs.length === 0) return () => false;
  const pattern = new RegExp(`^(?:${globs.map(source).join("|")})$`, "s");
  const known = new Map<string, boolean>();
  const keeps = (path: string): boolean => {
    if (path === "") return false;
    const there = known.get(path);
    if (there !== undefined) return there;
    const kept = keeps(parentPath(path)) || pattern.test(path);
    known.set(path, kept);
    return kept;
  };
  return keeps;
}

function source(glob: string): string {
  const components = Buffer.from(glob)
    .toString("latin1")
    .split("/")
    .filter((component) => component !== "" && component !== ".");
  // Each component with its slash, so that `**` may stand for none.
  const parts = components.map((component, index) => {
    const isLast = index === components.length - 1;
    if (component === "**") return isLast ? ".+" : "(?:[^/]+/)*";
    return `${escaped(component)}${isLast ? "" : "/"}`;
  });
  return parts.join("");
}

const escaped = (component: string): string =>
  component
    .replace(/[\\^$.|+()[\]{}]/g, "\\$&")
    .replaceAll(/\*+/g, "[^/]*")
    .replaceAll("?", "[^/]");
