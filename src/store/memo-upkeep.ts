/**
 * Keeps the memos of scans near what stands in the store while a daemon serves it: the next start may come after a kill. A start writes
 * memos itself of what it had to read; this is for what changed since.
 *
 * Looks from time to time, and works only where much was written; then a part at a time, with long rests.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { COLLECTION_REST, MAX_SCANNED, MEMO_INTERVAL_MS, MEMO_SLACK } from "../limits.js";
import type { Log } from "../log.js";
import { writtenSoFar } from "./documents.js";
import { ALGORITHMS, type StoreLayout } from "./layout.js";
import { listStore } from "./listing.js";
import { type ScanWorkers, StoreScan } from "./store-scan.js";

interface Counted {
  readonly size: number;
}

export interface UpkeepOptions {
  readonly store: {
    readonly layout: StoreLayout;
    readonly layers: Counted;
    readonly roots: Counted;
    readonly names: Counted;
  };
  /** What is behind everything else that workers have to do. */
  readonly workers: Pick<ScanWorkers, "list" | "scan">;
  readonly log: Log;
}

export class MemoUpkeep {
  readonly #options: UpkeepOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** What had been written when all memos were last up to date. */
  #seen = writtenSoFar();

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  start(): void {
    // Ends by being stopped.
    this.#running = this.#run().catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (;;) {
      await sleep(MEMO_INTERVAL_MS, undefined, { signal: this.#stop.signal, ref: false });
      const { store, log } = this.#options;
      const { layers, roots, names } = store;
      const much = Math.max(MAX_SCANNED, (layers.size + roots.size + names.size) / MEMO_SLACK);
      if (writtenSoFar() - this.#seen < much) continue;
      await this.renew().catch((error: unknown) => {
        this.#stop.signal.throwIfAborted();
        log.warn("memo.unwritten", { error });
      });
    }
  }

  /** Brings all memos up to date, whatever was written. */
  async renew(): Promise<void> {
    const { store, workers, log } = this.#options;
    const written = writtenSoFar();
    const scan = new StoreScan(store.layout, workers, log);
    await scan.start();
    const listed = await listStore(store.layout, workers);
    const { signal } = this.#stop;
    const rest = (tookMs: number) => sleep(tookMs * COLLECTION_REST, undefined, { signal });
    for (const [which, algorithm] of ALGORITHMS.entries())
      await scan.renew(store.layout.layerPlace(algorithm), listed.layers[which] ?? [], rest);
    await scan.renew(store.layout.rootPlace, listed.roots, rest);
    await scan.renew(store.layout.namePlace, listed.names, rest);
    await scan.sweepMemos();
    this.#seen = written;
  }
}
