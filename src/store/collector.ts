/**
 * Carries collections out, one at a time, beside running installs: roots first, then layers, then manifests and configs; so no root ever
 * lacks a layer. Says when, and who is served first.
 *
 * What is to go stands in collection.ts, how it goes in collection-taking.ts. Knows no client.
 */
import type { Log } from "../log.js";
import type { Collection } from "../messages/collection.js";
import type { DiffId } from "../oci/digest.js";
import { inSlices } from "../slices.js";
import { Slots } from "../slots.js";
import { type Amount, type CollectionPlan, type CollectionPolicy, planCollection } from "./collection.js";
import { judgeDocuments, Taking } from "./collection-taking.js";
import { collectionView, type Judged } from "./collection-view.js";
import { DueCollection } from "./due-collection.js";
import type { LeasedSince } from "./leases.js";
import type { Store } from "./store.js";

export interface CollectorOptions {
  readonly store: Store;
  /**
   * Off the main thread: before everything else that waits for a thread where an install waits for the room, else behind it. Ends at
   * once on `signal`, with the rest left.
   */
  readonly removeTree: (path: string, options: { urgent: boolean; signal: AbortSignal }) => Promise<void>;
  readonly keepGenerations: number;
  /** What layers that no root needs may take before the oldest go by themselves. */
  readonly cache: Amount;
  /** What the file system has too little of, as the daemon's reserve goes. */
  readonly lacking?: () => Promise<Amount>;
  /** Told of every collection that removed something, whoever asked for it. */
  readonly collected: (collection: Collection, about: CollectionCause) => void;
  readonly log: Log;
}

/** Who wanted it: somebody, an install that needs room, or nobody in particular. */
export type CollectionCause = "asked" | "room" | "automatic";

export interface CollectionRequest {
  readonly plan?: boolean | undefined;
  readonly keepBytes?: number | undefined;
  readonly keepLast?: number | undefined;
}

interface Order {
  readonly policy: CollectionPolicy;
  readonly cause: CollectionCause;
  /** Documents are looked at although no root goes. */
  readonly thorough: boolean;
  readonly signal: AbortSignal;
}

/** Who asks is served before what nobody waits for. */
const priorities: Readonly<Record<CollectionCause, number>> = { room: 2, asked: 1, automatic: 0 };
const NOTHING: Amount = { bytes: 0, inodes: 0 };

export class Collector {
  readonly #options: CollectorOptions;
  readonly #turn = new Slots(1);
  readonly #plans = new Slots(1);
  readonly #stopping = new AbortController();
  readonly #running = new Set<Promise<unknown>>();
  readonly #due: DueCollection;

  constructor(options: CollectorOptions) {
    this.#options = options;
    const { signal } = this.#stopping;
    this.#due = new DueCollection({ collect: () => this.#collectByItself(), signal, log: options.log });
  }

