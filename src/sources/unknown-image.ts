/** The error of a place that holds images, and not the one that is asked for. */
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";
import type { Files } from "./files.js";

/** Tags that an error lists. */
const MAX_LISTED = 20;

export function unknownImage({ path }: Pick<Files, "path">, fact: string, tags: readonly string[]): StrataError {
  const known = new Set(tags);
  const available = [...known].slice(0, MAX_LISTED).map((tag) => printable(tag));
  const more = known.size > available.length ? ` and ${known.size - available.length} more` : "";
  const there =
    available.length === 0 ? "" : `; there ${available.length === 1 ? "is" : "are"} ${available.join(", ")}${more}`;
  return new StrataError("MANIFEST_UNKNOWN", `Cannot find the image in ${printable(path)}: ${fact}${there}`, {
    details: { available },
    ...(available.length === 0 ? {} : { hint: "Name one of the tags in the reference." }),
  });
}
