/**
 * The guard: reads the raw 512-byte blocks of a tar and hands out its entries, or refuses the archive (hostile-inputs.md,
 * Framing).
 *
 * Where readers of tar differ, it refuses instead of choosing: framing, checksums, numbers, PAX and GNU long headers, the end
 * marker. Names are bytes, one in each character (latin1). It never looks at a path's meaning (tree-writer.ts) nor at the disk.
 */
import { StrataError } from "../src/errors.js";
import type { ImageLimits } from "../src/limits.js";
import { printable, printableName } from "../src/printable.js";
import type { TarCode, TarEntry, TarSink, TarType } from "./tar-entry.js";
import { BLOCK, isZeroBlock, parseHeader, type RawHeader } from "./tar-header.js";
import { type PaxRecords, parsePax } from "./tar-pax.js";

type State = "header" | "extension" | "body" | "padding" | "marker";

interface Extension {
  readonly type: "x" | "g" | "L" | "K";
  readonly size: number;
}

export class TarGuard {
  readonly #sink: TarSink;
  readonly #limits: ImageLimits;
  #state: State = "header";
  /** Bytes still to come of the body, the padding or the extension. */
  #remaining = 0;
  #padding = 0;
  #entries = 0;
  /** Whose body is read. */
  #last: Place = {};
  /** A header block, or an extension with its padding, that is not complete in one chunk. */
  #held = Buffer.alloc(0);
  #heldBytes = 0;
  #extension: Extension | undefined;
  #pax: PaxRecords | undefined;
  #longName: string | undefined;
  #longLink: string | undefined;
  #extensionBlocks: Buffer[] = [];

  constructor(sink: TarSink, limits: ImageLimits) {
    this.#sink = sink;
    this.#limits = limits;
  }

  get entries(): number {
    return this.#entries;
  }