  /**
   * What nothing needs, as far as `request` says, behind collections that run already. Where `signal` is aborted what is under way is
   * finished and nothing more is taken: CANCELLED, or what was removed until then.
   */
  collect({ plan, keepBytes, keepLast }: CollectionRequest, signal: AbortSignal): Promise<Collection> {
    const cache = keepBytes === undefined ? NOTHING : { bytes: keepBytes, inodes: Number.POSITIVE_INFINITY };
    const policy = { keepLast: keepLast ?? this.#options.keepGenerations, cache };
    const order: Order = { policy, cause: "asked", thorough: true, signal };
    return plan === true ? this.#plans.run(0, signal, () => this.#plan(order)) : this.#carryOut(order);
  }

  /** Frees at least so much, if it can, of what nothing needs; what it freed, as its documents say. CANCELLED. */
  async makeRoom(free: Amount, signal: AbortSignal): Promise<Amount> {
    const policy = { ...this.#ownPolicy(), free };
    const { removed } = await this.#carryOut({ policy, cause: "room", thorough: false, signal });
    return { bytes: removed.bytes, inodes: removed.inodes };
  }

  /** Something ended: what nobody needs any more, or what is over budget, goes soon. Never rejects, never waits. */
  consider(): void {
    this.#due.consider();
  }

  /** Takes nothing more; resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.allSettled([...this.#running, this.#due.ended()]);
  }

  async #collectByItself(): Promise<void> {
    const free = (await this.#options.lacking?.()) ?? NOTHING;
    const { signal } = this.#stopping;
    await this.#carryOut({ policy: { ...this.#ownPolicy(), free }, cause: "automatic", thorough: false, signal });
  }

  #ownPolicy(): CollectionPolicy {
    return { keepLast: this.#options.keepGenerations, cache: this.#options.cache };
  }

  /** Looks, and changes nothing. */
  async #plan({ policy, signal }: Order): Promise<Collection> {
    const leased = this.#options.store.leases.watch();
    try {
      const { roots, layers } = await this.#judge(policy, leased, signal);
      const documents = await judgeDocuments(this.#options.store, roots);
      return await this.#view({ plan: true, keepLast: policy.keepLast, roots, layers, documents }, signal);
    } finally {
      leased.stop();
    }
  }

  #carryOut(order: Order): Promise<Collection> {
    const signal = AbortSignal.any([order.signal, this.#stopping.signal]);
    const run = this.#turn.run(priorities[order.cause], signal, async () => {
      const leased = this.#options.store.leases.watch();
      try {
        return await this.#carryOutWith(leased, { ...order, signal });
      } finally {
        leased.stop();
      }
    });
    this.#running.add(run);
    return run.finally(() => this.#running.delete(run));
  }

  async #carryOutWith(leased: LeasedSince, { policy, cause, thorough, signal }: Order): Promise<Collection> {
    const judged = await this.#judge(policy, leased, signal);
    const taking = this.#taking(leased, { urgent: cause === "room", signal });
    const roots = await taking.roots(judged.roots);
    const layers = await taking.layers(judged.layers, roots);
    const looksAtDocuments = (thorough || roots.some(({ goes }) => goes)) && !signal.aborted;
    const documents = looksAtDocuments ? await taking.documents(roots) : [];
    // What was removed is told, also when somebody gave up in between.
    const collection = await this.#view({ plan: false, keepLast: policy.keepLast, roots, layers, documents });
    const { removed } = collection;
    if (removed.layers > 0) await this.#sweepFiles();
    if (removed.roots + removed.layers + removed.blobs > 0) {
      this.#options.log.info("store.collected", { cause, ...removed });
      this.#options.collected(collection, cause);
    }
    return collection;
  }

  #taking(leased: LeasedSince, { urgent, signal }: { readonly urgent: boolean; readonly signal: AbortSignal }): Taking {
    const { store, removeTree, log } = this.#options;
    // What is out of sight goes on being removed when somebody gives up; not when the daemon stops.
    const options = { urgent, signal: this.#stopping.signal };
    return new Taking({
      store,
      leased,
      signal,
      removeTree: (path) => removeTree(path, options),
      log,
    });
  }

  /** What a layer shared keeps its bytes until nothing names it any more. */
  async #sweepFiles(): Promise<void> {
    try {
      const swept = await this.#options.store.sharedFiles.sweep();
      if (swept !== undefined) this.#options.log.info("files.swept", { ...swept });
    } catch (error) {
      this.#options.log.warn("files.left", { error });
    }
  }

  #judge(policy: CollectionPolicy, leased: LeasedSince, signal: AbortSignal): Promise<CollectionPlan> {
    const { roots, layers, names, holds } = this.#options.store;
    const snapshot = {
      roots: roots.all(),
      layers: layers.all(),
      find: (diffId: DiffId) => layers.get(diffId),
      names: names.all(),
      unreadable: { roots: roots.unreadable(), names: names.unreadable() },
      holds,
      leased,
    };
    return inSlices(planCollection(snapshot, policy), signal);
  }

  #view(judged: Omit<Judged, "unreadable">, signal?: AbortSignal): Promise<Collection> {
    const { roots, layers } = this.#options.store;
    const unreadable = { roots: roots.unreadable(), layers: layers.unreadable() };
    return inSlices(collectionView({ ...judged, unreadable }), signal);
  }
}
