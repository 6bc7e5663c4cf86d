/**
 * A stored changeset or plan as a worker reads it: checked against the hash that its document has, and cut into parts of whole lines
 * that link tasks share. Read a piece at a time: it may be larger than what a worker may hold.
 */
import { createHash, hash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { StrataError } from "../src/errors.js";
import { decodeEntry, type Entry } from "../src/overlap/changeset.js";
import { decodePlanned } from "../src/overlap/plan-file.js";
import type { PlannedEntry } from "../src/overlap/plan-root.js";
import type { EntriesFile } from "../src/root-tasks.js";

const PIECE_BYTES = 1024 * 1024;
const NEWLINE = 0x0a;
/** Size and SHA-256 of nothing, as fields of a line. */
const EMPTY = `\t0\t${hash("sha256", "", "hex")}\t`;
/** In every line of a hard link, in few others. */
const HARD_LINK = "h\t";

/** Gives the file's entries to `use`, as long as that runs. STORE_CORRUPT where it is not what was committed. */
export function withEntries<Value>({ kind, path, sha256 }: EntriesFile, use: (entries: StoredEntries) => Value): Value {
  const descriptor = openSync(path, "r");
  try {
    const entries = new StoredEntries(descriptor, kind === "plan" ? decodePlanned : asPlanned);
    if (entries.sha256() !== sha256)
      throw new StrataError("STORE_CORRUPT", `Cannot read ${path}: it is not the ${kind} that was committed`);
    return use(entries);
  } finally {
    closeSync(descriptor);
  }
}

/** A layer as it stands is a plan of its own, but for what no root can hold. */
function asPlanned(line: string): PlannedEntry {
  const entry = decodeEntry(line);
  if (entry.type === "whiteout" || entry.type === "opaque" || entry.type === "unresolved")
    throw new Error(`a ${entry.type} is nothing to link`);
  return { layer: 0, from: entry.path, entry };
}

export class StoredEntries {
  readonly #descriptor: number;
  readonly #size: number;
  readonly #decode: (line: string) => PlannedEntry;

  /** The descriptor stays the caller's. */
  constructor(descriptor: number, decode: (line: string) => PlannedEntry) {
    this.#descriptor = descriptor;
    this.#decode = decode;
    this.#size = fstatSync(descriptor).size;
  }

  sha256(): string {
    const sum = createHash("sha256");
    for (const piece of this.#pieces(0, this.#size)) sum.update(piece);
    return sum.digest("hex");
  }

  /** The entries of part `index` of `of`: each entry stands in exactly one, and the parts follow each other. */
  *part(index: number, of: number): Generator<PlannedEntry> {
    for (const line of this.#lines(this.#border(index, of), this.#border(index + 1, of))) yield this.#decode(line);
  }

  /** A changeset, whiteouts and unresolved links too; all of it, or a part. */
  *unplanned(index = 0, of = 1): Generator<Entry> {
    for (const line of this.#lines(this.#border(index, of), this.#border(index + 1, of))) yield decodeEntry(line);
  }

  /** The files without content, found by the hash that they all have: the other entries are not decoded. */
  emptyFiles(): Generator<PlannedEntry> {
    return this.#holding(EMPTY);
  }

  /** Names of files that have another one. */
  *hardLinks(): Generator<PlannedEntry["entry"] & { readonly type: "hardlink" }> {
    for (const { entry } of this.#holding(HARD_LINK)) if (entry.type === "hardlink") yield entry;
  }

  /** Of all files that have further names, by their path: where the layer has them. */
  firstNames(): ReadonlyMap<string, string> {
    const targets = new Set<string>();
    for (const { target } of this.hardLinks()) targets.add(target);
    const names = new Map<string, string>();
    for (const { from, entry } of this.part(0, 1)) if (targets.has(entry.path)) names.set(entry.path, from);
    return names;
  }

  *#holding(text: string): Generator<PlannedEntry> {
    for (const lines of this.#blocks(this.#border(0, 1), this.#size)) {
      for (let at = lines.indexOf(text); at !== -1; ) {
        const end = lines.indexOf("\n", at);
        yield this.#decode(lines.slice(lines.lastIndexOf("\n", at) + 1, end));
        at = lines.indexOf(text, end);
      }
    }
  }

  /** The first entry behind part `index`; undefined behind the last. */
  following(index: number, of: number): PlannedEntry | undefined {
    for (const line of this.#lines(this.#border(index + 1, of), this.#size)) return this.#decode(line);
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

  /** Line by line, without their ends; `from` and `to` are borders. */
  *#lines(from: number, to: number): Generator<string> {
    for (const lines of this.#blocks(from, to)) {
      for (let at = 0; at < lines.length; ) {
        const end = lines.indexOf("\n", at);
        yield lines.slice(at, end);
        at = end + 1;
      }
    }
  }

  /** Whole lines, some at a time. */
  *#blocks(from: number, to: number): Generator<string> {
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
