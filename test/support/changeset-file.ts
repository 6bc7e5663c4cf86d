/** The entries of a changeset's file, read as latin1: all at once, where workers read a line at a time. */
import assert from "node:assert/strict";
import { decodeEntry, type Entry } from "../../src/overlap/changeset.js";

export function entriesIn(text: string): Entry[] {
  const [header, ...lines] = text.split("\n");
  assert.deepEqual([header, lines.pop()], ["stratad-changeset 1", ""]);
  return lines.map(decodeEntry);
}
