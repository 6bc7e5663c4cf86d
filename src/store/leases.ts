/**
 * What running work needs of the store, in memory: whoever works takes its lease before it looks whether something is there, and
 * drops it when it ends. What is leased is not collected, and neither is what anybody leased since a collection began to look:
 * its list of what goes is older than that work, which may have ended with a root that needs it.
 *
 * Leases of clients, which outlive their connection, are holds (holds.ts).
 */
import type { DiffId, Digest } from "../oci/digest.js";
import type { LayerDescriptor } from "../oci/documents.js";
import { blobKey, blobOf, type StoredLayer } from "./layers.js";

/** Things of the store by what they are looked up by. */
class Held {
  readonly roots = new Set<string>();
  readonly layers = new Set<DiffId>();
  readonly blobs = new Set<string>();
  readonly documents = new Set<Digest>();

  add(other: Held): void {
    for (const rootId of other.roots) this.roots.add(rootId);
    for (const diffId of other.layers) this.layers.add(diffId);
    for (const key of other.blobs) this.blobs.add(key);
    for (const digest of other.documents) this.documents.add(digest);
  }
}

export class Leases {
  readonly #open = new Set<Held>();
  readonly #watches = new Set<Held>();

  /** The caller drops it, however its work ends. */
  open(): Lease {
    const own = new Held();
    this.#open.add(own);
    return new Lease(own, { watches: this.#watches, drop: () => this.#open.delete(own) });
  }

  hasRoot(rootId: string): boolean {
    for (const { roots } of this.#open) if (roots.has(rootId)) return true;
    return false;
  }

  /** The caller stops it. */
  watch(): LeasedSince {
    const since = new Held();
    for (const held of this.#open) since.add(held);
    this.#watches.add(since);
    return new LeasedSince(since, () => this.#watches.delete(since));
  }
}

/** What one piece of work needs. Nothing here waits: between taking and looking there is no moment. */
export class Lease {
  readonly #own: Held;
  readonly #watches: ReadonlySet<Held>;
  readonly #drop: () => void;

  constructor(own: Held, { watches, drop }: { readonly watches: ReadonlySet<Held>; readonly drop: () => void }) {
    this.#own = own;
    this.#watches = watches;
    this.#drop = drop;
  }

  root(rootId: string): void {
    for (const { roots } of this.#holders()) roots.add(rootId);
  }

  /** As `Layers.find` looks for it: by the diffID that is claimed, without one by its blob. MEDIA_TYPE_UNSUPPORTED. */
  layer({ descriptor, diffId }: LayerDescriptor): void {
    const key = diffId === undefined ? blobKey(blobOf(descriptor)) : undefined;
    for (const { layers, blobs } of this.#holders()) {
      if (diffId !== undefined) layers.add(diffId);
      if (key !== undefined) blobs.add(key);
    }
  }

  /** One that is stored. */
  stored(diffId: DiffId): void {
    for (const { layers } of this.#holders()) layers.add(diffId);
  }

  /** A manifest or a config. */
  document(digest: Digest): void {
    for (const { documents } of this.#holders()) documents.add(digest);
  }

  drop(): void {
    this.#drop();
  }

  #holders(): readonly Held[] {
    return [this.#own, ...this.#watches];
  }
}

/** What is leased, and was at any moment since the watch began. */
export class LeasedSince {
  readonly #held: Held;
  readonly stop: () => void;

  constructor(held: Held, stop: () => void) {
    this.#held = held;
    this.stop = stop;
  }

  hasRoot(rootId: string): boolean {
    return this.#held.roots.has(rootId);
  }

  /** By its diffID, or by a blob that it was unpacked from. */
  hasLayer({ document, meta }: StoredLayer): boolean {
    const { layers, blobs } = this.#held;
    return layers.has(document.diffId) || (blobs.size > 0 && meta.blobs.some((blob) => blobs.has(blobKey(blob))));
  }

  hasDocument(digest: Digest): boolean {
    return this.#held.documents.has(digest);
  }
}
