/**
 * xz (xz-file-format.txt 1.2), exactly: streams with zeros between and after them, every header, size, check and index verified.
 *
 * Only the LZMA2 filter, which is what tars are packed with; a filter for machine code in front of it is refused. Decoded on this
 * thread (lzma2.ts), a chunk at a time.
 */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { StrataError } from "../src/errors.js";
import type { ByteInput } from "./byte-input.js";
import { crc64 } from "./crc64.js";
import { Lzma2 } from "./lzma2.js";
import type { Windows } from "./windows.js";

const MAGIC = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);
const FOOTER_MAGIC = Buffer.from("YZ");
const STREAM_HEADER_BYTES = 12;
const LZMA2 = 0x21;
const MAX_DICTIONARY_BITS = 40;
/** A multibyte integer has 63 bits at most; of these, 53 are told exactly. */
const MAX_VLI_BYTES = 9;

/** CODEC_HEADER, CODEC_TRUNCATED, CODEC_CORRUPT, CODEC_TRAILING, LIMIT_WINDOW. */
export async function* unxz(input: ByteInput, windows: Windows): AsyncGenerator<Buffer> {
  const decoder = new BlockDecoder(input, windows);
  do yield* stream(input, decoder);
  while (await anotherStream(input));
}

export const hasXzMagic = (head: Buffer): boolean => head.subarray(0, MAGIC.length).equals(MAGIC);

async function* stream(input: ByteInput, decoder: BlockDecoder): AsyncGenerator<Buffer> {
  const magic = await input.peek(MAGIC.length);
  if (!magic.equals(MAGIC.subarray(0, magic.length))) throw badHeader("a stream that is no xz");
  const header = await need(input, STREAM_HEADER_BYTES);
  const flags = header.subarray(6, 8);
  if (crc32(flags) !== header.readUInt32LE(8)) throw corrupt("the checksum of a stream's header");
  const type = flags[1] as number;
  if (flags[0] !== 0 || type > 15) throw badHeader("unknown flags of a stream");
  const blocks = new Blocks();
  while ((await peeked(input)) !== 0) {
    const sizes = yield* decoder.block(checkOf(type));
    blocks.add(sizes.unpadded, sizes.content);
  }
  const indexBytes = await readIndex(input, blocks);
  const footer = await need(input, STREAM_HEADER_BYTES);
  if (crc32(footer.subarray(4, 10)) !== footer.readUInt32LE(0)) throw corrupt("the checksum of a stream's footer");
  const same = footer.subarray(8, 10).equals(flags) && (footer.readUInt32LE(4) + 1) * 4 === indexBytes;
  if (!same || !footer.subarray(10).equals(FOOTER_MAGIC)) throw corrupt("the footer of a stream");
}

/** Behind a stream: nothing, or zeros by fours, or zeros and another stream. */
async function anotherStream(input: ByteInput): Promise<boolean> {
  for (;;) {
    const next = await input.peek(4);
    if (next.length === 0) return false;
    if (next.length === 4 && next.readUInt32LE(0) === 0) input.skip(4);
    else if (next.equals(MAGIC.subarray(0, next.length))) return true;
    else throw new StrataError("CODEC_TRAILING", "Cannot inflate the layer: data after the xz stream");
  }
}

/** What the index has to repeat, in little memory: how many blocks, and a hash of their sizes. */
class Blocks {
  count = 0;
  readonly #hash = createHash("sha256");

  add(unpadded: number, content: number): void {
    this.count += 1;
    this.#hash.update(`${unpadded} ${content}\n`);
  }

  digest(): string {
    return this.#hash.digest("hex");
  }
}

/** Returns the bytes of the index. */
async function readIndex(input: ByteInput, blocks: Blocks): Promise<number> {
  const bytes = new SummedBytes(input);
  await bytes.next(); // the zero that says so
  const listed = new Blocks();
  const count = await bytes.integer();
  if (count !== blocks.count) throw corrupt("the index of a stream");
  for (let i = 0; i < count; i += 1) listed.add(await bytes.integer(), await bytes.integer());
  while (bytes.read % 4 !== 0) if ((await bytes.next()) !== 0) throw corrupt("the padding of an index");
  const { crc, read } = bytes;
  const sum = await need(input, 4);
  if (sum.readUInt32LE(0) !== crc) throw corrupt("the checksum of an index");
  if (listed.digest() !== blocks.digest()) throw corrupt("the index of a stream");
  return read + sum.length;
}

/** Byte by byte, with their CRC. */
class SummedBytes {
  readonly #input: ByteInput;
  crc = 0;
  read = 0;

  constructor(input: ByteInput) {
    this.#input = input;
  }

  async next(): Promise<number> {
    const byte = await need(this.#input, 1);
    this.crc = crc32(byte, this.crc);
    this.read += 1;
    return byte[0] as number;
  }

  async integer(): Promise<number> {
    const encoded: number[] = [];
    do encoded.push(await this.next());
    while ((encoded.at(-1) as number) >= 0x80 && encoded.length < MAX_VLI_BYTES);
    return integerAt(Buffer.from(encoded), 0).value;
  }
}

/** A multibyte integer: seven bits a byte, the lowest first (1.2 of the format). */
function integerAt(bytes: Buffer, at: number): { value: number; end: number } {
  let value = 0;
  for (let i = 0; i < MAX_VLI_BYTES; i += 1) {
    const byte = bytes[at + i];
    if (byte === undefined || (byte === 0 && i > 0)) break;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) {
      if (!Number.isSafeInteger(value)) break;
      return { value, end: at + i + 1 };
    }
  }
  throw badHeader("an integer that is none");
}

