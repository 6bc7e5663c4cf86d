/** Sizes as a person reads and writes them: in listings, in messages, in flags and in settings. */

const units = ["kB", "MB", "GB", "TB", "PB"] as const;

/** `999 B`, `1.2 kB`, `34.5 MB`: powers of ten, as docker prints sizes. */
export function formatSize(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  let size = bytes / 1000;
  let unit = 0;
  while (size >= 999.95 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${size.toFixed(1)} ${units[unit]}`;
}

const factors: Readonly<Record<string, number>> = {
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
export const SIZE_HINT = "Sizes look like 500MB, 2GiB or 1000000.";

/** Bytes of a number with or without a unit: `2GiB`, `500 MB`, `1000000`; undefined for any other text. */
export function parseSize(text: string): number | undefined {
  const [, number, unit = "B"] = /^(\d{1,15}(?:\.\d{1,3})?) ?([kKMGT]i?B|B)?$/.exec(text) ?? [];
  const bytes = Math.floor(Number(number) * (factors[unit] ?? Number.NaN));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}