  /** The next bytes of the tar, any number of them. Throws the TAR_* and LIMIT_* codes, with `entryIndex` in the details. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case "header":
          at = this.#takeHeader(chunk, at);
          break;
        case "extension":
          at = this.#takeExtension(chunk, at);
          break;
        case "body":
          at = this.#takeBody(chunk, at);
          break;
        case "padding":
          at = this.#takePadding(chunk, at);
          break;
        case "marker":
          if (!isZeroBlock(chunk, at, chunk.length))
            this.#refuse("TAR_TRAILING_DATA", "data after the end of the archive");
          at = chunk.length;
          break;
      }
    }
  }

  /** No more bytes follow. An archive cut exactly between entries is whole as far as a tar can tell: the diffID decides. */
  finish(): void {
    if (this.#state === "marker" || this.#state === "padding") return;
    if (this.#state === "body") this.#refuse("TAR_TRUNCATED", "it ends within an entry", this.#last);
    if (this.#state !== "header" || this.#heldBytes > 0) this.#refuse("TAR_TRUNCATED", "it ends within a header");
    this.#refuseDangling();
    if (this.#entries === 0) this.#refuse("TAR_TRUNCATED", "it is empty, without even an end marker");
  }

  #takeHeader(chunk: Buffer, at: number): number {
    if (this.#heldBytes === 0 && chunk.length - at >= BLOCK) {
      this.#header(chunk, at);
      return at + BLOCK;
    }
    const taken = Math.min(BLOCK - this.#heldBytes, chunk.length - at);
    this.#hold(chunk, at, taken, BLOCK);
    if (this.#heldBytes === BLOCK) this.#header(this.#release(), 0);
    return at + taken;
  }

  #header(block: Buffer, at: number): void {
    if (block[at] === 0 && isZeroBlock(block, at, at + BLOCK)) {
      this.#refuseDangling();
      this.#state = "marker";
      return;
    }
    const header = parseHeader(block, at, (code, fact) => this.#refuse(code, fact));
    switch (header.typeflag) {
      case "x":
      case "g":
      case "L":
      case "K":
        this.#beginExtension(header.typeflag, header, block.subarray(at, at + BLOCK));
        break;
      default:
        this.#beginEntry(header, block, at);
    }
  }

  #beginExtension(type: Extension["type"], header: RawHeader, block: Buffer): void {
    const { size } = header;
    if (size > this.#limits.maxHeaderBytes) this.#refuse("TAR_HEADER_TOO_BIG", `an extended header of ${size} bytes`);
    if (type === "x" && this.#pax !== undefined) this.#refuse("TAR_PAX", "two extended headers for one entry");
    const gnu = this.#longName !== undefined || this.#longLink !== undefined;
    if ((type === "x" && gnu) || ((type === "L" || type === "K") && this.#pax !== undefined)) {
      this.#refuse("TAR_MIXED_EXT", "a PAX and a GNU extended header for one entry");
    }
    if ((type === "L" && this.#longName !== undefined) || (type === "K" && this.#longLink !== undefined)) {
      this.#refuse("TAR_MIXED_EXT", "two GNU long names for one entry");
    }
    if (type === "g" && (gnu || this.#pax !== undefined))
      this.#refuse("TAR_PAX", "a global header between an extended header and its entry");
    this.#extensionBlocks.push(Buffer.from(block));
    this.#extension = { type, size };
    this.#remaining = padded(size);
    if (this.#remaining > 0) this.#state = "extension";
    else this.#endExtension(Buffer.alloc(0));
  }

  #takeExtension(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#remaining - this.#heldBytes, chunk.length - at);
    this.#hold(chunk, at, taken, this.#remaining);
    if (this.#heldBytes === this.#remaining) this.#endExtension(this.#release());
    return at + taken;
  }

  #endExtension(padded: Buffer): void {
    const { type, size } = this.#extension as Extension;
    this.#extension = undefined;
    this.#state = "header";
    const body = padded.subarray(0, size);
    if (padded.length > 0) this.#extensionBlocks.push(padded);
    switch (type) {
      case "x":
        this.#pax = parsePax(body, (code, fact) => this.#refuse(code, fact));
        if (this.#pax.sparse) this.#refuse("TAR_SPARSE", "a sparse file");
        return;
      case "g": {
        const { path, linkpath, size: paxSize, sparse } = parsePax(body, (code, fact) => this.#refuse(code, fact));
        if (sparse) this.#refuse("TAR_SPARSE", "a global header for sparse files");
        if (path !== undefined || linkpath !== undefined || paxSize !== undefined) {
          this.#refuse("TAR_PAX", "a global header that names a path, a link or a size");
        }
        this.#extensionBlocks = [];
        return;
      }
      case "L":
        this.#longName = this.#longText(padded, size);
        return;
      case "K":
        this.#longLink = this.#longText(padded, size);
        return;
    }
  }

  /** GNU long names end in one NUL, which some writers leave out; some readers look for it beyond the size. */
  #longText(padded: Buffer, size: number): string {
    const nul = padded.subarray(0, size).indexOf(0);
    const end = nul === -1 ? size : nul;
    const text = padded.toString("latin1", 0, end);
    if (!isZeroBlock(padded, end, padded.length))
      this.#refuse("TAR_AMBIGUOUS", "a long name with bytes after its NUL or its size");
    if (text === "") this.#refuse("BAD_NAME", "an empty long name");
    return text;
  }

  #beginEntry(header: RawHeader, block: Buffer, at: number): void {
    const pax = this.#pax;
    const name = pax?.path ?? this.#longName ?? header.name;
    const entry: TarEntry = {
      index: this.#entries,
      type: this.#typeOf(header, name),
      name,
      linkName: pax?.linkpath ?? this.#longLink ?? header.linkName,
      mode: header.mode,
      mtime: clampTime(pax?.mtime ?? header.mtime),
      size: pax?.size ?? header.size,
      owned: header.owned,
      xattrs: pax?.xattrs ?? 0,
      blocks: this.#evidence(header, block, at),
    };
    this.#refuseShape(entry, header);
    this.#pax = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#sink.entry(entry);
    this.#last = entry;
    this.#entries += 1;
    this.#remaining = entry.size;
    this.#padding = padded(entry.size) - entry.size;
    if (entry.size > 0) this.#state = "body";
    else {
      this.#state = "header";
      this.#sink.end();
    }
  }

  #typeOf({ typeflag, size }: RawHeader, name: string): TarType {
    switch (typeflag) {
      case "0":
      case "\0":
      case "7":
        return "file";
      case "1":
        return "hardlink";
      case "2":
        return "symlink";
      case "5":
        return "dir";
      case "S":
        return this.#refuse("TAR_SPARSE", "a sparse file", { name });
      case "3":
      case "4":
      case "6":
        if (size > 0 || (this.#pax?.size ?? 0) > 0)
          this.#refuse("TAR_AMBIGUOUS", "a device or FIFO with a body, which not every reader skips", { name });
        return this.#refuse("ENTRY_TYPE", `an entry of type "${typeflag}"`, { name });
      default:
        return this.#refuse("ENTRY_TYPE", `an entry of type "${printable(typeflag)}"`, { name });
    }
  }

  #evidence(header: RawHeader, block: Buffer, at: number): readonly Buffer[] | undefined {
    if (header.plain && this.#extensionBlocks.length === 0) return undefined;
    const blocks = [...this.#extensionBlocks, Buffer.from(block.subarray(at, at + BLOCK))];
    this.#extensionBlocks = [];
    return blocks;
  }

  #refuseShape(entry: TarEntry, header: RawHeader): void {
    const { type, size, name } = entry;
    if (this.#entries >= this.#limits.maxEntriesPerLayer)
      this.#refuse("LIMIT_ENTRIES", `more than ${this.#limits.maxEntriesPerLayer} entries`, { name });
    // A reader that skips the body and one that does not would see different entries from here on.
    if (type !== "file" && (size > 0 || header.size > 0))
      this.#refuse("TAR_AMBIGUOUS", `a ${type} of ${Math.max(size, header.size)} bytes`, { name });
    if (header.oddPrefix) this.#refuse("TAR_AMBIGUOUS", "a prefix that not every reader sees", { name });
    // Python takes the slash of an old header for a directory even where a long name stands for it.
    const oldDirectory = header.typeflag === "\0" && header.name.endsWith("/");
    const isRoot = /^[./]+$/.test(name); // the tree writer says what is wrong with that
    if (type !== "dir" && !isRoot && (name.endsWith("/") || oldDirectory))
      this.#refuse("TAR_AMBIGUOUS", `a ${type} whose name ends in a slash`, { name });
    if (size > this.#limits.maxLayerBytes) this.#refuse("LIMIT_BYTES", `an entry of ${size} bytes`, { name });
  }

  #takeBody(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#remaining, chunk.length - at);
    this.#sink.data(taken === chunk.length ? chunk : chunk.subarray(at, at + taken));
    this.#remaining -= taken;
    if (this.#remaining === 0) {
      this.#sink.end();
      this.#state = this.#padding > 0 ? "padding" : "header";
    }
    return at + taken;
  }

  #takePadding(chunk: Buffer, at: number): number {
    const taken = Math.min(this.#padding, chunk.length - at);
    this.#padding -= taken;
    if (this.#padding === 0) this.#state = "header";
    return at + taken;
  }

  #refuseDangling(): void {
    if (this.#pax !== undefined) this.#refuse("TAR_PAX", "an extended header without an entry");
    if (this.#longName !== undefined || this.#longLink !== undefined)
      this.#refuse("TAR_TRUNCATED", "a long name without an entry");
  }

  /** A piece of `of` bytes, straight to its place: pieces may be single bytes. */
  #hold(chunk: Buffer, at: number, bytes: number, of: number): void {
    if (this.#heldBytes === 0) this.#held = Buffer.allocUnsafe(of);
    this.#heldBytes += chunk.copy(this.#held, this.#heldBytes, at, at + bytes);
  }

  #release(): Buffer {
    this.#heldBytes = 0;
    return this.#held;
  }

  /** About the entry that begins, where no other is named. */
  #refuse(code: TarCode, fact: string, { name, index = this.#entries }: Place = {}): never {
    const entryName = name === undefined ? {} : { entryName: printableName(name) };
    throw new StrataError(code, `Cannot unpack the layer: ${fact} (entry ${index})`, {
      details: { entryIndex: index, ...entryName },
    });
  }
}

/** As much of an entry as is known. */
interface Place {
  readonly name?: string;
  readonly index?: number;
}

const padded = (size: number): number => Math.ceil(size / BLOCK) * BLOCK;

const MAX_TIME = 2 ** 33 - 1;
const clampTime = (seconds: number): number => (Number.isNaN(seconds) ? 0 : Math.min(Math.max(seconds, 0), MAX_TIME));
