/** Sizes on the command line: a number of bytes, with or without a unit. */
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";
import type { Options } from "./verb.js";

const units: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
};

/** The option `key`, typed as `flag`, for a field that is left out otherwise. USAGE. */
export function bytesOption<Key extends string>(options: Options, key: Key, flag: string): { [key in Key]?: number } {
  const text = options[key];
  if (typeof text !== "string") return {};
  const [, number, unit = "B"] = /^(\d{1,15}(?:\.\d{1,3})?) ?([kKMGT]i?B|B)?$/.exec(text) ?? [];
  const bytes = Math.floor(Number(number) * (units[unit] ?? Number.NaN));
  if (Number.isSafeInteger(bytes)) return { [key]: bytes } as { [key in Key]: number };
  throw new StrataError("USAGE", `Cannot read ${flag}: '${printable(text, 64)}' is no number of bytes`, {
    hint: "Sizes look like 500MB, 2GiB or 1000000.",
  });
}
