/**
 * One deflate stream (RFC 1951) by node:zlib, inflated ahead of a synchronous consumer.
 *
 * A pipe would not overlap: zlib starts its next chunk only when the consumer of the last returns (performance.md). So chunks
 * go into a bounded queue, and the consumer gets one a turn of the event loop; meanwhile libuv's pool fills the queue.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { createInflateRaw, type InflateRaw } from "node:zlib";
import { StrataError } from "../src/errors.js";
import type { ByteInput } from "./byte-input.js";

const CHUNK_BYTES = 256 * 1024;
/** 4 MiB ahead of the consumer: enough to ride out a slow write, small beside the limit of a worker. */
const QUEUE_CHUNKS = 16;

/** Takes from `input` exactly the stream; what follows it is given back. CODEC_TRUNCATED, CODEC_CORRUPT. */
export async function* inflateRaw(input: ByteInput): AsyncGenerator<Buffer> {
  const stream = createInflateRaw({ chunkSize: CHUNK_BYTES });
  const queue: Buffer[] = [];
  let over = false;
  let failure: unknown;
  let wake = (): void => undefined;
  stream.on("data", (chunk: Buffer) => {
    queue.push(chunk);
    if (queue.length >= QUEUE_CHUNKS) stream.pause();
    wake();
  });
  stream.on("drain", () => wake());
  const settle = (error?: unknown): void => {
    over = true;
    failure ??= error;
    wake();
  };
  stream.on("end", () => settle());
  stream.on("error", settle);
  const feeder = new Feeder(input, stream);
  try {
    for (;;) {
      await feeder.feed();
      const chunk = queue.shift();
      if (chunk !== undefined) {
        if (queue.length < QUEUE_CHUNKS / 2) stream.resume();
        yield chunk;
        await nextTurn();
      } else if (over) break;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
    if (failure !== undefined) throw codecError(failure);
    feeder.giveBack();
  } finally {
    stream.destroy();
  }
}

/** Keeps zlib's write queue full, and remembers what may turn out to lie behind the stream's end. */
class Feeder {
  readonly #input: ByteInput;
  readonly #stream: InflateRaw;
  #fed = 0;
  /** The chunks that zlib has not consumed whole. */
  #recent: Buffer[] = [];
  #recentBytes = 0;
  #ended = false;

  constructor(input: ByteInput, stream: InflateRaw) {
    this.#input = input;
    this.#stream = stream;
  }

  async feed(): Promise<void> {
    while (!this.#ended && !this.#stream.writableNeedDrain && !this.#stream.readableEnded) {
      const chunk = await this.#input.take();
      if (chunk === undefined) {
        this.#ended = true;
        this.#stream.end();
        return;
      }
      this.#forget();
      this.#fed += chunk.length;
      this.#recent.push(chunk);
      this.#recentBytes += chunk.length;
      this.#stream.write(chunk);
    }
  }

  /** What was fed and lies behind the stream's end goes back to the input. */
  giveBack(): void {
    const behind = this.#fed - this.#stream.bytesWritten;
    const tail = Buffer.concat(this.#recent);
    this.#input.unread(tail.subarray(tail.length - behind));
  }

  #forget(): void {
    const consumed = this.#stream.bytesWritten;
    for (let first = this.#recent[0]; first !== undefined; first = this.#recent[0]) {
      if (this.#fed - this.#recentBytes + first.length > consumed) return;
      this.#recentBytes -= first.length;
      this.#recent.shift();
    }
  }
}

function codecError(error: unknown): StrataError {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (error instanceof StrataError) return error;
  if (code === "Z_BUF_ERROR")
    return new StrataError("CODEC_TRUNCATED", "Cannot inflate the layer: it ends within a deflate stream");
  return new StrataError("CODEC_CORRUPT", "Cannot inflate the layer: its deflate stream is damaged", { cause: error });
}
