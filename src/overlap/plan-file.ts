/**
 * A plan as a file: a line for each entry of the root, depth first, as a changeset has it, and before it which layer it is from and
 * where that layer's tree has it. Kept beside the root that was made of it.
 */
import { decodeEntry, type Entry, encodeEntry, escapeField, unescapeField } from "./changeset.js";
import type { PlannedEntry } from "./plan-root.js";

const HEADER = "stratad-plan 1";
const LINES_PER_PIECE = 4096;
/** The layer has the entry under the path that it has in the root. */
const SAME = "=";

/** The file's text in pieces of some hundred KiB; write it as latin1. */
export function* encodePlan(plan: Iterable<PlannedEntry>): Generator<string> {
  let piece = `${HEADER}\n`;
  let lines = 0;
  for (const { layer, from, entry } of plan) {
    const place = from === entry.path ? SAME : `:${escapeField(from)}`;
    piece += `${layer}\t${place}\t${encodeEntry(entry)}\n`;
    lines += 1;
    if (lines % LINES_PER_PIECE === 0) {
      yield piece;
      piece = "";
    }
  }
  yield piece;
}

/** One line behind the header, without its end. Throws a plain Error on anything that `encodePlan` does not write. */
export function decodePlanned(line: string): PlannedEntry {
  const first = line.indexOf("\t");
  const second = line.indexOf("\t", first + 1);
  const place = line.slice(first + 1, second);
  const layer = Number(line.slice(0, first));
  const entry = decodeEntry(line.slice(second + 1));
  if (first < 1 || second === -1 || !Number.isSafeInteger(layer) || !stands(entry))
    throw new Error("not a line of a plan");
  return { layer, from: place === SAME ? entry.path : unescapeField(place.slice(1)), entry };
}

const stands = (entry: Entry): entry is PlannedEntry["entry"] =>
  entry.type !== "whiteout" && entry.type !== "opaque" && entry.type !== "unresolved";
