/**
 * The unpacked layers: an index in memory of what stands under layers/, rebuilt by a scan at start, and the one rename that
 * adds to it. A layer is never changed after its commit; what changes about it stands in meta/, and so do the blobs that it was
 * unpacked from: who knows no diffID finds it by them.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../log.js";
import { type DiffId, joinedDiffId } from "../oci/digest.js";
import type { LayerDescriptor } from "../oci/documents.js";
import { blobKey } from "../stored-documents.js";
import { succeeds } from "../succeeds.js";
import type { LayerDocument } from "../tasks.js";
import type { Page, PageQuery, Watcher } from "./by-age.js";
import {
  type LayerBlob,
  type LayerMeta,
  settleDirectory,
  syncParent,
  unlinkIfThere,
  type WriteOptions,
  writeDocument,
} from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import { blobOf, type KnownLayer, LayerIndex, RecalledLayer, type StoredLayer } from "./layer-index.js";
import { ALGORITHMS, type StoreLayout } from "./layout.js";
import { KeyedMutex } from "./mutex.js";
import { publish, withdraw } from "./publish.js";
import type { Parts, StoreScan } from "./store-scan.js";

export { blobKey } from "../stored-documents.js";
export { blobOf, type KnownLayer, type StoredLayer } from "./layer-index.js";

export class Layers {
  readonly #layout: StoreLayout;
  readonly #bootId: string;
  readonly #log: Log;
  readonly #index = new LayerIndex();
  /** Layers whose meta in memory is newer than on the disk. */
  readonly #touched = new Set<DiffId>();
  readonly #unreadable = new Set<string>();
  /** What a layer and its meta say of each other holds because they change together, one change at a time. */
  readonly #changes = new KeyedMutex<DiffId>();
  #inOrder = Promise.resolve();

  constructor(layout: StoreLayout, options: { readonly bootId: string; readonly log: Log }) {
    this.#layout = layout;
    this.#bootId = options.bootId;
    this.#log = options.log;
  }

  /** Rebuilds the index. What is unreadable is kept on the disk, left out, and said. */
  async scan(scan: StoreScan, listed: readonly Parts[]): Promise<void> {
    for (const [which, algorithm] of ALGORITHMS.entries())
      await scan.each(this.#layout.layerPlace(algorithm), listed[which] ?? [], {
        // Without its meta nothing says when it came: then no boot is the one that wrote it.
        found: (_hex, { document, meta = { ...this.#newMeta(document.createdAt), bootId: "" } }) =>
          this.#index.set({ document, meta }),
        // It was parsed by whoever wrote the memo.
        recalled: (hex, keys, row) =>
          this.#index.recall(new RecalledLayer(joinedDiffId(algorithm, hex), keys, row), keys.blobKeys),
        unreadable: (hex, error) => {
          const layer = `${algorithm}:${hex}`;
          this.#unreadable.add(layer);
          this.#log.warn("layer.unreadable", { layer, error });
        },
      });
    this.#inOrder = this.#index.sort();
  }

  /** Resolves when a page costs what it holds: a start does not wait for that, who asks for one early does. */
  get inOrder(): Promise<void> {
    return this.#inOrder;
  }

  get(diffId: DiffId): StoredLayer | undefined {
    return this.#index.get(diffId);
  }

  /** By the diffID that is claimed for it; without one, by the blob that it was unpacked from. */
  find({ descriptor, diffId }: LayerDescriptor): StoredLayer | undefined {
    return diffId === undefined ? this.#index.of(blobOf(descriptor)) : this.#index.get(diffId);
  }

  /** By the digest of what it was unpacked from. */
  withBlob(digest: string): StoredLayer | undefined {
    return this.#index.withBlob(digest);
  }

  /** What the last scan left out. */
  unreadable(): readonly string[] {
    return [...this.#unreadable];
  }

  all(): readonly KnownLayer[] {
    return this.#index.all();
  }

  /** Oldest first. */
  page(query: PageQuery): Page<StoredLayer> {
    return this.#index.page(query);
  }

  /** Tells of every layer that is there, comes or goes. */
  watch(watcher: Watcher<KnownLayer>): void {
    this.#index.watch(watcher);
  }

  /** Of a layer's files; undefined where it is not here. */
  bytesOf(diffId: DiffId): number | undefined {
    return this.#index.get(diffId)?.bytes;
  }

  /** Of the files of all layers. */
  get bytes(): number {
    return this.#index.bytes;
  }

  get size(): number {
    return this.#index.size;
  }

  /**
   * Publishes `staged` (tree, changeset, layer.json) as the layer of its diffID; `blob` is what it was unpacked from. The rename is
   * the point of no return; where another commit of the same diffID came first, that one stands and `staged` is left to its staging
   * directory.
   */
  commit(staged: string, document: LayerDocument, blob: LayerBlob): Promise<void> {
    const { diffId } = document;
    return this.#changes.run(diffId, async () => {
      if (!this.#index.has(diffId) || !(await this.exists(diffId))) await this.#publish(staged, document, blob);
      const blobs = this.#index.get(diffId)?.meta.blobs ?? [];
      if (!blobs.some((known) => blobKey(known) === blobKey(blob))) this.#touch(diffId, { blobs: [...blobs, blob] });
      this.#index.findBy(blob, diffId);
      this.used(diffId);
    });
  }

  /**
   * The meta of a layer that stood here before may say that it is on the disk. It must not say so of this one, not even after a power
   * cut in the next moment: so it is gone first. What it says next is good to know and no more, until a sync.
   */
  async #publish(staged: string, document: LayerDocument, blob: LayerBlob): Promise<void> {
    const { diffId } = document;
    const { blobs = [blob] } = this.#index.get(diffId)?.meta ?? {};
    const meta = { ...this.#newMeta(document.createdAt), blobs };
    await this.#forgetMeta(diffId);
    await publish(staged, this.#layout.layer(diffId), this.#log);
    this.#unreadable.delete(diffId);
    this.#index.replace({ document, meta });
    await this.#writeMeta(diffId, { sync: false });
  }

  /**
   * Takes a layer out of sight, into `staged`, by one rename; with it what stands about it in meta/, before another layer of the
   * same diffID can come, and its spill, into `staged`-spill. The caller syncs, then removes both. False where it is not here, or not
   * to go: `mayGo` is asked in the same moment in which nobody finds the layer any more.
   */
  take(diffId: DiffId, staged: string, mayGo: (layer: StoredLayer) => boolean = () => true): Promise<boolean> {
    return this.#changes.run(diffId, async () => {
      const layer = this.#index.get(diffId);
      if (layer === undefined || !mayGo(layer)) return false;
      this.#index.delete(layer);
      this.#touched.delete(diffId);
      try {
        await withdraw(this.#layout.layer(diffId), staged);
      } catch (error) {
        this.#index.set(layer);
        throw error;
      }
      // It is gone; what stands about no layer is swept at start.
      const left = (error: unknown): void => this.#log.warn("meta.left", { diffId, error });
      await unlinkIfThere(this.#layout.layerMeta(diffId)).catch(left);
      await withdraw(this.#layout.spill(diffId), `${staged}-spill`).catch(left);
      return true;
    });
  }

  /**
   * Makes what was taken stay away after a power cut, as far as the disk lets it: before its files go, or a layer without them might come
   * back. It is gone in any case.
   */
  async sync(): Promise<void> {
    for (const algorithm of ALGORITHMS) await settleDirectory(join(this.#layout.layers, algorithm), this.#log);
  }

  /**
   * A repair is about to write into the layer: on the disk it counts as not synced before the first byte is. The caller makes it durable
   * afterwards.
   */
  async mending(diffId: DiffId): Promise<void> {
    this.#touch(diffId, { durable: false, bootId: this.#bootId });
    await this.flush();
  }

  /** A repair has brought the layer's documents to their place; `document` is what they say. */
  async restored(document: LayerDocument): Promise<void> {
    const { diffId } = document;
    const meta = this.#index.get(diffId)?.meta ?? this.#newMeta(document.createdAt);
    this.#index.replace({ document, meta });
    this.#unreadable.delete(diffId);
    await syncParent(this.#layout.layerDocument(diffId));
    await this.mending(diffId);
  }

  /** From memory; so `rewriteMeta`. */
  async rewriteDocument(diffId: DiffId): Promise<void> {
    const layer = this.#index.get(diffId);
    if (layer !== undefined) await writeDocument(this.#layout.layerDocument(diffId), layer.document);
  }

  /** All of it was read now. */
  async verified(diffId: DiffId): Promise<void> {
    this.#touch(diffId, { verifiedAt: new Date().toISOString() });
    await this.flush();
  }

  async rewriteMeta(diffId: DiffId): Promise<void> {
    this.#touch(diffId, {});
    await this.flush();
  }

  /**
   * The layer was used now. As the content of which blob is not kept: that the blob holds it is what a manifest and a config say,
   * and nobody looked. Written to the disk by `flush`.
   */
  used(diffId: DiffId): void {
    this.#touch(diffId, { lastUsedAt: new Date().toISOString() });
  }

  /** Everything committed before a sync of the whole file system is on the disk. Written by `flush`. */
  markDurable(layers: readonly LayerDocument[]): void {
    for (const document of layers) if (this.#isStill(document)) this.#touch(document.diffId, { durable: true });
  }

  notDurable(): LayerDocument[] {
    return this.#index.notDurable().map(({ document }) => document);
  }

  /** Those that a power cut may have taken something of: not on the disk when another boot wrote them, as far as is known. */
  suspect(): LayerDocument[] {
    return this.notDurable().filter(({ diffId }) => this.#index.get(diffId)?.meta.bootId !== this.#bootId);
  }

  /** They were compared with their changesets, and are all right. Written by `flush`. */
  clear(layers: readonly LayerDocument[]): void {
    for (const document of layers) if (this.#isStill(document)) this.#touch(document.diffId, { bootId: this.#bootId });
  }

  /** Writes the meta documents that changed. One that cannot be written is said, and is written with the next. */
  async flush(): Promise<void> {
    await eachConcurrently([...this.#touched], (diffId) => this.#changes.run(diffId, () => this.#writeMeta(diffId)));
  }

  /** Whether anything stands where the layer belongs. */
  async stands(diffId: DiffId): Promise<boolean> {
    return succeeds(stat(this.#layout.layer(diffId)));
  }

  /** Whether the layer still stands where the index says. */
  async exists(diffId: DiffId): Promise<boolean> {
    return succeeds(stat(this.#layout.layerDocument(diffId)));
  }

  /** Not another that came in its place meanwhile. */
  #isStill(document: LayerDocument): boolean {
    return this.#index.get(document.diffId)?.document === document;
  }

  #touch(diffId: DiffId, change: Partial<LayerMeta>): void {
    const layer = this.#index.get(diffId);
    if (layer === undefined) return;
    this.#index.set({ document: layer.document, meta: { ...layer.meta, ...change } });
    this.#touched.add(diffId);
  }

  async #writeMeta(diffId: DiffId, options: WriteOptions = {}): Promise<void> {
    const layer = this.#index.get(diffId);
    this.#touched.delete(diffId);
    if (layer === undefined) return;
    try {
      await writeDocument(this.#layout.layerMeta(diffId), layer.meta, options);
    } catch (error) {
      this.#touched.add(diffId);
      this.#log.warn("meta.unwritten", { diffId, error });
    }
  }

  async #forgetMeta(diffId: DiffId): Promise<void> {
    const path = this.#layout.layerMeta(diffId);
    if (await unlinkIfThere(path)) await syncParent(path);
  }

  #newMeta(at: string): LayerMeta {
    return { schema: 1, blobs: [], durable: false, bootId: this.#bootId, lastUsedAt: at };
  }
}
