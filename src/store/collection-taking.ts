/**
 * Takes out of the store what a collection has chosen: asked about again in the moment in which it is taken, out of sight by one rename into
 * staging, and removed there by a worker. Whatever a crash leaves is swept with staging.
 */
import { toStrataError } from "../errors.js";
import { MAX_REMOVED_AT_ONCE } from "../limits.js";
import type { Log } from "../log.js";
import type { Reason, Verdict } from "./collection.js";
import { type DocumentVerdict, documentVerdict } from "./collection-view.js";
import type { RootDocument } from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import type { StoredLayer } from "./layers.js";
import type { LeasedSince } from "./leases.js";
import type { Store } from "./store.js";

export interface TakingOptions {
  readonly store: Store;
  /** What came to be needed since the choice. */
  readonly leased: LeasedSince;
  /** Nothing more is taken once it is aborted. */
  readonly signal: AbortSignal;
  /** Removes a tree that is out of sight already. */
  readonly removeTree: (path: string) => Promise<void>;
  readonly log: Log;
}

/** One collection's. What it answers are the verdicts as they were carried out. */
export class Taking {
  readonly #options: TakingOptions;

  constructor(options: TakingOptions) {
    this.#options = options;
  }

  async roots(verdicts: readonly Verdict<RootDocument>[]): Promise<readonly Verdict<RootDocument>[]> {
    const { store, leased } = this.#options;
    const mayGo = (rootId: string) => !leased.hasRoot(rootId);
    return this.#takeInBatches(verdicts, {
      take: ({ rootId }, to) => store.takeRoot(rootId, to, () => mayGo(rootId)),
      // Before any file goes, and before any layer that they need: as far as the disk lets it, a power cut brings back none without the other.
      settle: () => store.roots.sync(),
    });
  }

  /** `roots` as they were carried out. */
  async layers(
    verdicts: readonly Verdict<StoredLayer>[],
    roots: readonly Verdict<RootDocument>[],
  ): Promise<readonly Verdict<StoredLayer>[]> {
    // A root that was to go and stayed needs its layers.
    const needed = new Set(
      roots.flatMap(({ reason, thing }) => (reason === SPARED || reason === LEFT ? thing.layers : [])),
    );
    const { store, leased } = this.#options;
    const mayGo = (layer: StoredLayer) => !leased.hasLayer(layer) && !needed.has(layer.document.diffId);
    const { layers } = store;
    return this.#takeInBatches(verdicts, {
      take: ({ document }, to) => layers.take(document.diffId, to, mayGo),
      settle: () => layers.sync(),
    });
  }

  /** Some at a time, each into a place of its own in staging; what cannot be taken is left, and said. Gives what became of the verdicts. */
  async #takeInBatches<Thing>(
    verdicts: readonly Verdict<Thing>[],
    { take, settle }: { take: (thing: Thing, to: string) => Promise<boolean>; settle: () => Promise<void> },
  ): Promise<readonly Verdict<Thing>[]> {
    const { store, signal, removeTree, log } = this.#options;
    const taken = new Set<Thing>();
    const left = new Set<Thing>();
    for (const batch of batches(verdicts)) {
      if (signal.aborted) break;
      await store.staging.with(async (paths) => {
        await eachConcurrently(batch.entries(), async ([index, thing]) => {
          try {
            if (await take(thing, paths.removed(index))) taken.add(thing);
          } catch (error) {
            left.add(thing);
            log.warn("collection.left", { error: toStrataError(error, "Cannot take what nothing needs") });
          }
        });
        await settle();
      }, removeTree);
    }
    return verdicts.map((verdict) => {
      if (!verdict.goes || taken.has(verdict.thing)) return verdict;
      return { ...verdict, goes: false, reason: left.has(verdict.thing) ? LEFT : SPARED };
    });
  }

  /** Manifests and configs that no root needs which stays. */
  async documents(roots: readonly Verdict<RootDocument>[]): Promise<readonly DocumentVerdict[]> {
    const { store, leased, signal, log } = this.#options;
    const carriedOut: DocumentVerdict[] = [];
    await eachConcurrently(await judgeDocuments(store, roots), async (verdict) => {
      const { digest } = verdict;
      const mayGo = () => !leased.hasDocument(digest) && !signal.aborted;
      try {
        if (!verdict.goes || (await store.documents.remove(digest, mayGo))) carriedOut.push(verdict);
        else carriedOut.push({ ...verdict, goes: false, because: "running work needs it" });
      } catch (error) {
        log.warn("collection.left", { digest, error });
        carriedOut.push({ ...verdict, goes: false, because: "it could not be removed" });
      }
    });
    return carriedOut;
  }
}

/** What would become of each, if the roots were carried out so. */
export async function judgeDocuments(
  { documents: kept }: Store,
  roots: readonly Verdict<RootDocument>[],
): Promise<readonly DocumentVerdict[]> {
  const documents = await kept.all();
  const needed = await kept.neededBy(roots.flatMap(({ goes, thing }) => (goes ? [] : [thing])));
  return documents.map((document) => documentVerdict(document, needed));
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
const LEFT: Reason = { why: "left" };
