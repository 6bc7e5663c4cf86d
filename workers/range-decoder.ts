/**
 * The range decoder of LZMA (lzma-specification.txt): bits out of bytes, each by a model that learns how likely it is. What is wrong
 * with the bytes is a plain Error.
 */

const BIT_MODEL_TOTAL = 2048;
const HALF = BIT_MODEL_TOTAL / 2;
const MOVE_BITS = 5;
const TOP = 2 ** 24;

export class RangeDecoder {
  readonly #models: Uint16Array;
  #range = 0;
  #code = 0;
  #input: Uint8Array = new Uint8Array(0);
  #next = 0;

  constructor(models: number) {
    this.#models = new Uint16Array(models);
  }

  /** All models know nothing. */
  forget(): void {
    this.#models.fill(HALF);
  }

  /** Reads from these bytes now; the models keep what they know. */
  start(data: Uint8Array): void {
    if (data.length < 5 || data[0] !== 0) throw new Error("a chunk without a range coder's start");
    this.#input = data;
    this.#range = 0xffffffff;
    this.#code = Buffer.from(data.buffer, data.byteOffset + 1, 4).readUInt32BE();
    this.#next = 5;
  }

  /** All bits are read: the bytes must be, too. */
  finish(): void {
    this.#normalize();
    if (this.#code !== 0 || this.#next !== this.#input.length)
      throw new Error("a chunk that does not end where it says");
  }

  /** A number of so many bits, the highest first, each with a model of its own by those before it. */
  tree(models: number, bits: number): number {
    let symbol = 1;
    for (let i = 0; i < bits; i += 1) symbol = (symbol << 1) | this.bit(models + symbol);
    return symbol - (1 << bits);
  }

  /** The same, the lowest bit first. */
  reverseTree(models: number, bits: number): number {
    let [symbol, value] = [1, 0];
    for (let i = 0; i < bits; i += 1) {
      const bit = this.bit(models + symbol);
      symbol = (symbol << 1) | bit;
      value |= bit << i;
    }
    return value;
  }

  #normalize(): void {
    if (this.#range >= TOP) return;
    if (this.#next >= this.#input.length) throw new Error("a chunk that is shorter than it says");
    this.#range = (this.#range << 8) >>> 0;
    this.#code = ((this.#code << 8) | (this.#input[this.#next] as number)) >>> 0;
    this.#next += 1;
  }

  /** 0 or 1, by this model. */
  bit(model: number): number {
    this.#normalize();
    const probability = this.#models[model] as number;
    const bound = (this.#range >>> 11) * probability;
    if (this.#code < bound) {
      this.#range = bound;
      this.#models[model] = probability + ((BIT_MODEL_TOTAL - probability) >> MOVE_BITS);
      return 0;
    }
    this.#range -= bound;
    this.#code -= bound;
    this.#models[model] = probability - (probability >> MOVE_BITS);
    return 1;
  }

  /** A number of so many bits, as likely as not, without a model. */
  directBits(bits: number): number {
    let value = 0;
    for (let i = 0; i < bits; i += 1) {
      this.#normalize();
      this.#range >>>= 1;
      const bit = this.#code >= this.#range ? 1 : 0;
      if (bit === 1) this.#code -= this.#range;
      value = value * 2 + bit;
    }
    return value;
  }
}
