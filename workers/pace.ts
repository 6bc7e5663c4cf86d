/**
 * How the thread that writes a tree keeps pace with the one that inflates the archive. A helper has to be started, and compiles its code
 * for itself: it is worth that only where the writer has been behind for long, and where a processor has nothing else to do.
 */

const LONG_BYTES = 4 * 1024 * 1024;
/** Beside entries smaller than that the thread that inflates and hashes is idle most of the time: writing one costs as much as 10 kB of both. */
const SMALL_BYTES = 4 * 1024;
/** What inflates, what hashes and what writes. */
const PROCESSORS_A_LAYER = 3;

export class Pace {
  readonly #processors: number;
  #lateBytes = 0;
  #lateEntries = 0;

  constructor(processors: number) {
    this.#processors = processors;
  }

  /** So much was written next; `isBehind`: while more than enough was waiting. */
  wrote({
    bytes,
    entries,
    isBehind,
  }: {
    readonly bytes: number;
    readonly entries: number;
    readonly isBehind: boolean;
  }): void {
    this.#lateBytes = isBehind ? this.#lateBytes + bytes : 0;
    this.#lateEntries = isBehind ? this.#lateEntries + entries : 0;
  }

  /** While so many threads of the pool are at work, this layer's included; most of them unpack layers too. */
  needsHelp(busyThreads: number): boolean {
    if (this.#lateBytes < LONG_BYTES || busyThreads >= this.#processors) return false;
    return this.#lateBytes < this.#lateEntries * SMALL_BYTES || this.#processors > busyThreads * PROCESSORS_A_LAYER;
  }
}
