/**
 * A pull-based view of the blob's chunks: look ahead a few bytes, take some, take whole chunks, give back what was too much.
 * What a framing reader needs; holds no more than what was looked at and not taken.
 */

/** Undefined at the end. */
export type ChunkSource = () => Promise<Buffer | undefined>;

export class ByteInput {
  readonly #source: ChunkSource;
  #chunks: Buffer[] = [];
  #ended = false;
  /** Bytes that came from the source. */
  bytesRead = 0;

  constructor(source: ChunkSource) {
    this.#source = source;
  }

  /** The next `bytes` bytes without taking them; fewer only where the input ends. */
  async peek(bytes: number): Promise<Buffer> {
    let held = this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    while (held < bytes && !this.#ended) held += (await this.#pull())?.length ?? 0;
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]?.subarray(0, bytes) ?? Buffer.alloc(0);
  }

  /** Takes bytes that were peeked. */
  skip(bytes: number): void {
    const [first, ...others] = this.#chunks;
    if (first === undefined || bytes === 0) return;
    this.#chunks = bytes < first.length ? [first.subarray(bytes), ...others] : others;
  }

  /** The next chunk, however long; undefined at the end. */
  async take(): Promise<Buffer | undefined> {
    if (this.#chunks.length === 0) await this.#pull();
    return this.#chunks.shift();
  }

  /** Gives back the tail of what was taken: it comes next. */
  unread(bytes: Buffer): void {
    if (bytes.length > 0) this.#chunks.unshift(bytes);
  }

  async *rest(): AsyncGenerator<Buffer> {
    for (let chunk = await this.take(); chunk !== undefined; chunk = await this.take()) yield chunk;
  }

  async #pull(): Promise<Buffer | undefined> {
    const chunk = this.#ended ? undefined : await this.#source();
    if (chunk === undefined) this.#ended = true;
    else {
      this.bytesRead += chunk.length;
      this.#chunks.push(chunk);
    }
    return chunk;
  }
}
