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

  entries(): Generator<Entry> {
    return this.part(0, 1);
  }

  /** The entries of part `index` of `of`: each entry stands in exactly one, and the parts follow each other. */
  part(index: number, of: number): Generator<Entry> {
    return decodeEntries(this.#bytes.toString("latin1", this.#border(index, of), this.#border(index + 1, of)));
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
