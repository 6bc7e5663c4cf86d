/**
 * zstd frames of which a test controls every byte (RFC 8878), with raw and run-length blocks only: nothing is compressed.
 */
import xxhash from "xxhash-wasm";

const { h64Raw } = await xxhash();
const MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const MAX_BLOCK_BYTES = 128 * 1024;

interface FrameOptions {
  /** The Window_Descriptor byte: 0x50 is 1 MiB, 0x88 is 128 MiB. */
  readonly window?: number;
  /** What the header says of the content's size; absent: nothing. */
  readonly contentBytes?: number;
  readonly checksum?: boolean;
  /** false: the frame goes on behind these blocks. */
  readonly last?: boolean;
}

export function frame(
  content: Buffer,
  { window = 0x50, contentBytes, checksum = false, last = true }: FrameOptions = {},
): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at === 0 || at < content.length; at += MAX_BLOCK_BYTES) {
    const piece = content.subarray(at, at + MAX_BLOCK_BYTES);
    blocks.push(blockHeader(piece.length, 0, last && at + MAX_BLOCK_BYTES >= content.length), piece);
  }
  const size = Buffer.alloc(contentBytes === undefined ? 0 : 4);
  if (contentBytes !== undefined) size.writeUInt32LE(contentBytes);
  const descriptor = (checksum ? 0x04 : 0) | (contentBytes === undefined ? 0 : 0x80);
  return Buffer.concat([
    MAGIC,
    Buffer.from([descriptor, window]),
    size,
    ...blocks,
    checksum ? xxh64(content) : Buffer.alloc(0),
  ]);
}

/** One frame of one block: `bytes` as its header says, whatever it holds. */
export const withBlock = (type: 0 | 1 | 2 | 3, bytes: number, body: Buffer): Buffer =>
  Buffer.concat([MAGIC, Buffer.from([0, 0x50]), blockHeader(bytes, type, true), body]);

export const compressedBlock = (body: Buffer): Buffer => withBlock(2, body.length, body);

/** One frame: raw blocks of the content's two parts, and between them a compressed one, whatever it holds. */
export const around = (body: Buffer, content: Buffer): Buffer =>
  Buffer.concat([
    frame(content.subarray(0, 700), { last: false }),
    blockHeader(body.length, 2, false),
    body,
    blockHeader(content.length - 700, 0, true),
    content.subarray(700),
  ]);

/** The lower half of XXH64, as a frame ends with it. */
function xxh64(content: Buffer): Buffer {
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(Number(h64Raw(content) & 0xffff_ffffn));
  return sum;
}

/** A frame of one raw block, whatever its header says of it: the descriptor, and the bytes that follow it. */
export const rawFrame = (descriptor: number, fields: readonly number[], content: Buffer): Buffer =>
  Buffer.concat([MAGIC, Buffer.from([descriptor, ...fields]), blockHeader(content.length, 0, true), content]);

/** `blocks` blocks of 128 KiB zeros, four bytes each. */
export function zeros(blocks: number): Buffer {
  const each = Array.from({ length: blocks }, (_, i) =>
    Buffer.concat([blockHeader(MAX_BLOCK_BYTES, 1, i === blocks - 1), Buffer.alloc(1)]),
  );
  return Buffer.concat([MAGIC, Buffer.from([0, 0x50]), ...each]);
}

/** Raw blocks of one byte each, behind a window of 128 MiB. */
export const thinBlocks = (blocks: number): Buffer =>
  Buffer.concat([
    MAGIC,
    Buffer.from([0, 0x88]),
    ...Array.from({ length: blocks }, (_, i) => Buffer.concat([blockHeader(1, 0, i === blocks - 1), Buffer.alloc(1)])),
  ]);

export function skippable(content: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a53, 0);
  head.writeUInt32LE(content.length, 4);
  return Buffer.concat([head, content]);
}

/** A frame whose window is its content, by the eight bytes that say how large that is. */
export function singleSegment(contentBytes: bigint): Buffer {
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(contentBytes);
  return Buffer.concat([MAGIC, Buffer.from([0xe0]), size, blockHeader(0, 0, true)]);
}

function blockHeader(bytes: number, type: 0 | 1 | 2 | 3, last: boolean): Buffer {
  const header = Buffer.alloc(3);
  header.writeUIntLE(bytes * 8 + type * 2 + (last ? 1 : 0), 0, 3);
  return header;
}
