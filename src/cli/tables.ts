/**
 * Aligned tables that are still good input for grep and awk: no borders, two blanks between columns, none at the end.
 *
 * Pure. Cells must be printable already; an empty cell becomes `-`, so that columns keep their number.
 */
import { columnsOf } from "./text.js";

/** One line for each row, the header first where there is one. */
export function formatTable(header: readonly string[] | undefined, rows: readonly (readonly string[])[]): string[] {
  const cells = (header === undefined ? rows : [header, ...rows]).map((row) =>
    row.map((cell) => (cell === "" ? "-" : cell)),
  );
  const widths: number[] = [];
  for (const row of cells) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, columnsOf(cell));
  }
  return cells.map((row) =>
    row
      .map((cell, index) => cell + " ".repeat((widths[index] ?? 0) - columnsOf(cell)))
      .join("  ")
      .trimEnd(),
  );
}
