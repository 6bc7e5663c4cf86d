/**
 * One deflate stream (RFC 1951) by fflate, on this thread: the same decoder on every Node version.
 *
 * It reads exactly the stream, as node:zlib does here, but is more lenient: it takes stored blocks whose length and complement
 * disagree, and Huffman codes that cannot be. CRC, length and diffID are judged outside, so what it lets through is content that
 * was promised, in an encoding that nobody writes.
 */
import { Inflate } from "fflate";
import { StrataError } from "../src/errors.js";
import type { ByteInput } from "./byte-input.js";

/** One push is one chunk, however much it inflates to: 4 KiB are 4 MiB of zeros at the most. */
const PUSH_BYTES = 4 * 1024;

/** What fflate's own readers of gzip and zip look at behind `Inflate`; its types have no word for the end of a stream. */
interface InflateState {
  readonly s: { readonly f?: number; readonly l?: unknown; readonly p?: number };
  readonly p: Uint8Array;
}

/** Takes from `input` exactly the stream; what follows it is given back. CODEC_TRUNCATED, CODEC_CORRUPT. */
export async function* inflateWithFflate(input: ByteInput): AsyncGenerator<Buffer> {
  let out: Uint8Array = new Uint8Array(0);
  const stream = new Inflate((chunk) => {
    out = chunk;
  });
  for (;;) {
    const chunk = await input.take();
    if (chunk === undefined)
      throw new StrataError("CODEC_TRUNCATED", "Cannot inflate the layer: it ends within a deflate stream");
    input.unread(chunk.subarray(PUSH_BYTES));
    push(stream, chunk.subarray(0, PUSH_BYTES));
    if (out.length > 0) yield Buffer.from(out.buffer, out.byteOffset, out.byteLength);
    const behind = behindTheEnd(stream as unknown as InflateState);
    if (behind === undefined) continue;
    input.unread(behind);
    return;
  }
}

function push(stream: Inflate, piece: Buffer): void {
  try {
    stream.push(piece);
  } catch (cause) {
    throw new StrataError("CODEC_CORRUPT", "Cannot inflate the layer: its deflate stream is damaged", { cause });
  }
}

/** What it was given and did not use, once the last block is over; undefined before. */
function behindTheEnd({ s: { f: isLast, l: openBlock, p: bits = 0 }, p: left }: InflateState): Buffer | undefined {
  if (!isLast || openBlock) return undefined;
  return Buffer.from(left.subarray(bits > 0 ? 1 : 0));
}
