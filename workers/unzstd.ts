/**
 * zstd (RFC 8878), frame by frame: the frames' own headers tell where each ends, how large it is and what its checksum is, so all
 * that is judged exactly and alike, whatever the engine.
 */
import createXxhash, { type XXHash } from "xxhash-wasm";
import { StrataError } from "../src/errors.js";
import type { ByteInput } from "./byte-input.js";
import type { Windows } from "./windows.js";
import type { FrameDecoder, FrameDecoders, ZstdEngine } from "./zstd-engines.js";
import { MAX_BLOCK_BYTES } from "./zstd-library.js";

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const SKIPPABLE_MASK = 0xfffffff0;
const MAX_HEADER_BYTES = 18;
const BLOCK_HEADER_BYTES = 3;
const RAW = 0;
const RLE = 1;
const COMPRESSED = 2;
/** What libzstd takes unless it is told otherwise, which in WebAssembly nobody can. */
const MAX_WINDOW_BYTES = 128 * 1024 * 1024;
/** A literals header and a number of sequences. */
const MIN_COMPRESSED_BYTES = 2;
const CHECKSUM_FLAG = 0x04;
const CHECKSUM_BYTES = 4;

/** CODEC_HEADER, CODEC_TRUNCATED, CODEC_CORRUPT, CODEC_TRAILING, LIMIT_WINDOW. */
export async function* unzstd(input: ByteInput, engine: ZstdEngine, windows: Windows): AsyncGenerator<Buffer> {
  const decoders = engine.open();
  try {
    yield* frames(input, decoders, windows);
  } finally {
    await decoders.close();
  }
}

async function* frames(input: ByteInput, decoders: FrameDecoders, windows: Windows): AsyncGenerator<Buffer> {
  for (let first = true; ; first = false) {
    const head = await input.peek(8);
    if (head.length === 0) return;
    if (head.length >= 8 && isSkippable(head.readUInt32LE(0))) await skip(input, head.readUInt32LE(4));
    else if (head.length >= 4 && head.readUInt32LE(0) === MAGIC) yield* frame(input, decoders, windows);
    else if (isCutHeader(head)) throw truncated();
    else if (first) throw new StrataError("CODEC_HEADER", "Cannot inflate the layer: it does not start as zstd does");
    else throw new StrataError("CODEC_TRAILING", "Cannot inflate the layer: data after the zstd frames");
  }
}

export const hasZstdMagic = (head: Buffer): boolean =>
  head.length >= 4 && (head.readUInt32LE(0) === MAGIC || isSkippable(head.readUInt32LE(0)));

const isSkippable = (magic: number): boolean => (magic & SKIPPABLE_MASK) >>> 0 === SKIPPABLE;

/** Fewer bytes than a frame's start, and nothing else so far. */
function isCutHeader(head: Buffer): boolean {
  if (head.length >= 4) return isSkippable(head.readUInt32LE(0));
  const frame = Buffer.alloc(4);
  frame.writeUInt32LE(MAGIC);
  return head.equals(frame.subarray(0, head.length));
}

async function skip(input: ByteInput, bytes: number): Promise<void> {
  for await (const piece of exactly(input, 8 + bytes)) void piece;
}

async function* frame(input: ByteInput, decoders: FrameDecoders, windows: Windows): AsyncGenerator<Buffer> {
  const header = await readHeader(input);
  if (header.windowBytes > MAX_WINDOW_BYTES)
    throw new StrataError(
      "LIMIT_WINDOW",
      `Cannot inflate the layer: libzstd takes no window of ${header.windowBytes} bytes`,
    );
  await windows.allow(header.windowBytes, "a zstd window");
  const proof = header.hasChecksum ? (await xxhash()).create64() : undefined;
  const decoder = await decoders.start(header.withoutChecksum, header.windowBytes);
  let bytes = 0;
  try {
    for await (const chunk of blocks(input, header, { decoder, windows })) {
      bytes += chunk.length;
      proof?.update(chunk);
      yield chunk;
    }
  } finally {
    decoder.destroy();
  }
  if ((header.contentBytes ?? bytes) !== bytes) throw corrupt();
  if (proof !== undefined) await checkChecksum(input, proof);
}

