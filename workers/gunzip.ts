/**
 * gzip (RFC 1952), exactly: members one after another, each with its header, CRC and length checked, zeros after the last,
 * nothing else. Knows no engine: whoever calls it gives one for the deflate streams.
 */
import { crc32 } from "node:zlib";
import { StrataError } from "../src/errors.js";
import type { ImageLimits } from "../src/limits.js";
import type { ByteInput } from "./byte-input.js";

const FIXED_HEADER_BYTES = 10;
/** With the only method that there is: deflate. */
const MAGIC = Buffer.from([0x1f, 0x8b, 8]);
const FOOTER_BYTES = 8;
const FLAG = { headerCrc: 2, extra: 4, name: 8, comment: 16, reserved: 0xe0 } as const;

/** Memory for the next chunk, which may be left unused. */
export type Room = () => Promise<Buffer>;

/** Takes exactly one deflate stream from the input and gives what it inflates to, each chunk valid until the next. CODEC_TRUNCATED, CODEC_CORRUPT. */
export type DeflateEngine = (input: ByteInput, room: Room) => AsyncIterable<Buffer>;

/** CODEC_HEADER, CODEC_TRUNCATED, CODEC_CORRUPT, CODEC_TRAILING. */
export async function* gunzip(
  input: ByteInput,
  { limits, room }: { readonly limits: ImageLimits; readonly room: Room },
  inflateDeflate: DeflateEngine,
): AsyncGenerator<Buffer> {
  do {
    await skipHeader(input, limits);
    let crc = 0;
    let bytes = 0;
    for await (const chunk of inflateDeflate(input, room)) {
      crc = crc32(chunk, crc);
      bytes += chunk.length;
      yield chunk;
    }
    await checkFooter(input, crc, bytes);
  } while (await anotherMember(input));
}

/** No further than the header goes: what a download holds is to be known before much of it is there. */
async function skipHeader(input: ByteInput, limits: ImageLimits): Promise<void> {
  const most = limits.maxGzipHeaderBytes + FIXED_HEADER_BYTES;
  for (let wanted = FIXED_HEADER_BYTES; ; wanted = Math.min(2 * wanted, most)) {
    const head = await input.peek(wanted);
    const length = headerLength(head, limits);
    if (length !== undefined) return input.skip(length);
    if (head.length > limits.maxGzipHeaderBytes) {
      throw new StrataError(
        "CODEC_HEADER",
        `Cannot inflate the layer: a gzip header of more than ${limits.maxGzipHeaderBytes} bytes`,
      );
    }
    if (head.length < wanted) throw truncated("a gzip header");
  }
}

/** The length of the member's header at the start of `head`; undefined where `head` ends before it does. */
function headerLength(head: Buffer, limits: ImageLimits): number | undefined {
  const flags = head[3] ?? 0;
  if (!MAGIC.subarray(0, head.length).equals(head.subarray(0, MAGIC.length)) || (flags & FLAG.reserved) !== 0) {
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
  const summed = end;
  if (flags & FLAG.headerCrc) end += 2;
  if (end > limits.maxGzipHeaderBytes || end > head.length) return undefined;
  if (end > summed && (crc32(head.subarray(0, summed)) & 0xffff) !== head.readUInt16LE(summed))
    throw new StrataError("CODEC_CORRUPT", "Cannot inflate the layer: the checksum of a gzip header is wrong");
  return end;
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
  if (next[0] === 0x1f && next[1] === 0x8b) return true;
  for await (const chunk of input.rest()) {
    if (chunk.some((byte) => byte !== 0))
      throw new StrataError("CODEC_TRAILING", "Cannot inflate the layer: data after the gzip stream");
  }
  return false;
}

const truncated = (what: string): StrataError =>
  new StrataError("CODEC_TRUNCATED", `Cannot inflate the layer: it ends within ${what}`);
