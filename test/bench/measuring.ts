/** What the benches have in common: a place of their own on a file system, a clock and a median. */
import { closeSync, openSync, readSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Scope } from "../support/sandbox.js";

export async function timed(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

export function median(of: readonly number[]): number {
  return of.toSorted((x, y) => x - y)[Math.floor(of.length / 2)] ?? Number.NaN;
}

/** In a directory of its own below `below`; whatever comes of it, nothing is left there. */
export async function inPlace(below: string, action: (place: string, scope: Scope) => Promise<void>): Promise<void> {
  const place = await mkdtemp(join(below, "bench-"));
  const cleanUps: (() => Promise<void>)[] = [() => rm(place, { recursive: true, force: true })];
  try {
    await action(place, { after: (cleanUp) => cleanUps.push(cleanUp) });
  } finally {
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  }
}

/** The longest turn of the loop: by the clock, and what the main thread had of a processor in it, which others' load does not change. */
export class Turns {
  readonly #statistics = openSync(`/proc/self/task/${process.pid}/schedstat`, "r");
  readonly #text = Buffer.alloc(64);
  #next: NodeJS.Immediate;
  #waitMs = 0;
  #processorMs = 0;

  constructor() {
    this.#next = setImmediate(() => this.#turn(performance.now(), this.#processorTime()));
  }

  end(): { readonly waitMs: number; readonly processorMs: number } {
    clearImmediate(this.#next);
    closeSync(this.#statistics);
    return { waitMs: this.#waitMs, processorMs: this.#processorMs };
  }

  #turn(beforeMs: number, processorBeforeMs: number): void {
    this.#next = setImmediate(() => {
      const [nowMs, processorMs] = [performance.now(), this.#processorTime()];
      this.#waitMs = Math.max(this.#waitMs, nowMs - beforeMs);
      this.#processorMs = Math.max(this.#processorMs, processorMs - processorBeforeMs);
      this.#turn(nowMs, processorMs);
    });
  }

  #processorTime(): number {
    const length = readSync(this.#statistics, this.#text, 0, this.#text.length, 0);
    return Number.parseInt(this.#text.toString("latin1", 0, length), 10) / 1e6;
  }
}
