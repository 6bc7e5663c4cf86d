/**
 * One deflate stream (RFC 1951) by node:zlib. A small one is inflated at once on this thread; the others ahead of their consumer:
 * what zlib makes goes into a bounded queue, and libuv's pool inflates the next chunk while the consumer has the last.
 */
import { createInflateRaw, type InflateRaw, inflateRawSync } from "node:zlib";
import { StrataError } from "../src/errors.js";
import { free } from "../src/freed-chunk.js";
import type { ByteInput } from "./byte-input.js";

/** Each is a trip to the pool and back, which wakes a processor twice. */
const CHUNK_BYTES = 1024 * 1024;
/** The consumer is hardly ever behind for long; where it is, zlib waits. */
const QUEUE_CHUNKS = 2;
/** zlib goes on with the next of its input when it is done with the last, and not when the consumer's turn of the loop is over. */
const FED_AHEAD = 2;
/** A trip to the pool costs 70-180 µs, measured, and blobs of eStargz have a member for each file: small ones stay here. */
const SMALL_STREAM_BYTES = 32 * 1024;
const SMALL_CONTENT_BYTES = 256 * 1024;
/** At a blob's start no more is looked at than its first piece has: all of 32 KiB may be long in coming. */
const FIRST_SMALL_STREAM_BYTES = 2 * 1024;

/** Takes from `input` exactly the stream; what follows it is given back. Each chunk is only valid until the next. CODEC_TRUNCATED, CODEC_CORRUPT. */
export async function* inflateNatively(
  input: ByteInput,
  { isFirst = false, smallStreamBytes }: { readonly isFirst?: boolean; readonly smallStreamBytes?: number } = {},
): AsyncGenerator<Buffer> {
  const most = isFirst ? FIRST_SMALL_STREAM_BYTES : SMALL_STREAM_BYTES;
  const small = await inflateSmall(input, smallStreamBytes ?? most);
  if (small === undefined) yield* inflateAhead(input);
  else yield small;
}

/** The content, where the stream is small and sound; undefined, with nothing taken, where the long way has to tell. */
async function inflateSmall(input: ByteInput, smallStreamBytes: number): Promise<Buffer | undefined> {
  const head = await input.peek(smallStreamBytes);
  try {
    const { buffer, engine } = inflateWhole(head);
    // What fills the head to its end may go on behind it.
    if (engine.bytesWritten === head.length) return undefined;
    input.skip(engine.bytesWritten);
    return buffer;
  } catch {
    return undefined;
  }
}

/** With `info`, node:zlib tells how much of its input the stream was; the types do not know. */
const inflateWhole = (deflated: Buffer): { buffer: Buffer; engine: { bytesWritten: number } } =>
  inflateRawSync(deflated, { info: true, maxOutputLength: SMALL_CONTENT_BYTES }) as never;

async function* inflateAhead(input: ByteInput): AsyncGenerator<Buffer> {
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
  stream.on("error", (error) => {
    // What zlib made before it failed waits in the stream where the consumer is slow: given all the same, whatever its pace.
    for (let left: Buffer | null = stream.read(); left !== null; left = stream.read()) queue.push(left);
    settle(error);
  });
  const fed = feed(stream, input, over.signal).catch((error: unknown) => {
    settle(error);
    return undefined;
  });
  try {
    for (;;) {
      const chunk = queue.shift();
      if (chunk !== undefined) {
        if (stream.isPaused() && queue.length < QUEUE_CHUNKS / 2) stream.resume();
        yield chunk;
        free(chunk);
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
    // Who reads on from the input after a refusal must be the only one who does.
    await fed;
  }
}

/** Keeps what zlib takes next beside what it has until the stream is over or the input is. Returns what may lie behind the stream's end. */
async function feed(stream: InflateRaw, input: ByteInput, over: AbortSignal): Promise<Tail> {
  const tail = new Tail(input);
  let proceed = (): void => undefined;
  over.addEventListener("abort", () => proceed(), { once: true });
  for (;;) {
    // Read and hashed while zlib has the chunks before it.
    const chunk = await input.take();
    while (tail.chunks >= FED_AHEAD && !over.aborted) {
      await new Promise<void>((resolve) => {
        proceed = resolve;
      });
    }
    if (over.aborted) {
      if (chunk !== undefined) tail.add(chunk);
      return tail;
    }
    if (chunk === undefined) {
      stream.end();
      return tail;
    }
    tail.add(chunk);
    stream.write(chunk, () => {
      tail.drop(stream.bytesWritten);
      proceed();
    });
  }
}

/** The chunks that zlib has not consumed whole: what is behind the stream's end goes back to the input. */
class Tail {
  readonly #input: ByteInput;
  readonly #chunks: Buffer[] = [];
  #fedBytes = 0;
  #droppedBytes = 0;

  constructor(input: ByteInput) {
    this.#input = input;
  }

  get chunks(): number {
    return this.#chunks.length;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#fedBytes += chunk.length;
  }

  /** Those of the first bytes, which zlib is done with. */
  drop(consumedBytes: number): void {
    for (let first = this.#chunks[0]; first !== undefined; first = this.#chunks[0]) {
      if (this.#droppedBytes + first.length > consumedBytes) return;
      this.#droppedBytes += first.length;
      this.#chunks.shift();
      free(first);
    }
  }

  giveBack(consumedBytes: number): void {
    for (let behind = this.#fedBytes - consumedBytes; behind > 0; ) {
      const last = this.#chunks.pop() as Buffer;
      const piece = last.subarray(Math.max(0, last.length - behind));
      this.#input.unread(piece);
      behind -= piece.length;
    }
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
