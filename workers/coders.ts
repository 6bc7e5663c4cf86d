/**
 * What a packed layer is compressed by: the same bytes on every machine and every Node version, which node:zlib does not promise
 * (facts.md). So gzip is fflate's, and zstd is libzstd in WebAssembly, pinned to one version.
 */
import { Gzip } from "fflate";
import createXxhash from "xxhash-wasm";
import type { PackCodec } from "../src/oci/media-types.js";
import { zstdLibrary } from "./zstd-library.js";

export interface Coder {
  /** The chunk is only valid during the call. */
  push(chunk: Buffer): void;
  /** Once, behind the last chunk. */
  end(): void;
}

/** `out` gets the blob's bytes in order; each piece is only valid during the call. */
export type StartCoder = (out: (bytes: Uint8Array) => void) => Coder;

/** What makes a coder for each blob, once what it stands on is loaded. */
export async function codersOf(codec: PackCodec): Promise<StartCoder> {
  if (codec === "none") return (out) => ({ push: out, end: () => undefined });
  return codec === "zstd" ? zstdCoders() : startGzip;
}

const startGzip: StartCoder = (out) => {
  const gzip = new Gzip({ mtime: 0 }, out);
  return { push: (chunk) => gzip.push(chunk), end: () => gzip.push(new Uint8Array(0), true) };
};

/** The largest content of a frame: 1% more bytes than one frame of all. */
const FRAME_BYTES = 2 * 1024 * 1024;
/** A tenth smaller than fflate's gzip, in two thirds of its time; 9 takes twice as long as 6 for another 3%. */
const LEVEL = 6;
/** RFC 8878, 3.1.1.1.1: the descriptor stands behind the magic number. */
const DESCRIPTOR = 4;
const CHECKSUM_FLAG = 0x04;

async function zstdCoders(): Promise<StartCoder> {
  const [library, { create64 }] = await Promise.all([zstdLibrary(), createXxhash()]);
  return (out) =>
    new ZstdFrames((content) => {
      const frame = library.compress(content, LEVEL);
      const checksum = Buffer.alloc(4);
      checksum.writeUInt32LE(Number(create64().update(content).digest() & 0xffff_ffffn));
      frame.writeUInt8(frame.readUInt8(DESCRIPTOR) | CHECKSUM_FLAG, DESCRIPTOR);
      out(frame);
      out(checksum);
    });
}

/**
 * Frames one behind another, which are one zstd stream (RFC 8878, 3): each with its content's size and checksum, so that a
 * reader sees damage where it is. The library writes no checksum: its flag is set and its four bytes come behind the frame.
 */
class ZstdFrames implements Coder {
  readonly #write: (content: Buffer) => void;
  readonly #content = Buffer.allocUnsafe(FRAME_BYTES);
  #filled = 0;
  #frames = 0;

  constructor(write: (content: Buffer) => void) {
    this.#write = write;
  }

  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; ) {
      const bytes = chunk.copy(this.#content, this.#filled, at);
      at += bytes;
      this.#filled += bytes;
      if (this.#filled === FRAME_BYTES) this.#flush();
    }
  }

  /** Nothing at all is a frame too: an empty file is no zstd. */
  end(): void {
    if (this.#filled > 0 || this.#frames === 0) this.#flush();
  }

  #flush(): void {
    this.#write(this.#content.subarray(0, this.#filled));
    this.#filled = 0;
    this.#frames += 1;
  }
}
