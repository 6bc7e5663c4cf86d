/**
 * A layer's compressed bytes into its tar, whatever the codec, behind one interface: chunks in, chunks out.
 *
 * Owns which engine reads which codec and the limits that hold for all of them; the exact framing of each codec stands in its
 * own file.
 */
import { StrataError } from "../src/errors.js";
import type { ImageLimits } from "../src/limits.js";
import type { Codec } from "../src/oci/media-types.js";
import type { Decoders } from "../src/tasks.js";
import { ByteInput, type ChunkSource } from "./byte-input.js";
import { inflateWithFflate } from "./deflate-fflate.js";
import { inflateNatively } from "./deflate-native.js";
import { type DeflateEngine, gunzip, type Room } from "./gunzip.js";
import { hasXzMagic, unxz } from "./unxz.js";
import { hasZstdMagic, unzstd } from "./unzstd.js";
import { Windows } from "./windows.js";
import { nativeZstd, wasmZstd, type ZstdEngine } from "./zstd-engines.js";

export type { ChunkSource } from "./byte-input.js";

/** One way to read one codec: everything from the input's start to its end, or a refusal. */
export interface Inflater {
  /** Names the engine, for layer.json. */
  readonly decoder: string;
  readonly chunks: (input: ByteInput, bounds: Bounds) => AsyncIterable<Buffer>;
}

interface Bounds {
  readonly limits: ImageLimits;
  readonly room: Room;
  readonly windows: Windows;
}

const zstdBy = (engine: ZstdEngine): Inflater => ({
  decoder: engine.name,
  chunks: (input, { windows }) => unzstd(input, engine, windows),
});
const gzipBy = (decoder: string, engine: DeflateEngine): Inflater => ({
  decoder,
  chunks: (input, bounds) => gunzip(input, bounds, engine),
});
const fflateGzip = gzipBy("fflate", inflateWithFflate);
const nativeGzip = inflateNatively && gzipBy("node:zlib", inflateNatively);
const plain: Inflater = { decoder: "none", chunks: (input) => input.rest() };
const xz: Inflater = { decoder: "stratad", chunks: (input, { windows }) => unxz(input, windows) };

const inflaters: Readonly<Record<Decoders, Readonly<Record<Codec, Inflater>>>> = {
  native: {
    none: plain,
    gzip: nativeGzip ?? fflateGzip,
    zstd: zstdBy(nativeZstd ?? wasmZstd),
    xz,
  },
  javascript: {
    none: plain,
    gzip: fflateGzip,
    zstd: zstdBy(wasmZstd),
    xz,
  },
};

export interface Inflating {
  /** Of the whole blob, compressed: what the ratio is judged against. How far engines read ahead is a matter of time. */
  readonly blobBytes: number;
  readonly limits: ImageLimits;
  readonly decoders?: Decoders;
  /** Absent: nobody else is there to take turns with. */
  readonly windows?: Windows;
  /** Where a chunk is wanted; an engine that has it elsewhere does not ask. Absent: one memory for all. */
  readonly room?: Room;
}

export interface Inflated {
  readonly decoder: string;
  /** Each is only valid until the next. */
  readonly chunks: AsyncIterable<Buffer>;
}

/** Codes CODEC_*, MEDIA_TYPE_MISMATCH, LIMIT_BYTES, LIMIT_RATIO, LIMIT_WINDOW. */
export async function inflate(
  codec: Codec,
  source: ChunkSource,
  { blobBytes, limits, decoders = "native", windows = new Windows(limits), room = oneChunk() }: Inflating,
): Promise<Inflated> {
  const input = new ByteInput(source);
  await refuseMismatch(codec, input);
  const { decoder, chunks } = inflaters[decoders][codec];
  return { decoder, chunks: bounded(chunks(input, { limits, windows, room }), blobBytes, limits) };
}

const CHUNK_BYTES = 256 * 1024;

function oneChunk(): Room {
  const memory = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  return async () => memory;
}

/** Ends a bomb while it unpacks: bytes and ratio are judged chunk by chunk. */
async function* bounded(chunks: AsyncIterable<Buffer>, blobBytes: number, limits: ImageLimits): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > limits.maxLayerBytes) {
      throw new StrataError("LIMIT_BYTES", `Cannot unpack the layer: it is larger than ${limits.maxLayerBytes} bytes`);
    }
    if (bytes > limits.ratioFloorBytes && bytes > blobBytes * limits.maxRatio) {
      throw new StrataError(
        "LIMIT_RATIO",
        `Cannot unpack the layer: it inflates to more than ${limits.maxRatio} times its size`,
      );
    }
    yield chunk;
  }
}

const MAGIC_BYTES = 262;
const USTAR_AT = 257;

/** The first bytes must be what the media type says: a reader that guesses instead would unpack something else than the next. */
async function refuseMismatch(codec: Codec, input: ByteInput): Promise<void> {
  const head = await input.peek(MAGIC_BYTES);
  if (head.length === 0) {
    const code = codec === "none" ? "TAR_TRUNCATED" : "CODEC_TRUNCATED";
    throw new StrataError(code, "Cannot unpack the layer: it is empty");
  }
  // A tar whose first name happens to start as another format does is a tar all the same.
  const found = codec === "none" && hasUstarMagic(head) ? "none" : sniff(head);
  if (found === undefined || found === codec) return;
  throw new StrataError(
    "MEDIA_TYPE_MISMATCH",
    `Cannot unpack the layer: its media type says ${codec}, its first bytes are ${found}`,
  );
}

/** Undefined where the bytes are too few or too odd to tell: the codec or the guard then says what is wrong. */
function sniff(head: Buffer): string | undefined {
  if (head.length >= 2 && head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  if (hasZstdMagic(head)) return "zstd";
  if (hasXzMagic(head)) return "xz";
  if (head.subarray(0, 3).equals(Buffer.from("BZh"))) return "bzip2";
  if (hasUstarMagic(head)) return "none";
  if (MARKUP.test(head.toString("latin1"))) return "HTML";
  return undefined;
}

/** What proxies, login pages and object stores answer instead of a blob; it may start with a byte order mark. */
const MARKUP = /^(?:\xef\xbb\xbf)?\s*<(?:!doctype|!--|\?xml|html|head|body)/i;

const hasUstarMagic = (head: Buffer): boolean =>
  head.length >= MAGIC_BYTES && head.subarray(USTAR_AT, USTAR_AT + 5).equals(Buffer.from("ustar"));
