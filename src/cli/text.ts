/**
 * Text on its way to a terminal: escaped once, cut to a width, coloured last.
 *
 * Pure. The width is judged from above (every character beyond ASCII counts as two columns), so that a line never wraps
 * and never needs a table of East Asian widths.
 */
import { printable } from "../printable.js";

/**
 * Text that its maker has already escaped, such as a message or a path in the details of an error: its backslashes stay as
 * they are, and whatever should have been escaped is.
 */
export function shown(text: string, maxBytes = 4096): string {
  const escaped = text
    .slice(0, maxBytes)
    .split("\\")
    .map((part) => printable(part, 4 * maxBytes))
    .join("\\");
  return text.length <= maxBytes ? escaped : `${escaped}…`;
}

/** At least as many columns as a terminal needs for printable text. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) columns += character <= "~" ? 1 : 2;
  return columns;
}

/** Printable text, cut to `columns`; what is cut ends in `~`. */
export function clip(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  let kept = "";
  let used = 1;
  for (const character of text) {
    used += character <= "~" ? 1 : 2;
    if (used > columns) break;
    kept += character;
  }
  return columns < 1 ? "" : `${kept}~`;
}

/** The first 12 digits of a digest, as docker and podman show it. */
export function shortDigest(digest: string): string {
  const hex = digest.slice(digest.indexOf(":") + 1);
  return printable(hex.slice(0, 12), 48);
}

/** `1 layer`, `2 layers`. */
export const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;

export type Style = "bold" | "dim" | "red" | "green" | "yellow";
const codes: Readonly<Record<Style, number>> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 };

export function paint(text: string, style: Style | undefined, color: boolean): string {
  return color && style !== undefined && text !== "" ? `\u001b[${codes[style]}m${text}\u001b[0m` : text;
}
