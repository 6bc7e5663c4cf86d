/**
 * When a collection runs that nobody asked for: soon after something ended, once for all that ended meanwhile, and then not again
 * before a rest that is many times as long as it took, however many jobs there are.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { COLLECTION_REST, COLLECTION_REST_MAX_MS } from "../limits.js";
import type { Log } from "../log.js";

export class DueCollection {
  readonly #collect: () => Promise<unknown>;
  readonly #signal: AbortSignal;
  readonly #log: Log;
  #isDue = false;
  #running: Promise<void> | undefined;

  constructor(options: { readonly collect: () => Promise<unknown>; readonly signal: AbortSignal; readonly log: Log }) {
    this.#collect = options.collect;
    this.#signal = options.signal;
    this.#log = options.log;
  }

  /** Never rejects and is not waited for; nothing once the signal is aborted. */
  consider(): void {
    this.#isDue = true;
    this.#running ??= this.#whileDue();
  }

  /** Resolves when nothing is under way; the signal is aborted. */
  async ended(): Promise<void> {
    await this.#running;
  }

  async #whileDue(): Promise<void> {
    const signal = this.#signal;
    while (this.#isDue && !signal.aborted) {
      this.#isDue = false;
      const start = performance.now();
      await this.#collect().catch((error: unknown) => {
        if (!signal.aborted) this.#log.warn("collection.failed", { error });
      });
      const ms = Math.min(COLLECTION_REST * (performance.now() - start), COLLECTION_REST_MAX_MS);
      await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
    }
    this.#running = undefined;
  }
}
