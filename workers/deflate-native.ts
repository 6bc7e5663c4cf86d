/**
 * One deflate stream (RFC 1951) by node:zlib, on this thread. Its streams inflate in libuv's pool, where each chunk is a trip there and
 * back, and a third thread beside the two of a layer (tree-thread.ts) waits with them for two processors: a sixth of the time of a
 * layer of few large files, measured.
 *
 * So this calls what node:zlib itself calls, its streams and its synchronous functions alike, and documents nowhere. Where a version of
 * Node has it otherwise there is no such engine, and fflate reads gzip.
 */
import { constants, createInflateRaw } from "node:zlib";
import { StrataError } from "../src/errors.js";
import { free } from "../src/freed-chunk.js";
import type { ByteInput } from "./byte-input.js";
import type { DeflateEngine, Room } from "./gunzip.js";

const NOTHING = Buffer.alloc(0);

/** What stands behind a stream of node:zlib. */
interface Handle {
  onerror: (message: string, errno: number, code: string) => void;
  /** Tells in the state what room and what input it left. */
  writeSync(flush: number, from: Buffer, at: number, bytes: number, to: Buffer, toAt: number, room: number): void;
  /** For the next stream. */
  reset(): void;
}

interface Internals {
  readonly _handle: Handle;
  readonly _writeState: Readonly<Uint32Array>;
}

class Zlib {
  readonly #handle: Handle;
  readonly #state: Readonly<Uint32Array>;
  #failure: string | undefined;

  constructor() {
    const { _handle, _writeState } = createInflateRaw({ chunkSize: constants.Z_MIN_CHUNK }) as unknown as Internals;
    this.#handle = _handle;
    this.#state = _writeState;
    _handle.onerror = (_message, _errno, code) => {
      this.#failure = code;
    };
  }

  /** As much of `input` as there is room for: where that is full, more may come of the same input. */
  inflate(input: Buffer, flush: number, room: Buffer): { made: Buffer; isFull: boolean; left: Buffer } {
    this.#handle.writeSync(flush, input, 0, input.length, room, 0, room.length);
    if (this.#failure !== undefined) throw codecError(this.#failure);
    const [unused = 0, left = 0] = this.#state;
    return {
      made: room.subarray(0, room.length - unused),
      isFull: unused === 0,
      left: input.subarray(input.length - left),
    };
  }

  reset(): void {
    this.#handle.reset();
  }
}

/** Blobs of eStargz have a stream for each file, and one of these costs more than a small file. */
const idle: Zlib[] = [];

/** Undefined where this Node has no such inside. */
export const inflateNatively: DeflateEngine | undefined = isUsable() ? inflateHere : undefined;

function isUsable(): boolean {
  try {
    const { made, left } = new Zlib().inflate(Buffer.from("4b040061", "hex"), constants.Z_NO_FLUSH, Buffer.alloc(2));
    return made.toString() === "a" && left.toString() === "a";
  } catch {
    return false;
  }
}

async function* inflateHere(input: ByteInput, room: Room): AsyncGenerator<Buffer> {
  const zlib = idle.pop() ?? new Zlib();
  for (;;) {
    const piece = await input.take();
    const flush = piece === undefined ? constants.Z_FINISH : constants.Z_NO_FLUSH;
    let left = piece ?? NOTHING;
    for (let isFull = true; isFull; ) {
      const step = zlib.inflate(left, flush, await room());
      if (step.made.length > 0) yield step.made;
      ({ left, isFull } = step);
    }
    // zlib leaves what is behind the stream, and nothing else.
    input.unread(left);
    if (piece === undefined || left.length > 0) break;
    free(piece);
  }
  zlib.reset();
  idle.push(zlib);
}

function codecError(code: string): StrataError {
  if (code === "Z_BUF_ERROR") {
    return new StrataError("CODEC_TRUNCATED", "Cannot inflate the layer: it ends within a deflate stream");
  }
  return new StrataError("CODEC_CORRUPT", "Cannot inflate the layer: its deflate stream is damaged");
}
