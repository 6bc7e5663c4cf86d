/**
 * How fast bytes come, over the last few seconds, and how long the rest will take at that speed.
 *
 * Pure: the caller brings the clock. Says nothing until it has seen long enough to know.
 */

const WINDOW_MS = 5000;
const LEAST_SPAN_MS = 500;

interface Sample {
  readonly atMs: number;
  readonly bytes: number;
}

export class RateMeter {
  #samples: Sample[] = [];

  /** `bytes` in total have come by now. */
  add(atMs: number, bytes: number): void {
    const recent = this.#samples.filter((sample) => sample.atMs > atMs - WINDOW_MS && sample.bytes <= bytes);
    const last = recent.at(-1);
    // Samples closer than a frame of the view say nothing new and would fill the window.
    if (last !== undefined && recent.length > 1 && atMs - last.atMs < 50) recent.pop();
    this.#samples = [...recent, { atMs, bytes }];
  }

  /** Undefined while nothing is known or nothing comes. */
  get bytesPerSecond(): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.atMs - first.atMs < LEAST_SPAN_MS) return undefined;
    const rate = ((last.bytes - first.bytes) * 1000) / (last.atMs - first.atMs);
    return rate > 0 ? rate : undefined;
  }
}
