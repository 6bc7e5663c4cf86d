/**
 * One deflate stream (RFC 1951) by node:zlib, inflated ahead of a synchronous consumer.
 *
 * A pipe would not overlap: zlib starts its next chunk only when the consumer of the last returns (performance.md). So what it
 * makes goes into a bounded queue, and the consumer gets a slice of it in each turn of the event loop; between the turns
 * zlib is fed and emptied, and libuv's pool inflates while the consumer works.
 */
import { once } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createInflateRaw, type InflateRaw } from "node:zlib";
import { StrataError } from "../src/errors.js";
import type { ByteInput } from "./byte-input.js";

const CHUNK_BYTES = 256 * 1024;
/** 4 MiB ahead of the consumer: enough to ride out a slow write, small beside the limit of a worker. */
const QUEUE_CHUNKS = 16;
/** What the consumer gets in one turn: less than zlib makes in one, so that zlib gets ahead although both share the turns. */
const SLICE_BYTES = 64 * 1024;

/** Takes from `input` exactly the stream; what follows it is given back. CODEC_TRUNCATED, CODEC_CORRUPT. */
export async function* inflateRaw(input: ByteInput): AsyncGenerator<Buffer> {
  const stream = createInflateRaw({ chunkSize: CHUNK_BYTES });
  const queue: Buffer[] = [];
  const over = new AbortController();
  let failure: unknown;
  let wake = (): void => undefined;
  const settle = (error?: unknown): void => {
    failure ??= error;
    over.abort();
    wake();
  };
  stream.on("data", (chunk: Buffer) => {
    queue.push(chunk);
    if (queue.length >= QUEUE_CHUNKS) stream.pause();
    wake();
  });
  stream.on("end", () => settle());
  stream.on("error", settle);
  const fed = feed(stream, input, over.signal).catch((error: unknown) => {
    settle(error);
    return undefined;
  });
  try {
    for (;;) {
      const chunk = queue.shift();
      if (chunk !== undefined) {
        if (stream.isPaused() && queue.length < QUEUE_CHUNKS / 2) stream.resume();
        for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
          yield chunk.subarray(at, at + SLICE_BYTES);
          await nextTurn();
        }
      } else if (over.signal.aborted) break;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    const tail = await fed;
    if (failure !== undefined) throw codecError(failure);
    tail?.giveBack(stream.bytesWritten);
  } finally {
    over.abort();
    stream.destroy();
  }
}

/** Keeps zlib's write queue full until the stream is over or the input is. Returns what may lie behind the stream's end. */
async function feed(stream: InflateRaw, input: ByteInput, over: AbortSignal): Promise<Tail> {
  const tail = new Tail(input);
  for (;;) {
    const chunk = await input.take();
    if (chunk === undefined) {
      stream.end();
      return tail;
    }
    tail.add(chunk, stream.bytesWritten);
    if (over.aborted) return tail;
    if (!stream.write(chunk)) await once(stream, "drain", { signal: over }).catch(() => undefined);
    if (over.aborted) return tail;
  }
}

/** The chunks that zlib has not consumed whole: what is behind the stream's end goes back to the input. */
class Tail {
  readonly #input: ByteInput;
  readonly #chunks: Buffer[] = [];
  #heldBytes = 0;
  #fedBytes = 0;

  constructor(input: ByteInput) {
    this.#input = input;
  }

  add(chunk: Buffer, consumedBytes: number): void {
    this.#chunks.push(chunk);
    this.#heldBytes += chunk.length;
    this.#fedBytes += chunk.length;
    for (let first = this.#chunks[0]; first !== undefined; first = this.#chunks[0]) {
      if (this.#fedBytes - this.#heldBytes + first.length > consumedBytes) return;
      this.#heldBytes -= first.length;
      this.#chunks.shift();
    }
  }

  giveBack(consumedBytes: number): void {
    const behind = this.#fedBytes - consumedBytes;
    const held = Buffer.concat(this.#chunks);
    this.#input.unread(held.subarray(held.length - behind));
  }
}

function codecError(error: unknown): StrataError {
  if (error instanceof StrataError) return error;
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "Z_BUF_ERROR") {
    return new StrataError("CODEC_TRUNCATED", "Cannot inflate the layer: it ends within a deflate stream");
  }
  return new StrataError("CODEC_CORRUPT", "Cannot inflate the layer: its deflate stream is damaged", { cause: error });
}
