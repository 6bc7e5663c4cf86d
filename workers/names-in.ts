/** The names in a directory of the store. */
import { readdirSync } from "node:fs";
import type { Listed } from "../src/scan-tasks.js";
import { fromHere } from "./disk-path.js";

export interface Names {
  /** What names with the suffix have before it. */
  readonly ids: string[];
  readonly temporaries: string[];
}

/** Those that end in `temporary` were never finished. */
export function namesIn({ directory, suffix }: Listed, temporary?: string): Names {
  const found: Names = { ids: [], temporaries: [] };
  for (const name of readdirSync(fromHere(directory))) {
    // No id begins so: a probe of a start that was killed.
    if (name.startsWith(".")) continue;
    if (name.endsWith(suffix)) found.ids.push(name.slice(0, name.length - suffix.length));
    else if (temporary !== undefined && name.endsWith(temporary)) found.temporaries.push(name);
  }
  return found;
}