interface BlockSizes {
  /** Header, data and check, without the padding between the last two. */
  readonly unpadded: number;
  readonly content: number;
}

interface BlockHeader {
  readonly bytes: number;
  readonly dictionaryBytes: number;
  readonly dataBytes: number | undefined;
  readonly contentBytes: number | undefined;
}

/** Decodes blocks one after another, with one decoder: its memory is that of the largest dictionary. */
class BlockDecoder {
  readonly #input: ByteInput;
  readonly #windows: Windows;
  readonly #lzma = new Lzma2();

  constructor(input: ByteInput, windows: Windows) {
    this.#input = input;
    this.#windows = windows;
  }

  async *block(check: Check): AsyncGenerator<Buffer, BlockSizes> {
    const header = await this.#header();
    await this.#windows.allow(header.dictionaryBytes, "an xz dictionary");
    this.#lzma.startBlock(header.dictionaryBytes);
    let [data, content] = [0, 0];
    for (;;) {
      const control = await peeked(this.#input);
      const chunk = await need(this.#input, Lzma2.headerBytes(control));
      data += chunk.length;
      if (control === 0) break;
      const body = await need(this.#input, Lzma2.dataBytes(chunk));
      data += body.length;
      const piece = decoded(this.#lzma, chunk, body);
      content += piece.length;
      check.update(piece);
      yield piece;
    }
    if ((header.dataBytes ?? data) !== data || (header.contentBytes ?? content) !== content)
      throw corrupt("the size of a block");
    const padding = await need(this.#input, (4 - (data % 4)) % 4);
    if (padding.some((byte) => byte !== 0)) throw corrupt("the padding of a block");
    const sum = await need(this.#input, check.bytes);
    if (!sum.equals(check.digest())) throw corrupt("the checksum of a block");
    return { unpadded: header.bytes + data + check.bytes, content };
  }

  async #header(): Promise<BlockHeader> {
    const bytes = ((await peeked(this.#input)) + 1) * 4;
    const header = await need(this.#input, bytes);
    const end = bytes - 4;
    if (crc32(header.subarray(0, end)) !== header.readUInt32LE(end)) throw corrupt("the checksum of a block's header");
    const flags = header[1] as number;
    if ((flags & 0x3c) !== 0) throw badHeader("unknown flags of a block");
    if ((flags & 0x03) !== 0) throw badHeader("a filter besides LZMA2");
    let at = 2;
    const integer = (): number => {
      const { value, end: next } = integerAt(header.subarray(0, end), at);
      at = next;
      return value;
    };
    const dataBytes = (flags & 0x40) === 0 ? undefined : integer();
    const contentBytes = (flags & 0x80) === 0 ? undefined : integer();
    if (integer() !== LZMA2 || integer() !== 1) throw badHeader("a filter other than LZMA2");
    if (at >= end) throw badHeader("a block's header that ends too early");
    const dictionaryBytes = dictionarySize(header[at] as number);
    if (header.subarray(at + 1, end).some((byte) => byte !== 0)) throw badHeader("a block's header with more in it");
    return { bytes, dictionaryBytes, dataBytes, contentBytes };
  }
}

/** 5.3.1 of the format. */
function dictionarySize(bits: number): number {
  if (bits > MAX_DICTIONARY_BITS) throw badHeader("a dictionary of an unknown size");
  return (2 | (bits & 1)) * 2 ** (Math.floor(bits / 2) + 11);
}

function decoded(decoder: Lzma2, header: Buffer, body: Buffer): Buffer {
  try {
    return decoder.chunk(header, body);
  } catch (cause) {
    throw corrupt("the data of a block", cause);
  }
}

/** What proves a block's content; `digest` as it stands in the file. */
interface Check {
  readonly bytes: number;
  update(piece: Buffer): void;
  digest(): Buffer;
}

function checkOf(type: number): Check {
  switch (type) {
    case 0:
      return { bytes: 0, update: () => undefined, digest: () => Buffer.alloc(0) };
    case 1: {
      let sum = 0;
      return {
        bytes: 4,
        update: (piece) => {
          sum = crc32(piece, sum);
        },
        digest: () => {
          const bytes = Buffer.alloc(4);
          bytes.writeUInt32LE(sum);
          return bytes;
        },
      };
    }
    case 4:
      return { bytes: 8, ...crc64() };
    case 10: {
      const sum = createHash("sha256");
      return { bytes: 32, update: (piece) => void sum.update(piece), digest: () => sum.digest() };
    }
    default:
      throw badHeader("an unknown kind of checksum");
  }
}

async function need(input: ByteInput, bytes: number): Promise<Buffer> {
  const found = await input.peek(bytes);
  if (found.length < bytes)
    throw new StrataError("CODEC_TRUNCATED", "Cannot inflate the layer: it ends within an xz stream");
  input.skip(bytes);
  return found;
}

/** The next byte, which stays. */
async function peeked(input: ByteInput): Promise<number> {
  const [byte] = await input.peek(1);
  if (byte === undefined)
    throw new StrataError("CODEC_TRUNCATED", "Cannot inflate the layer: it ends within an xz stream");
  return byte;
}

const badHeader = (what: string): StrataError => new StrataError("CODEC_HEADER", `Cannot inflate the layer: ${what}`);
const corrupt = (what: string, cause?: unknown): StrataError =>
  new StrataError("CODEC_CORRUPT", `Cannot inflate the layer: ${what} is wrong`, { cause });
