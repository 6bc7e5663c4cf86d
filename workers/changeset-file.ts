/**
 * A stored changeset as a worker reads it: checked against the hash that layer.json has, and cut into parts of whole lines that
 * link tasks share. Read a piece at a time: a changeset may be larger than what a worker may hold.
 */
import { createHash, hash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { StrataError } from "../src/errors.js";
import { decodeEntries, type Entry } from "../src/overlap/changeset.js";
import type { ChangesetFile } from "../src/tasks.js";

const PIECE_BYTES = 1024 * 1024;
const NEWLINE = 0x0a;
/** Size and SHA-256 of nothing, as fields of a line. */
const EMPTY = `\t0\t${hash("sha256", "", "hex")}\t`;

/** Gives the changeset to `use`, as long as that runs. STORE_CORRUPT where it is not what was committed. */
export function withChangeset<Value>(
  { path, sha256 }: ChangesetFile,
  use: (changeset: StoredChangeset) => Value,
): Value {
  const descriptor = openSync(path, "r");
  try {
    const changeset = new StoredChangeset(descriptor);
    if (changeset.sha256() !== sha256)
      throw new StrataError("STORE_CORRUPT", `Cannot read ${path}: it is not the changeset that was committed`);
    return use(changeset);
  } finally {
    closeSync(descriptor);
  }
}

export class StoredChangeset {
  readonly #descriptor: number;
  readonly #size: number;

  /** The descriptor stays the caller's. */
  constructor(descriptor: number) {
    this.#descriptor = descriptor;
    this.#size = fstatSync(descriptor).size;
  }

  sha256(): string {
    const sum = createHash("sha256");
    for (const piece of this.#pieces(0, this.#size)) sum.update(piece);
    return sum.digest("hex");
  }

  /** The entries of part `index` of `of`: each entry stands in exactly one, and the parts follow each other. */
  *part(index: number, of: number): Generator<Entry> {
    for (const lines of this.#lines(this.#border(index, of), this.#border(index + 1, of))) yield* decodeEntries(lines);
  }

  /** The files without content, found by the hash that they all have: the other entries are not decoded. */
  *emptyFiles(): Generator<Entry> {
    for (const lines of this.#lines(this.#border(0, 1), this.#size)) {
      for (let at = lines.indexOf(EMPTY); at !== -1; at = lines.indexOf(EMPTY, at + 1)) {
        const line = lines.lastIndexOf("\n", at) + 1;
        yield* decodeEntries(lines.slice(line, lines.indexOf("\n", at) + 1));
      }
    }
  }

  /** The first entry behind part `index`; undefined behind the last. */
  following(index: number, of: number): Entry | undefined {
    for (const lines of this.#lines(this.#border(index + 1, of), this.#size)) return decodeEntries(lines).next().value;
    return undefined;
  }

  /** Where part `index` starts: behind a newline, the header's at the latest. */
  #border(index: number, of: number): number {
    const header = this.#behindNewline(0);
    return index === 0 ? header : this.#behindNewline(header + Math.floor(((this.#size - header) * index) / of) - 1);
  }

  #behindNewline(from: number): number {
    let start = from;
    for (const piece of this.#pieces(from, this.#size, 4096)) {
      const at = piece.indexOf(NEWLINE);
      if (at !== -1) return start + at + 1;
      start += piece.length;
    }
    return this.#size;
  }

  /** Whole lines, some at a time; `from` and `to` are borders. */
  *#lines(from: number, to: number): Generator<string> {
    let begun = "";
    for (const piece of this.#pieces(from, to)) {
      const end = piece.lastIndexOf(NEWLINE) + 1;
      if (end > 0) yield begun + piece.toString("latin1", 0, end);
      begun = (end > 0 ? "" : begun) + piece.toString("latin1", end);
    }
  }

  /** Each piece is only valid until the next. */
  *#pieces(from: number, to: number, pieceBytes = PIECE_BYTES): Generator<Buffer> {
    const buffer = Buffer.allocUnsafe(Math.min(pieceBytes, to - from));
    for (let at = from; at < to; ) {
      const bytes = readSync(this.#descriptor, buffer, 0, Math.min(buffer.length, to - at), at);
      if (bytes === 0) return;
      yield buffer.subarray(0, bytes);
      at += bytes;
    }
  }
}
