/** Sizes as a person reads them, in listings and in messages. */

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
