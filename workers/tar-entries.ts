/**
 * The second reader: tar-stream, behind the guard, on the same bytes.
 *
 * A plain ustar header is read alike by every reader. Whatever goes beyond it (PAX, GNU long names, base-256 numbers, odd
 * types, names that are not ASCII) is put before tar-stream too, and what the two read differently is refused
 * (TAR_AMBIGUOUS). Compares names, types, sizes, link targets; writes nothing.
 */
import { type Extract, extract, type Header } from "tar-stream";
import { StrataError } from "../src/errors.js";
import { printableName } from "../src/printable.js";
import type { TarEntry, TarSink } from "./tar-entry.js";
import { BLOCK } from "./tar-header.js";

const types: Readonly<Record<TarEntry["type"], readonly string[]>> = {
  file: ["file", "contiguous-file"],
  dir: ["directory"],
  symlink: ["symlink"],
  hardlink: ["link"],
};

/** Passes everything on to `sink`, and what is not plain to tar-stream besides. */
export class SecondReader implements TarSink {
  readonly #sink: TarSink;
  #stream: Extract | undefined;
  readonly #expected: TarEntry[] = [];
  #mirrored: TarEntry | undefined;
  #failure: StrataError | undefined;
  #drained: Promise<unknown> | undefined;
  /** However tar-stream ends; nothing waits for it in any other way, for it may have ended already. */
  #closed: Promise<void> | undefined;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  entry(entry: TarEntry): void {
    if (entry.blocks !== undefined) {
      this.#expected.push(entry);
      this.#mirrored = entry;
      for (const block of entry.blocks) this.#write(block);
    }
    this.#sink.entry(entry);
  }

  data(piece: Buffer): void {
    if (this.#mirrored !== undefined) this.#write(Buffer.from(piece));
    this.#sink.data(piece);
  }

  end(): void {
    if (this.#mirrored !== undefined) {
      const over = this.#mirrored.size % BLOCK;
      if (over > 0) this.#write(Buffer.alloc(BLOCK - over));
      this.#mirrored = undefined;
    }
    this.#sink.end();
  }

  /** Waits until tar-stream has taken what it was given, so that it holds at most a chunk; throws what it disagreed about. */
  async settle(): Promise<void> {
    if (this.#drained !== undefined) await this.#drained;
    this.#drained = undefined;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async finish(): Promise<void> {
    const stream = this.#stream;
    if (stream === undefined) return;
    stream.end(undefined);
    await this.#closed;
    if (this.#failure !== undefined) throw this.#failure;
    const [missed] = this.#expected;
    if (missed !== undefined) throw ambiguous(missed, "another reader does not see it");
  }

  abandon(): void {
    this.#stream?.destroy();
  }

  #write(bytes: Buffer): void {
    this.#stream ??= this.#open();
    if (this.#stream.write(bytes) || this.#drained !== undefined) return;
    const stream = this.#stream;
    const drain = new Promise<void>((resolve) => stream.once("drain", () => resolve()));
    this.#drained = Promise.race([drain, this.#closed]);
  }

  #open(): Extract {
    const stream = extract();
    this.#closed = new Promise((resolve) => stream.once("close", () => resolve()));
    stream.on("entry", (headers, body, next) => {
      const entry = this.#expected.shift();
      const difference = entry === undefined ? "another reader sees an entry more" : differs(entry, headers);
      if (difference !== undefined) this.#failure ??= ambiguous(entry, difference);
      body.on("end", next);
      body.resume();
    });
    stream.on("error", () => {
      this.#failure ??= ambiguous(this.#expected[0], "another reader refuses its header");
    });
    return stream;
  }
}

/** tar-stream decodes names as UTF-8, with U+FFFD for what is none: the guard's bytes are compared after the same decoding. */
const decoded = (bytes: string): string => Buffer.from(bytes, "latin1").toString("utf8");

function differs(entry: TarEntry, headers: Header): string | undefined {
  if (headers.name !== decoded(entry.name)) return "another reader reads another name";
  if (!types[entry.type].includes(headers.type ?? "")) return "another reader reads another type";
  if ((headers.size ?? 0) !== entry.size) return "another reader reads another size";
  const isLink = entry.type === "symlink" || entry.type === "hardlink";
  if (isLink && (headers.linkname ?? "") !== decoded(entry.linkName)) return "another reader reads another link target";
  return undefined;
}

function ambiguous(entry: TarEntry | undefined, fact: string): StrataError {
  const details = entry === undefined ? {} : { entryIndex: entry.index, entryName: printableName(entry.name) };
  const what = entry === undefined ? "the layer" : printableName(entry.name);
  return new StrataError("TAR_AMBIGUOUS", `Cannot unpack ${what}: ${fact}`, { details });
}
