/**
 * libzstd in WebAssembly, by the inside of the package that brings it. The package's own methods hand bytes out by way of an array
 * of numbers, which takes ten times as long as libzstd does, and swallow what a stream is refused for. So its version is pinned.
 *
 * Owns all that is known of that inside, and the thread's one instance. Its memory never shrinks.
 */
import assert from "node:assert/strict";

/** Both private to the package. */
interface Inside {
  readonly _mainModule: { readonly _module: Memory };
  readonly _zstdClass: Functions;
}

interface Memory {
  /** Another one whenever the memory has grown. */
  readonly HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(at: number): void;
}

/** Those that return a number of bytes return a code instead where they fail. */
interface Functions {
  new (): Context;
  compressBound(bytes: number): number;
  compress(to: number, room: number, from: number, bytes: number, level: number): number;
  decompress(to: number, room: number, from: number, bytes: number): number;
  isError(result: number): number;
}

interface Context {
  /** One ZSTD_decompressStream. The bytes that it made; 0 as well where it failed. */
  decompressChunk(to: number, room: number, from: number, bytes: number): number;
  delete(): void;
}

/** RFC 8878, 3.1.1.2.4: a block's content is no larger; 3.1.1.2: nor is the block, but for its header. */
export const MAX_BLOCK_BYTES = 128 * 1024;
const BLOCK_HEADER_BYTES = 3;
/** Of a frame of unknown size without a checksum, its window as large as a block. */
const PLAIN_FRAME_HEADER = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]);
const LAST_BLOCK_FLAG = 1;

let loading: Promise<ZstdLibrary> | undefined;

/** This thread's. Loaded with the first who wants it: that takes 80 ms, and most threads see no zstd. */
export function zstdLibrary(): Promise<ZstdLibrary> {
  loading ??= load();
  return loading;
}

async function load(): Promise<ZstdLibrary> {
  const { Zstd } = await import("@hpcc-js/wasm-zstd");
  return new ZstdLibrary((await Zstd.load()) as unknown as Inside);
}

export class ZstdLibrary {
  readonly #memory: Memory;
  readonly #functions: Functions;
  /** What all streams read from and write to, each for the time of a call. */
  readonly #piece: number;
  readonly #content: number;

  constructor({ _mainModule, _zstdClass }: Inside) {
    this.#memory = _mainModule._module;
    this.#functions = _zstdClass;
    this.#piece = this.#allocate(PLAIN_FRAME_HEADER.length + BLOCK_HEADER_BYTES + MAX_BLOCK_BYTES);
    this.#content = this.#allocate(MAX_BLOCK_BYTES);
  }

  get memoryBytes(): number {
    return this.#memory.HEAPU8.length;
  }

  /** One frame; the level is libzstd's. */
  compress(content: Uint8Array, level: number): Buffer {
    const room = this.#functions.compressBound(content.length);
    const [from, to] = [this.#allocate(content.length), this.#allocate(room)];
    try {
      this.#memory.HEAPU8.set(content, from);
      const bytes = this.#functions.compress(to, room, from, content.length, level);
      assert.ok(!this.#functions.isError(bytes), "libzstd compresses what fits");
      return Buffer.from(this.#memory.HEAPU8.subarray(to, to + bytes));
    } finally {
      this.#memory._free(from);
      this.#memory._free(to);
    }
  }

  /** The caller closes it. */
  openStream(): ZstdStream {
    const context = new this.#functions();
    return {
      push: (piece) => {
        this.#memory.HEAPU8.set(piece, this.#piece);
        const bytes = context.decompressChunk(this.#content, MAX_BLOCK_BYTES, this.#piece, piece.length);
        return this.#memory.HEAPU8.subarray(this.#content, this.#content + bytes);
      },
      close: () => context.delete(),
    };
  }

  /**
   * Whether a compressed block is sound and holds nothing, which no compressor writes: as a frame of its own, for where a whole
   * frame is decoded failures are told. (Not one whose literals are coded by a table of the blocks before it, to no bytes.)
   */
  isEmpty(block: Uint8Array): boolean {
    const heap = this.#memory.HEAPU8;
    const at = this.#piece + PLAIN_FRAME_HEADER.length;
    heap.set(PLAIN_FRAME_HEADER, this.#piece);
    heap.set(block, at);
    heap[at] = (heap[at] as number) | LAST_BLOCK_FLAG;
    const frameBytes = PLAIN_FRAME_HEADER.length + block.length;
    return this.#functions.decompress(this.#content, MAX_BLOCK_BYTES, this.#piece, frameBytes) === 0;
  }

  #allocate(bytes: number): number {
    const at = this.#memory._malloc(bytes);
    assert.ok(at !== 0, "libzstd's memory grows");
    return at;
  }
}

export interface ZstdStream {
  /** A frame's header, or one of its blocks. Its content, valid until the library's next call; nothing as well where it is damaged. */
  push(piece: Uint8Array): Uint8Array;
  close(): void;
}
