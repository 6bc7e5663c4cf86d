/**
 * An image source that several pieces of work use: it is closed when the last of them is done, not when the job that opened it
 * gives up.
 */
import type { ImageSource } from "../sources/source.js";
import { untilAborted } from "./single-flight.js";

export class HeldSource {
  readonly #source: ImageSource;
  #holders = 0;

  constructor(source: ImageSource) {
    this.#source = source;
  }

  /** One that is being opened. CANCELLED where `signal` is aborted first: it is closed as soon as it is open then. */
  static async opened(opening: Promise<ImageSource>, signal: AbortSignal): Promise<HeldSource> {
    try {
      return new HeldSource(await untilAborted(opening, signal));
    } catch (error) {
      opening.then((late) => late.close()).catch(() => undefined);
      throw error;
    }
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
