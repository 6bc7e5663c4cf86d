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

  constructor(source: ChunkSource) {
    this.#source = source;
  }

  /** The next `bytes` bytes without taking them; fewer only where the input ends. */
  async peek(bytes: number): Promise<Buffer> {
    let [count, held] = [0, 0];
    while (held < bytes) {
      const next = this.#chunks[count] ?? (await this.#pull());
      if (next === undefined) break;
      held += next.length;
      count += 1;
    }
    if (count > 1) this.#chunks.splice(0, count, Buffer.concat(this.#chunks.slice(0, count)));
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
    else this.#chunks.push(chunk);
    return chunk;
  }
}
