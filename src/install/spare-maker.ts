/**
 * When spares are made, and of what: of the layers that were linked last, the last one first, when nothing was installed for a moment and
 * the pool has nothing else to do. Each is one attempt: a layer without a spare is linked as ever.
 */
import { mkdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { StrataError } from "../errors.js";
import { MAX_SPARE_NAMES, MIN_SPARE_ENTRIES, SPARE_AFTER_MS, SPARE_SPACE_PART } from "../limits.js";
import type { Log } from "../log.js";
import type { DiffId } from "../oci/digest.js";
import type { Pool } from "../pool.js";
import type { Amount } from "../store/collection.js";
import type { Store } from "../store/store.js";
import type { LayerDocument } from "../tasks.js";
import { measuredByDocuments, rootCost } from "./plan-cost.js";
import type { RootLinker } from "./root-linker.js";
import type { SpaceOptions } from "./space-ledger.js";

export interface SpareMakerOptions {
  readonly store: Store;
  readonly pool: Pool;
  readonly linker: RootLinker;
  readonly measure: SpaceOptions["measure"];
  /** Of all spares. */
  readonly maxEntries: number;
  readonly log: Log;
}

/** What an inode of a root's own takes at most: a directory, on most file systems. */
const INODE_BYTES = 4096;

export class SpareMaker {
  readonly #options: SpareMakerOptions;
  /** With their entries, no more in all than may be; the last linked last. */
  readonly #wanted = new Map<DiffId, number>();
  readonly #stopping = new AbortController();
  #lastWanted = 0;
  #running: Promise<void> | undefined;
  /** Never fails. */
  #making = Promise.resolve();
  /** What is being made, with its entries. */
  #made: [DiffId, number] | undefined;
  #giveUp = new AbortController();
  /** How many want none to be there. */
  #without = 0;

  constructor(options: SpareMakerOptions) {
    this.#options = options;
    void options.store.spares.shrink(options.maxEntries);
  }

  /** A root has these layers as they stand, or was to have them; another may come. */
  linked(layers: readonly LayerDocument[]): void {
    for (const layer of layers) {
      this.#wanted.delete(layer.diffId);
      if (this.#isFit(layer)) this.#wanted.set(layer.diffId, layer.entries);
    }
    let left = this.#options.maxEntries;
    for (const [diffId, entries] of [...this.#wanted].reverse()) {
      left -= entries;
      if (left < 0) this.#wanted.delete(diffId);
    }
    this.#lastWanted = performance.now();
    if (this.#wanted.size > 0 && !this.#stopping.signal.aborted) this.#running ??= this.#whileWanted();
  }

  /** All spares go, and one that is being made; resolves when they are gone. False where one stays, as `Spares.drop`. */
  async clear(): Promise<boolean> {
    await this.#stopMaking();
    return this.#options.store.spares.shrink(0);
  }

  async #stopMaking(): Promise<void> {
    this.#giveUp.abort();
    this.#giveUp = new AbortController();
    await this.#making;
  }

  /** Runs `work`, which removes what nothing needs, while no spare is made: a layer of which one is being made would be needed. */
  async whileNoneIsMade<Value>(work: () => Promise<Value>): Promise<Value> {
    this.#without += 1;
    // Made anew behind that, where it is still there.
    if (this.#made !== undefined) this.#wanted.set(...this.#made);
    try {
      await this.#stopMaking();
      return await work();
    } finally {
      this.#without -= 1;
    }
  }

  /** Runs `work`, which changes layers, while there is no spare and none is made. STORE_IO where one cannot be removed. */
  without<Value>(work: () => Promise<Value>): Promise<Value> {
    return this.whileNoneIsMade(async () => {
      if (!(await this.clear()))
        throw new StrataError("STORE_IO", "Cannot mend layers: a spare of them cannot be removed from the store");
      return work();
    });
  }

  /** Makes no more; what was being made is given up. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #whileWanted(): Promise<void> {
    const stop = this.#stopping.signal;
    try {
      while (this.#wanted.size > 0) {
        await this.#quiet(stop);
        // Who wants none may have come in the same turn.
        if (this.#without > 0) continue;
        const diffId = [...this.#wanted.keys()].at(-1);
        if (diffId === undefined) return;
        this.#made = [diffId, this.#wanted.get(diffId) ?? 0];
        this.#wanted.delete(diffId);
        this.#making = this.#make(diffId, stop);
        await this.#making;
        this.#made = undefined;
      }
    } catch (error) {
      if (!stop.aborted) this.#options.log.warn("spares.stopped", { error });
    } finally {
      this.#running = undefined;
    }
  }

  async #quiet(signal: AbortSignal): Promise<void> {
    const left = () => (this.#without > 0 ? SPARE_AFTER_MS : this.#lastWanted + SPARE_AFTER_MS - performance.now());
    while (left() > 0) {
      await sleep(left(), undefined, { signal, ref: false });
      await this.#options.pool.whenIdle(signal);
    }
  }

  async #make(diffId: DiffId, stop: AbortSignal): Promise<void> {
    const { store, log } = this.#options;
    const giveUp = this.#giveUp.signal;
    const signal = AbortSignal.any([stop, giveUp]);
    const lease = store.leases.open();
    lease.stored(diffId);
    try {
      const layer = store.layers.get(diffId)?.document;
      if (layer === undefined || store.spares.has(diffId) || !(await this.#hasRoom(layer))) return;
      await store.spares.shrink(this.#options.maxEntries - layer.entries);
      await store.staging.with(async ({ rootTree }) => {
        await mkdir(rootTree, { recursive: true });
        const linked = await this.#options.linker.linkBehind(rootTree, layer, signal);
        // One that is linked is the next daemon's.
        await store.spares.put(rootTree, { layer, linked, signal: giveUp });
      });
      log.debug("spare.made", { layer: diffId });
    } catch (error) {
      if (!signal.aborted) log.warn("spare.unmade", { layer: diffId, error });
    } finally {
      lease.drop();
    }
  }

  #isFit({ entries, topLevel }: LayerDocument): boolean {
    return entries >= MIN_SPARE_ENTRIES && entries <= this.#options.maxEntries && topLevel.length <= MAX_SPARE_NAMES;
  }

  async #hasRoom(layer: LayerDocument): Promise<boolean> {
    const { free, reserve } = await this.#options.measure();
    const { writeInodes: inodes } = rootCost(measuredByDocuments([layer]), "hardlink");
    const fits = (of: keyof Amount, needed: number) => needed <= (free[of] - reserve[of]) * SPARE_SPACE_PART;
    return fits("inodes", inodes) && fits("bytes", inodes * INODE_BYTES);
  }
}
