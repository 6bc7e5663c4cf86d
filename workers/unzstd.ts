/**
 * zstd (RFC 8878), frame by frame: the frames' own block headers tell where each ends, so truncation, trailing data and windows
 * are judged exactly, whatever the engine. Node's own decoder where it has one (≥ 22.15), else fzstd on this thread.
 */
import zlib from "node:zlib";
import { Decompress } from "fzstd";
import { StrataError } from "../src/errors.js";
import type { ImageLimits } from "../src/limits.js";
import type { ByteInput } from "./byte-input.js";

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const SKIPPABLE_MASK = 0xfffffff0;
const MAX_HEADER_BYTES = 18;
const BLOCK_HEADER_BYTES = 3;
const RLE = 1;
const RESERVED = 3;
const CHUNK_BYTES = 256 * 1024;

/** Turns a frame's pieces into its content; `end` is the last piece's. */
interface FrameDecoder {
  push(piece: Buffer): Promise<Buffer[]>;
  end(): Promise<Buffer[]>;
  destroy(): void;
}

/** CODEC_TRUNCATED, CODEC_CORRUPT, CODEC_TRAILING, LIMIT_WINDOW. */
export function unzstd(input: ByteInput, limits: ImageLimits): { decoder: string; chunks: AsyncIterable<Buffer> } {
  return { decoder: nativeFactory === undefined ? "fzstd" : "node:zlib", chunks: frames(input, limits) };
}

export const hasZstdMagic = (head: Buffer): boolean =>
  head.length >= 4 && (head.readUInt32LE(0) === MAGIC || isSkippable(head.readUInt32LE(0)));

const isSkippable = (magic: number): boolean => (magic & SKIPPABLE_MASK) >>> 0 === SKIPPABLE;

async function* frames(input: ByteInput, limits: ImageLimits): AsyncGenerator<Buffer> {
  for (let first = true; ; first = false) {
    const head = await input.peek(8);
    if (head.length === 0 && !first) return;
    if (head.length >= 8 && isSkippable(head.readUInt32LE(0))) await skip(input, head.readUInt32LE(4));
    else if (head.length >= 4 && head.readUInt32LE(0) === MAGIC) yield* frame(input, limits);
    else if (first || isCutHeader(head)) throw truncated();
    else throw new StrataError("CODEC_TRAILING", "Cannot inflate the layer: data after the zstd frames");
  }
}

/** Fewer bytes than a frame's start, and nothing else so far. */
function isCutHeader(head: Buffer): boolean {
  if (head.length >= 8) return false;
  if (head.length >= 4) return isSkippable(head.readUInt32LE(0));
  const frame = Buffer.alloc(4);
  frame.writeUInt32LE(MAGIC);
  return head.equals(frame.subarray(0, head.length));
}

async function skip(input: ByteInput, bytes: number): Promise<void> {
  for await (const piece of exactly(input, 8 + bytes)) void piece;
}

async function* frame(input: ByteInput, limits: ImageLimits): AsyncGenerator<Buffer> {
  const { headerBytes, checksum } = await readHeader(input, limits);
  const decoder = createDecoder();
  try {
    for await (const piece of exactly(input, headerBytes)) yield* await decoded(decoder.push(piece));
    for (let last = false; !last; ) {
      const header = await input.peek(BLOCK_HEADER_BYTES);
      if (header.length < BLOCK_HEADER_BYTES) throw truncated();
      const bits = header.readUIntLE(0, BLOCK_HEADER_BYTES);
      last = (bits & 1) === 1;
      const type = (bits >> 1) & 3;
      if (type === RESERVED) throw corrupt();
      const body = type === RLE ? 1 : bits >> 3;
      for await (const piece of exactly(input, BLOCK_HEADER_BYTES + body)) yield* await decoded(decoder.push(piece));
    }
    for await (const piece of exactly(input, checksum ? 4 : 0)) yield* await decoded(decoder.push(piece));
    yield* await decoded(decoder.end());
  } finally {
    decoder.destroy();
  }
}

