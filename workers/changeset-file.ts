/**
 * A stored changeset as a worker reads it: checked against the hash that layer.json has, and cut into parts of whole lines that
 * link tasks share.
 */
import { hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { StrataError } from "../src/errors.js";
import { decodeEntries, type Entry, isChangeset } from "../src/overlap/changeset.js";
import type { ChangesetFile } from "../src/tasks.js";

/** STORE_CORRUPT where it is not what was committed. */
export function readChangeset({ path, sha256 }: ChangesetFile): StoredChangeset {
  const bytes = readFileSync(path);
  const text = bytes.toString("latin1");
  if (hash("sha256", bytes, "hex") !== sha256 || !isChangeset(text)) {
    throw new StrataError("STORE_CORRUPT", `Cannot read ${path}: it is not the changeset that was committed`);
  }
  return new StoredChangeset(text);
}

export class StoredChangeset {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  entries(): Generator<Entry> {
    return decodeEntries(this.#text, this.#border(0, 1), this.#text.length);
  }

  /** The entries of part `index` of `of`: each entry stands in exactly one, and the parts follow each other. */
  part(index: number, of: number): Generator<Entry> {
    return decodeEntries(this.#text, this.#border(index, of), this.#border(index + 1, of));
  }

  /** The first entry behind part `index`; undefined behind the last. */
  following(index: number, of: number): Entry | undefined {
    return decodeEntries(this.#text, this.#border(index + 1, of), this.#text.length).next().value;
  }

  /** Where part `index` starts: behind a newline, the header's at the latest. */
  #border(index: number, of: number): number {
    const header = this.#text.indexOf("\n") + 1;
    if (index === 0) return header;
    const at = header + Math.floor(((this.#text.length - header) * index) / of);
    return this.#text.indexOf("\n", at - 1) + 1;
  }
}