async function* blocks(
  input: ByteInput,
  { withoutChecksum, windowBytes }: FrameHeader,
  { decoder, windows }: { readonly decoder: FrameDecoder; readonly windows: Windows },
): AsyncGenerator<Buffer> {
  input.skip(withoutChecksum.length);
  for (let last = false; !last; ) {
    const block = await nextBlock(input, Math.min(windowBytes, MAX_BLOCK_BYTES));
    last = block.last;
    const pieces = await decoded(decoder.block(await need(input, block.bytes)));
    windows.used(
      windowBytes,
      pieces.reduce((sum, piece) => sum + piece.length, 0),
    );
    yield* pieces;
  }
  yield* await decoded(decoder.end());
}

/** RFC 8878, 3.1.1.2 Blocks: how long the next one is, with its header; it stays. */
async function nextBlock(input: ByteInput, maxBytes: number): Promise<{ bytes: number; last: boolean }> {
  const header = await input.peek(BLOCK_HEADER_BYTES);
  if (header.length < BLOCK_HEADER_BYTES) throw truncated();
  const bits = header.readUIntLE(0, BLOCK_HEADER_BYTES);
  const type = (bits >> 1) & 3;
  const size = bits >> 3;
  const isKnown = type === RAW || type === RLE || (type === COMPRESSED && size >= MIN_COMPRESSED_BYTES);
  if (!isKnown || size > maxBytes) throw corrupt();
  return { bytes: BLOCK_HEADER_BYTES + (type === RLE ? 1 : size), last: (bits & 1) === 1 };
}

interface FrameHeader {
  /** As it stands there, but for the flag of the checksum, which is ours to judge. */
  readonly withoutChecksum: Buffer;
  readonly windowBytes: number;
  readonly contentBytes: number | undefined;
  readonly hasChecksum: boolean;
}

/** RFC 8878, 3.1.1.1 Frame_Header. */
async function readHeader(input: ByteInput): Promise<FrameHeader> {
  const head = await input.peek(MAX_HEADER_BYTES);
  const descriptor = head[4] as number;
  const single = (descriptor & 0x20) !== 0;
  if (descriptor & 0x08) throw corrupt();
  const dictionaryAt = single ? 5 : 6;
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number;
  const sizeBytes = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
  const sizeAt = dictionaryAt + dictionaryBytes;
  const bytes = sizeAt + sizeBytes;
  if (head.length < bytes) throw truncated();
  if (head.subarray(dictionaryAt, sizeAt).some((byte) => byte !== 0))
    throw new StrataError("CODEC_HEADER", "Cannot inflate the layer: a zstd frame that needs a dictionary");
  const contentBytes = sizeBytes === 0 ? undefined : contentSize(head, sizeAt, sizeBytes);
  const windowBytes = single ? (contentBytes as number) : windowSize(head[5] as number);
  const withoutChecksum = Buffer.from(head.subarray(0, bytes));
  withoutChecksum[4] = descriptor & ~CHECKSUM_FLAG;
  return { withoutChecksum, windowBytes, contentBytes, hasChecksum: (descriptor & CHECKSUM_FLAG) !== 0 };
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3));
  return base + (base / 8) * (descriptor & 7);
}

function contentSize(head: Buffer, at: number, bytes: number): number {
  if (bytes === 8) return Number(head.readBigUInt64LE(at));
  return head.readUIntLE(at, bytes) + (bytes === 2 ? 256 : 0);
}

async function need(input: ByteInput, bytes: number): Promise<Buffer> {
  const found = await input.peek(bytes);
  if (found.length < bytes) throw truncated();
  input.skip(bytes);
  return found;
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

let loading: ReturnType<typeof createXxhash> | undefined;
/** Its WebAssembly is compiled with the first frame that has a checksum. */
function xxhash(): ReturnType<typeof createXxhash> {
  loading ??= createXxhash();
  return loading;
}

/** 3.1.1: the lower four bytes of the content's XXH64. */
async function checkChecksum(input: ByteInput, proof: XXHash<bigint>): Promise<void> {
  const checksum = await need(input, CHECKSUM_BYTES);
  if (checksum.readUInt32LE(0) !== Number(proof.digest() & 0xffff_ffffn)) throw corrupt();
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
