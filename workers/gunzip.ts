/**
 * gzip (RFC 1952), exactly: members one after another, each with its header, CRC and length checked, zeros after the last,
 * nothing else. The deflate streams inside go to an engine: fflate for a blob so small that the trip to libuv's pool would cost
 * more than the work, node:zlib for the rest.
 */
import { crc32 } from "node:zlib";
import { inflateSync } from "fflate";
import { StrataError } from "../src/errors.js";
import type { ImageLimits } from "../src/limits.js";
import type { ByteInput } from "./byte-input.js";
import { inflateRaw } from "./inflate-raw.js";

const FIXED_HEADER_BYTES = 10;
const FOOTER_BYTES = 8;
const FLAG = { headerCrc: 2, extra: 4, name: 8, comment: 16, reserved: 0xe0 } as const;
/** Up to here a blob is inflated on this thread: measured, fflate needs 2-200 µs for it, a trip to the pool 70-180 µs of two threads. */
const SMALL_BLOB_BYTES = 4 * 1024;
const SMALL_TAR_BYTES = 1024 * 1024;

/** CODEC_HEADER, CODEC_TRUNCATED, CODEC_CORRUPT, CODEC_TRAILING. */
export async function gunzip(
  input: ByteInput,
  limits: ImageLimits,
): Promise<{ decoder: string; chunks: AsyncIterable<Buffer> }> {
  const small = await inflateSmall(input, limits);
  if (small !== undefined) return { decoder: "fflate", chunks: only(small) };
  return { decoder: "node:zlib", chunks: members(input, limits) };
}

/**
 * The whole of a small blob at once; undefined, with nothing taken, where it is large or there is the least doubt: the
 * streaming reader then gives the exact answer.
 */
async function inflateSmall(input: ByteInput, limits: ImageLimits): Promise<Buffer | undefined> {
  const blob = await input.peek(SMALL_BLOB_BYTES + 1);
  if (blob.length > SMALL_BLOB_BYTES) return undefined;
  const header = headerLength(blob, limits);
  if (header === undefined || blob.length < header + FOOTER_BYTES) return undefined;
  const footer = blob.subarray(blob.length - FOOTER_BYTES);
  const bytes = footer.readUInt32LE(4);
  if (bytes === 0 || bytes > SMALL_TAR_BYTES) return undefined;
  const deflated = blob.subarray(header, -FOOTER_BYTES);
  const tar = inflateWhole(deflated, bytes);
  // A stream that ends before the footer would inflate without its last byte too: then something else stands between.
  if (tar === undefined || crc32(tar) !== footer.readUInt32LE(0) || inflateWhole(deflated.subarray(0, -1), bytes))
    return undefined;
  input.skip(blob.length);
  return tar;
}

/** Undefined unless the deflate stream is whole and gives exactly that many bytes. */
function inflateWhole(deflated: Buffer, bytes: number): Buffer | undefined {
  try {
    // One byte of room more, so that a stream that goes on is noticed.
    const out = inflateSync(deflated, { out: new Uint8Array(bytes + 1) });
    return out.length === bytes ? Buffer.from(out.buffer, out.byteOffset, bytes) : undefined;
  } catch {
    return undefined;
  }
}

async function* only(chunk: Buffer): AsyncGenerator<Buffer> {
  yield chunk;
}

async function* members(input: ByteInput, limits: ImageLimits): AsyncGenerator<Buffer> {
  do {
    await skipHeader(input, limits);
    let crc = 0;
    let bytes = 0;
    for await (const chunk of inflateRaw(input)) {
      crc = crc32(chunk, crc);
      bytes += chunk.length;
      yield chunk;
    }
    await checkFooter(input, crc, bytes);
  } while (await anotherMember(input));
}

async function skipHeader(input: ByteInput, limits: ImageLimits): Promise<void> {
  const head = await input.peek(limits.maxGzipHeaderBytes + FIXED_HEADER_BYTES);
  const length = headerLength(head, limits);
  if (length !== undefined) return input.skip(length);
  if (head.length > limits.maxGzipHeaderBytes) {
    throw new StrataError(
      "CODEC_HEADER",
      `Cannot inflate the layer: a gzip header of more than ${limits.maxGzipHeaderBytes} bytes`,
    );
  }
  throw truncated("a gzip header");
}

/** The length of the member's header at the start of `head`; undefined where `head` ends before it does. */
function headerLength(head: Buffer, limits: ImageLimits): number | undefined {
  if (head.length < FIXED_HEADER_BYTES) return undefined;
  const flags = head[3] as number;
  if (head[0] !== 0x1f || head[1] !== 0x8b || head[2] !== 8 || (flags & FLAG.reserved) !== 0) {
    throw new StrataError(
      "CODEC_HEADER",
      "Cannot inflate the layer: a gzip header with an unknown method or reserved flags",
    );
  }
  let end = FIXED_HEADER_BYTES;
  if (flags & FLAG.extra) {
    if (head.length < end + 2) return undefined;
    end += 2 + head.readUInt16LE(end);
  }
  for (const flag of [FLAG.name, FLAG.comment]) {
    if ((flags & flag) === 0) continue;
    const nul = head.indexOf(0, end);
    if (nul === -1) return undefined;
    end = nul + 1;
  }
  if (flags & FLAG.headerCrc) end += 2;
  if (end > limits.maxGzipHeaderBytes) return undefined;
  return end <= head.length ? end : undefined;
}

async function checkFooter(input: ByteInput, crc: number, bytes: number): Promise<void> {
  const footer = await input.peek(FOOTER_BYTES);
  if (footer.length < FOOTER_BYTES) throw truncated("a gzip footer");
  if (footer.readUInt32LE(0) !== crc || footer.readUInt32LE(4) !== bytes % 2 ** 32) {
    throw new StrataError("CODEC_CORRUPT", "Cannot inflate the layer: checksum or length of a gzip member is wrong");
  }
  input.skip(FOOTER_BYTES);
}

/** After a member: another one, or nothing but zeros to the end. */
async function anotherMember(input: ByteInput): Promise<boolean> {
  const next = await input.peek(2);
  if (next.length === 0) return false;
  if (next[0] === 0x1f && next[1] === 0x8b) return true;
  for await (const chunk of input.rest()) {
    if (chunk.some((byte) => byte !== 0))
      throw new StrataError("CODEC_TRAILING", "Cannot inflate the layer: data after the gzip stream");
  }
  return false;
}

const truncated = (what: string): StrataError =>
  new StrataError("CODEC_TRUNCATED", `Cannot inflate the layer: it ends within ${what}`);
