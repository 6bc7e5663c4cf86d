/**
 * An archive's name as a path below the image root, or a refusal (hostile-inputs.md, Paths). Names are bytes (latin1); a
 * backslash is no separator. Refuses, never sanitises: only a leading slash, `.` and empty components mean nothing.
 */
import { StrataError } from "../src/errors.js";
import type { ImageLimits } from "../src/limits.js";
import { printableName } from "../src/printable.js";

/** Components that `normalise` has to look at: empty, `.` or `..`. */
const ODD = /(?:^|\/)\.{0,2}(?:\/|$)/;

/** The normalised path; "" is the image root itself. Codes PATH_TRAVERSAL, BAD_NAME, NAME_TOO_LONG, PATH_TOO_LONG, DEPTH. */
export function parsePath(name: string, limits: ImageLimits): string {
  if (name === "") refusePath("BAD_NAME", "it is empty", name);
  if (name.length > limits.maxPathBytes + 2)
    refusePath("PATH_TOO_LONG", `it is longer than ${limits.maxPathBytes} bytes`, name);
  const path = ODD.test(name) ? normalise(name) : name;
  if (path.includes("\0")) refusePath("BAD_NAME", "it holds a NUL", name);
  if (path.length > limits.maxPathBytes)
    refusePath("PATH_TOO_LONG", `it is longer than ${limits.maxPathBytes} bytes`, name);
  measure(path, name, limits);
  return path;
}

function normalise(name: string): string {
  const kept: string[] = [];
  for (const component of name.split("/")) {
    if (component === "..") refusePath("PATH_TRAVERSAL", "a component is `..`", name);
    if (component !== "" && component !== ".") kept.push(component);
  }
  return kept.join("/");
}

function measure(path: string, name: string, limits: ImageLimits): void {
  let depth = 1;
  let start = 0;
  for (;;) {
    const slash = path.indexOf("/", start);
    const end = slash === -1 ? path.length : slash;
    if (end - start > limits.maxComponentBytes)
      refusePath("NAME_TOO_LONG", `a component is longer than ${limits.maxComponentBytes} bytes`, name);
    if (slash === -1) break;
    depth += 1;
    start = slash + 1;
  }
  if (depth > limits.maxDepth) refusePath("DEPTH", `it is deeper than ${limits.maxDepth} directories`, name);
}

type PathCode = "BAD_NAME" | "PATH_TOO_LONG" | "PATH_TRAVERSAL" | "NAME_TOO_LONG" | "DEPTH";

function refusePath(code: PathCode, fact: string, name: string): never {
  throw new StrataError(code, `Cannot unpack ${printableName(name)}: ${fact}`);
}
