/**
 * The background scrub: reads every layer again and again, the least recently verified first, a little at a time and only while the
 * pool has nothing else to do, at a rate. What it finds is told like any other finding.
 *
 * Holds no thread while it waits, and wakes only when there is something to read. Where it is stands in the layers' own meta.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { SCRUB_INTERVAL_MS } from "../limits.js";
import type { Log } from "../log.js";
import type { DiffId } from "../oci/digest.js";
import type { Pool } from "../pool.js";
import { inSlices, type Steps, sortedBy } from "../slices.js";
import type { KnownLayer } from "../store/layers.js";
import type { Store } from "../store/store.js";
import type { StoreVerification } from "./store-verification.js";
import { extentsOf, type Verifier } from "./verifier.js";

export interface ScrubberOptions {
  readonly store: Store;
  readonly pool: Pool;
  readonly verifier: Verifier;
  readonly verification: StoreVerification;
  /** Of contents, on the average. */
  readonly bytesPerSecond: number;
  readonly log: Log;
}

/** What looking at an entry costs beside its content, as if it were read. */
const ENTRY_BYTES = 512;
/** When nothing is due: a layer that was installed meanwhile is not due for longer. */
const LOOK_AGAIN_MS = 60 * 60 * 1000;

export class Scrubber {
  readonly #options: ScrubberOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#options.log.error("scrub.stopped", { error });
    });
  }

  /** It does no more; what it was reading is given up. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const due = await inSlices(dueLayers(this.#options.store.layers.all(), Date.now()), signal);
      for (const diffId of due) await this.#layer(diffId, signal);
      if (due.length === 0) await this.#pause(LOOK_AGAIN_MS, signal);
    }
  }

  /** One that cannot be looked at now is looked at in the next round. */
  async #layer(diffId: DiffId, signal: AbortSignal): Promise<void> {
    const { store, verifier, verification, log } = this.#options;
    try {
      const document = store.layers.get(diffId)?.document;
      if (document === undefined) return;
      let isWhole = true;
      for (const extent of extentsOf(document, true)) {
        await this.#options.pool.whenIdle(signal);
        const begun = performance.now();
        const result = await verification.inTurn(signal, (both) => verifier.extent(document, extent, both));
        isWhole &&= result.total === 0;
        const costMs = ((result.bytes + result.entries * ENTRY_BYTES) / this.#options.bytesPerSecond) * 1000;
        await this.#pause(costMs - (performance.now() - begun), signal);
      }
      if (!isWhole) await verification.verify({ deep: true, digest: diffId }, signal);
      await store.layers.verified(diffId);
    } catch (error) {
      signal.throwIfAborted();
      log.warn("scrub.failed", { layer: diffId, error });
      await this.#pause(LOOK_AGAIN_MS, signal);
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (ms > 0) await sleep(ms, undefined, { signal, ref: false });
  }
}

type VerifiedLayer = Pick<KnownLayer, "diffId" | "createdAt" | "verifiedAt">;

/** The longest unverified first; unpacking verifies too. */
export function* dueLayers(layers: readonly VerifiedLayer[], nowMs: number): Steps<DiffId[]> {
  const due: { diffId: DiffId; at: number }[] = [];
  for (const { diffId, verifiedAt, createdAt } of layers) {
    const at = Date.parse(verifiedAt ?? createdAt);
    if (!(nowMs - at < SCRUB_INTERVAL_MS)) due.push({ diffId, at: at || 0 });
    yield;
  }
  const sorted = yield* sortedBy(due, ({ at }) => at);
  return sorted.map(({ diffId }) => diffId);
}