/** RFC 8878, 3.1.1.1 Frame_Header. */
async function readHeader(input: ByteInput, limits: ImageLimits): Promise<{ headerBytes: number; checksum: boolean }> {
  const head = await input.peek(MAX_HEADER_BYTES);
  if (head.length < 6) throw truncated();
  const descriptor = head[4] as number;
  const single = (descriptor & 0x20) !== 0;
  if (descriptor & 0x08) throw corrupt();
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
  const sizeAt = 5 + (single ? 0 : 1) + dictionaryBytes;
  const headerBytes = sizeAt + sizeBytes;
  if (head.length < headerBytes) throw truncated();
  const window = single ? contentSize(head, sizeAt, sizeBytes) : windowSize(head[5] as number);
  if (window > limits.maxWindowBytes) {
    throw new StrataError("LIMIT_WINDOW", `Cannot inflate the layer: a zstd window of ${window} bytes`);
  }
  return { headerBytes, checksum: (descriptor & 0x04) !== 0 };
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

function contentSize(head: Buffer, at: number, bytes: number): number {
  if (bytes === 8) return Number(head.readBigUInt64LE(at));
  return head.readUIntLE(at, bytes) + (bytes === 2 ? 256 : 0);
}

async function* exactly(input: ByteInput, bytes: number): AsyncGenerator<Buffer> {
  for (let left = bytes; left > 0; ) {
    const chunk = await input.take();
    if (chunk === undefined) throw truncated();
    if (chunk.length > left) input.unread(chunk.subarray(left));
    const piece = chunk.subarray(0, Math.min(left, chunk.length));
    left -= piece.length;
    yield piece;
  }
}

type ZstdFactory = (options: object) => zlib.Zlib & NodeJS.ReadWriteStream & { destroy(): void };
/** Absent before Node 22.15, and so from the types of Node 20. */
const nativeFactory = (zlib as unknown as { createZstdDecompress?: ZstdFactory }).createZstdDecompress;
const WINDOW_LOG_MAX = 101;

const createDecoder = (): FrameDecoder =>
  nativeFactory === undefined ? javascriptDecoder() : nativeDecoder(nativeFactory);

function javascriptDecoder(): FrameDecoder {
  let out: Buffer[] = [];
  const stream = new Decompress((data) => out.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
  const drain = (): Buffer[] => {
    const all = out;
    out = [];
    return all;
  };
  return {
    async push(piece) {
      stream.push(piece);
      return drain();
    },
    async end() {
      stream.push(new Uint8Array(0), true);
      return drain();
    },
    destroy() {},
  };
}

function nativeDecoder(create: ZstdFactory): FrameDecoder {
  const stream = create({ chunkSize: CHUNK_BYTES, params: { [WINDOW_LOG_MAX - 1]: 27 } });
  let out: Buffer[] = [];
  let failure: unknown;
  stream.on("data", (chunk: Buffer) => out.push(chunk));
  stream.on("error", (error) => {
    failure = error;
  });
  const drain = (): Buffer[] => {
    if (failure !== undefined) throw failure;
    const all = out;
    out = [];
    return all;
  };
  return {
    push: (piece) =>
      new Promise((resolve, reject) => {
        stream.write(piece, (error?: Error | null) => (error ? reject(error) : resolve(drain())));
      }),
    end: () =>
      new Promise((resolve, reject) => {
        stream.on("error", reject);
        stream.on("end", () => resolve(drain()));
        stream.end();
      }),
    destroy: () => stream.destroy(),
  };
}

async function decoded(pieces: Promise<Buffer[]>): Promise<Buffer[]> {
  try {
    return await pieces;
  } catch (error) {
    throw error instanceof StrataError ? error : corrupt(error);
  }
}

const truncated = (): StrataError =>
  new StrataError("CODEC_TRUNCATED", "Cannot inflate the layer: it ends within a zstd frame");
const corrupt = (cause?: unknown): StrataError =>
  new StrataError("CODEC_CORRUPT", "Cannot inflate the layer: its zstd frame is damaged", { cause });
