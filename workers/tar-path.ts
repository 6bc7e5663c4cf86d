/**
 * An archive's name as a path below the image root, or a refusal (hostile-inputs.md, Paths). Names are bytes (latin1); a
 * backslash is no separator. Refuses, never sanitises: only a leading slash, `.` and empty components mean nothing.
 */
import type { ImageLimits } from "../src/limits.js";
import { refuseEntry } from "./refuse-entry.js";

/** Components that `normalise` has to look at: empty, `.` or `..`. */
const ODD = /(?:^|\/)\.{0,2}(?:\/|$)/;

/** The normalised path; "" is the image root itself. Codes PATH_TRAVERSAL, BAD_NAME, NAME_TOO_LONG, PATH_TOO_LONG, DEPTH. */
export function parsePath(name: string, limits: ImageLimits): string {
  if (name === "") refuseEntry("BAD_NAME", name, "it is empty");
  if (name.length > limits.maxPathBytes + 2)
    refuseEntry("PATH_TOO_LONG", name, `it is longer than ${limits.maxPathBytes} bytes`);
  const path = ODD.test(name) ? normalise(name) : name;
  if (path.includes("\0")) refuseEntry("BAD_NAME", name, "it holds a NUL");
  if (path.length > limits.maxPathBytes)
    refuseEntry("PATH_TOO_LONG", name, `it is longer than ${limits.maxPathBytes} bytes`);
  measure(path, name, limits);
  return path;
}

function normalise(name: string): string {
  const kept: string[] = [];
  for (const component of name.split("/")) {
    if (component === "..") refuseEntry("PATH_TRAVERSAL", name, "a component is `..`");
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
      refuseEntry("NAME_TOO_LONG", name, `a component is longer than ${limits.maxComponentBytes} bytes`);
    if (slash === -1) break;
    depth += 1;
    start = slash + 1;
  }
  if (depth > limits.maxDepth) refuseEntry("DEPTH", name, `it is deeper than ${limits.maxDepth} directories`);
}
