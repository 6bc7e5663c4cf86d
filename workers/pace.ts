/**
 * Whether a helper is worth its thread (write-behind.ts): it has to be started, and compiles its code for itself. So it is where the writer
 * of a tree has been behind for long, and where there are processors that no layer's two threads have.
 */

const LONG_BYTES = 4 * 1024 * 1024;
/** What inflates and what writes. */
const THREADS_A_LAYER = 2;

export class Pace {
  readonly #processors: number;
  #lateBytes = 0;

  constructor(processors: number) {
    this.#processors = processors;
  }

  /** So much was written next; `isBehind`: while more than enough was waiting. */
  wrote(bytes: number, isBehind: boolean): void {
    this.#lateBytes = isBehind ? this.#lateBytes + bytes : 0;
  }

  /** While so many threads of the pool are at work, this layer's included; most of them unpack layers too. */
  needsHelper(busyThreads: number): boolean {
    return this.#lateBytes >= LONG_BYTES && this.#processors > busyThreads * THREADS_A_LAYER;
  }
}
