/**
 * Carries collections out, one at a time, beside running installs: roots first, then layers, then manifests and configs. What is
 * chosen is asked about again in the moment in which it is taken, goes out of sight by one rename into staging, and is removed there
 * by a worker. Whatever a crash leaves is swept with staging; no root ever lacks a layer.
 *
 * What is to go stands in collection.ts. Says when; knows no client.
 */
import { toStrataError } from "../errors.js";
import { MAX_REMOVED_AT_ONCE } from "../limits.js";
import type { Log } from "../log.js";
import type { Collection } from "../messages/collection.js";
import type { DiffId } from "../oci/digest.js";
import { inSlices } from "../slices.js";
import { Slots } from "../slots.js";
import {
  type Amount,
  type CollectionPlan,
  type CollectionPolicy,
  planCollection,
  type Reason,
  type Verdict,
} from "./collection.js";
import { collectionView, type DocumentVerdict, documentVerdict, type Judged } from "./collection-view.js";
import type { RootDocument } from "./documents.js";
import { DueCollection } from "./due-collection.js";
import { eachConcurrently } from "./each-concurrently.js";
import type { StoredLayer } from "./layers.js";
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
  readonly rootRemoved: (rootId: string) => void;
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

/** What is asked about again when something is taken, and how it is removed. */
interface Taking {
  readonly leased: LeasedSince;
  readonly signal: AbortSignal;
  readonly urgent: boolean;
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
      const documents = await this.#judgeDocuments(roots);
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
    const taking: Taking = { leased, signal, urgent: cause === "room" };
    const roots = await this.#takeRoots(judged.roots, taking);
    const layers = await this.#takeLayers(judged.layers, roots, taking);
    const looksAtDocuments = (thorough || roots.some(({ goes }) => goes)) && !signal.aborted;
    const documents = looksAtDocuments ? await this.#removeDocuments(roots, leased, signal) : [];
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

  async #takeRoots(
    verdicts: readonly Verdict<RootDocument>[],
    taking: Taking,
  ): Promise<readonly Verdict<RootDocument>[]> {
    const { store, rootRemoved } = this.#options;
    const mayGo = (rootId: string) => !taking.leased.hasRoot(rootId);
    const taken = await this.#takeInBatches(verdicts, taking, {
      take: ({ rootId }, to) => store.takeRoot(rootId, to, () => mayGo(rootId)),
      // Before any file goes, and before any layer that they need: no power cut may bring back one without the other.
      settle: () => store.roots.sync(),
    });
    for (const { rootId } of taken) rootRemoved(rootId);
    return carriedOut(verdicts, taken);
  }

  async #takeLayers(
    verdicts: readonly Verdict<StoredLayer>[],
    roots: readonly Verdict<RootDocument>[],
    taking: Taking,
  ): Promise<readonly Verdict<StoredLayer>[]> {
    // A root that was to go and stayed needs its layers.
    const needed = new Set(roots.flatMap(({ reason, thing }) => (reason === SPARED ? thing.layers : [])));
    const mayGo = (layer: StoredLayer) => !taking.leased.hasLayer(layer) && !needed.has(layer.document.diffId);
    const { layers } = this.#options.store;
    const taken = await this.#takeInBatches(verdicts, taking, {
      take: ({ document }, to) => layers.take(document.diffId, to, mayGo),
      settle: () => layers.sync(),
    });
    return carriedOut(verdicts, taken);
  }

  /** Some at a time, each into a place of its own in staging; what cannot be taken is left, and said. */
  async #takeInBatches<Thing>(
    verdicts: readonly Verdict<Thing>[],
    { signal, urgent }: Taking,
    { take, settle }: { take: (thing: Thing, to: string) => Promise<boolean>; settle: () => Promise<void> },
  ): Promise<ReadonlySet<Thing>> {
    const { store, log } = this.#options;
    const removeTree = (path: string) => this.#options.removeTree(path, { urgent, signal: this.#stopping.signal });
    const taken = new Set<Thing>();
    for (const batch of batches(verdicts)) {
      if (signal.aborted) break;
      await store.staging.with(async (paths) => {
        await eachConcurrently(batch.entries(), async ([index, thing]) => {
          try {
            if (await take(thing, paths.removed(index))) taken.add(thing);
          } catch (error) {
            log.warn("collection.left", { error: toStrataError(error, "Cannot take what nothing needs") });
          }
        });
        await settle();
      }, removeTree);
    }
    return taken;
  }

  async #judgeDocuments(roots: readonly Verdict<RootDocument>[]): Promise<readonly DocumentVerdict[]> {
    const kept = this.#options.store.documents;
    const documents = await kept.all();
    const needed = await kept.neededBy(roots.flatMap(({ goes, thing }) => (goes ? [] : [thing])));
    return documents.map((document) => documentVerdict(document, needed));
  }

  async #removeDocuments(
    roots: readonly Verdict<RootDocument>[],
    leased: LeasedSince,
    signal: AbortSignal,
  ): Promise<readonly DocumentVerdict[]> {
    const carriedOut: DocumentVerdict[] = [];
    await eachConcurrently(await this.#judgeDocuments(roots), async (verdict) => {
      const { digest } = verdict;
      const mayGo = () => !leased.hasDocument(digest) && !signal.aborted;
      if (!verdict.goes || (await this.#options.store.documents.remove(digest, mayGo))) carriedOut.push(verdict);
      else carriedOut.push({ ...verdict, goes: false, because: "running work needs it" });
    });
    return carriedOut;
  }

  #view(judged: Omit<Judged, "unreadable">, signal?: AbortSignal): Promise<Collection> {
    const { roots, layers } = this.#options.store;
    const unreadable = { roots: roots.unreadable(), layers: layers.unreadable() };
    return inSlices(collectionView({ ...judged, unreadable }), signal);
  }
}

/** What a worker removes in one go. */
function* batches<Thing>(verdicts: readonly Verdict<Thing>[]): Generator<readonly Thing[]> {
  let batch: Thing[] = [];
  let inodes = 0;
  for (const { thing, goes, amount } of verdicts) {
    if (!goes) continue;
    batch.push(thing);
    inodes += amount.inodes;
    if (batch.length < MAX_REMOVED_AT_ONCE.things && inodes < MAX_REMOVED_AT_ONCE.inodes) continue;
    yield batch;
    batch = [];
    inodes = 0;
  }
  if (batch.length > 0) yield batch;
}

/** It was to go, and somebody came to need it in between. */
const SPARED: Reason = { why: "leased" };

const carriedOut = <Thing>(verdicts: readonly Verdict<Thing>[], taken: ReadonlySet<Thing>): readonly Verdict<Thing>[] =>
  verdicts.map((verdict) =>
    verdict.goes && !taken.has(verdict.thing) ? { ...verdict, goes: false, reason: SPARED } : verdict,
  );
