/**
 * An image source that several pieces of work use: it is closed when the last of them is done, not when the job that opened it
 * gives up.
 */
import type { ImageSource } from "../sources/source.js";

export class HeldSource {
  readonly #source: ImageSource;
  #holders = 0;

  constructor(source: ImageSource) {
    this.#source = source;
  }

  /** The first use must begin before anything else can happen; later ones while another still runs. */
  async use<Value>(work: (source: ImageSource) => Promise<Value>): Promise<Value> {
    this.#holders += 1;
    try {
      return await work(this.#source);
    } finally {
      this.#holders -= 1;
      if (this.#holders === 0) await this.#source.close();
    }
  }
}
