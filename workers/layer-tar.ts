/**
 * Entries with the trees of stored layers as a tar: a layer as it stands, from its changeset and its tree, or what a repack makes of
 * several. The same entries give the same bytes, whatever archives they came from, and unpacking those gives the same changeset.
 *
 * Whiteouts come first, since a careless reader would let one hide what its own layer brought; then the entries as the changeset has
 * them. Of a file with several names the first that comes is the file and the others link to it, since every reader needs it in this
 * order.
 */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, readSync } from "node:fs";
import { StrataError, systemErrorCode } from "../src/errors.js";
import type { Entry, FileEntry } from "../src/overlap/changeset.js";
import { printableName } from "../src/printable.js";
import { openToRead } from "./open-to-read.js";
import type { OpenTrees } from "./open-trees.js";
import { OPAQUE, WHITEOUT } from "./reserved-name.js";
import { END_OF_TAR, padding, tarHeader } from "./tar-encode.js";

const PIECE_BYTES = 256 * 1024;
const EMPTY_FILE = { type: "file", mode: 0o644, mtime: 0 } as const;

/** An entry, and which tree has it where. */
export interface SourcedEntry {
  readonly layer: number;
  readonly from: string;
  readonly entry: Entry;
}

type SourcedFile = SourcedEntry & { readonly entry: FileEntry };

export class LayerTar {
  readonly #entries: () => Iterable<SourcedEntry>;
  readonly #trees: OpenTrees;
  readonly #piece = Buffer.allocUnsafe(PIECE_BYTES);
  /** Files with further names, by the path that their entry has for them. */
  readonly #linked = new Map<string, SourcedFile>();
  /** Under which name each of them stands in the tar. */
  readonly #written = new Map<string, string>();

  /** `entries` gives the same at each call; `trees` stays the caller's. */
  constructor(entries: () => Iterable<SourcedEntry>, trees: OpenTrees) {
    this.#entries = entries;
    this.#trees = trees;
  }

  /** Each piece is only valid until the next. STORE_CORRUPT where a tree is not what the entries say. */
  *pieces(): Generator<Buffer> {
    yield* this.#whiteouts();
    this.#findLinked();
    for (const sourced of this.#entries()) yield* this.#entry(sourced);
    yield END_OF_TAR;
  }

  *#whiteouts(): Generator<Buffer> {
    for (const { entry } of this.#entries()) {
      if (entry.type === "opaque") yield tarHeader({ ...EMPTY_FILE, name: below(entry.path, OPAQUE) });
      else if (entry.type === "whiteout") {
        const slash = entry.path.lastIndexOf("/") + 1;
        yield tarHeader({ ...EMPTY_FILE, name: `${entry.path.slice(0, slash)}${WHITEOUT}${entry.path.slice(slash)}` });
      }
    }
  }

  #findLinked(): void {
    const targets = new Set<string>();
    for (const { entry } of this.#entries()) if (entry.type === "hardlink") targets.add(entry.target);
    if (targets.size === 0) return;
    for (const { entry, ...source } of this.#entries())
      if (entry.type === "file" && targets.has(entry.path)) this.#linked.set(entry.path, { entry, ...source });
  }

  *#entry({ entry, ...source }: SourcedEntry): Generator<Buffer> {
    switch (entry.type) {
      case "dir":
        yield tarHeader({ type: "dir", name: `${entry.path}/`, mode: entry.mode, mtime: entry.mtime });
        return;
      case "file":
        yield* this.#linked.has(entry.path)
          ? this.#name(entry.path, { entry, ...source })
          : this.#file(entry.path, { entry, ...source });
        return;
      case "hardlink":
        yield* this.#name(
          entry.path,
          this.#linked.get(entry.target) ?? corrupt(entry.path, "its first name is missing"),
        );
        return;
      case "symlink": {
        const { path: name, mtime, target: linkName } = entry;
        yield tarHeader({ type: "symlink", name, mode: 0o777, mtime, linkName });
        return;
      }
      case "unresolved":
        // The attributes are those of a file in another layer.
        yield tarHeader({ type: "hardlink", name: entry.path, mode: 0o644, mtime: 0, linkName: entry.target });
        return;
      case "implied":
      case "whiteout":
      case "opaque":
        return;
    }
  }

  /** One of the names of a file. */
  *#name(path: string, file: SourcedFile): Generator<Buffer> {
    const { path: first, mode, mtime } = file.entry;
    const linkName = this.#written.get(first);
    if (linkName === undefined) {
      this.#written.set(first, path);
      yield* this.#file(path, file);
    } else {
      yield tarHeader({ type: "hardlink", name: path, mode, mtime, linkName });
    }
  }

  *#file(path: string, { entry: { mode, mtime, size, sha256 }, ...source }: SourcedFile): Generator<Buffer> {
    yield tarHeader({ type: "file", name: path, mode, mtime, size });
    const descriptor = this.#open(path, source);
    try {
      const stat = fstatSync(descriptor);
      if (!stat.isFile() || stat.size !== size) corrupt(path, `it is no file of ${size} bytes`);
      const hash = createHash("sha256");
      for (let left = size; left > 0; ) {
        const bytes = readSync(descriptor, this.#piece, 0, Math.min(left, PIECE_BYTES), null);
        if (bytes === 0) corrupt(path, "it became shorter");
        const piece = this.#piece.subarray(0, bytes);
        hash.update(piece);
        yield piece;
        left -= bytes;
      }
      if (hash.digest("hex") !== sha256) corrupt(path, "its content was changed");
    } finally {
      closeSync(descriptor);
    }
    yield padding(size);
  }

  #open(path: string, { layer, from }: Omit<SourcedEntry, "entry">): number {
    try {
      return openToRead(this.#trees.of(layer).at(from));
    } catch (error) {
      const errno = systemErrorCode(error);
      if (errno === "ENOENT" || errno === "ENOTDIR" || errno === "ELOOP" || errno === "ENXIO") corrupt(path, errno);
      throw error;
    }
  }
}

const below = (directory: string, name: string): string => (directory === "" ? name : `${directory}/${name}`);

function corrupt(path: string, fact: string): never {
  throw new StrataError("STORE_CORRUPT", `Cannot pack ${printableName(path)}: it is not what was unpacked, ${fact}`);
}
