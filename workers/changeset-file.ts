/**
 * A stored changeset as a worker reads it: checked against the hash that layer.json has, and cut into parts of whole lines that
 * link tasks share.
 */
import { hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { StrataError } from "../src/errors.js";
import { decodeEntries, type Entry } from "../src/overlap/changeset.js";
import type { ChangesetFile } from "../src/tasks.js";

const NEWLINE = 0x0a;
/** Size and SHA-256 of nothing, as fields of a line. */
const EMPTY = `\t0\t${hash("sha256", "", "hex")}\t`;

/** STORE_CORRUPT where it is not what was committed. */
export function readChangeset({ path, sha256 }: ChangesetFile): StoredChangeset {
  const bytes = readFileSync(path);
  if (hash("sha256", bytes, "hex") !== sha256)
    throw new StrataError("STORE_CORRUPT", `Cannot read ${path}: it is not the changeset that was committed`);
  return new StoredChangeset(bytes);
}

export class StoredChangeset {
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The entries of part `index` of `of`: each entry stands in exactly one, and the parts follow each other. */
  part(index: number, of: number): Generator<Entry> {
    return decodeEntries(this.#bytes.toString("latin1", this.#border(index, of), this.#border(index + 1, of)));
  }

  /** The files without content, found by the hash that they all have: the other entries are not decoded. */
  *emptyFiles(): Generator<Entry> {
    for (let at = this.#bytes.indexOf(EMPTY); at !== -1; at = this.#bytes.indexOf(EMPTY, at + 1)) {
      const line = this.#bytes.lastIndexOf(NEWLINE, at) + 1;
      yield* decodeEntries(this.#bytes.toString("latin1", line, this.#bytes.indexOf(NEWLINE, at) + 1));
    }
  }

  /** The first entry behind part `index`; undefined behind the last. */
  following(index: number, of: number): Entry | undefined {
    const at = this.#border(index + 1, of);
    return decodeEntries(this.#bytes.toString("latin1", at, this.#bytes.indexOf(NEWLINE, at) + 1)).next().value;
  }

  /** Where part `index` starts: behind a newline, the header's at the latest. */
  #border(index: number, of: number): number {
    const header = this.#bytes.indexOf(NEWLINE) + 1;
    if (index === 0) return header;
    const at = header + Math.floor(((this.#bytes.length - header) * index) / of);
    return this.#bytes.indexOf(NEWLINE, at - 1) + 1;
  }
}
