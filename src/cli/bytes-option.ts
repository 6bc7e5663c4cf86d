/** Options that are sizes: a number of bytes, with or without a unit. */
import { parseSize, SIZE_HINT } from "../byte-size.js";
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";
import type { Options } from "./verb.js";

/** The option `key`, typed as `flag`, for a field that is left out otherwise. USAGE. */
export function bytesOption<Key extends string>(options: Options, key: Key, flag: string): { [key in Key]?: number } {
  const text = options[key];
  if (typeof text !== "string") return {};
  const bytes = parseSize(text);
  if (bytes !== undefined) return { [key]: bytes } as { [key in Key]: number };
  throw new StrataError("USAGE", `Cannot read ${flag}: '${printable(text, 64)}' is no number of bytes`, {
    hint: SIZE_HINT,
  });
}
