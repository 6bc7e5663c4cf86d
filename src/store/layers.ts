/**
 * The unpacked layers: an index in memory of what stands under layers/, rebuilt by a scan at start, and the one rename that
 * adds to it. A layer is never changed after its commit; what changes about it stands in meta/, and so do the blobs that it was
 * unpacked from: who knows no diffID finds it by them.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../log.js";
import { type DiffId, digestAlgorithm, parseDiffId } from "../oci/digest.js";
import type { Descriptor, LayerDescriptor } from "../oci/documents.js";
import { layerCodec } from "../oci/media-types.js";
import type { LayerDocument } from "../tasks.js";
import {
  type LayerBlob,
  type LayerMeta,
  layerMetaSchema,
  layerSchema,
  readDocument,
  syncParent,
  unlinkIfThere,
  type WriteOptions,
  writeDocument,
} from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import { ALGORITHMS, type StoreLayout } from "./layout.js";
import { KeyedMutex } from "./mutex.js";
import { publish, withdraw } from "./publish.js";

export interface StoredLayer {
  readonly document: LayerDocument;
  readonly meta: LayerMeta;
}

export class Layers {
  readonly #layout: StoreLayout;
  readonly #bootId: string;
  readonly #log: Log;
  readonly #index = new Map<DiffId, StoredLayer>();
  readonly #byBlob = new Map<string, DiffId>();
  /** Layers whose meta in memory is newer than on the disk. */
  readonly #touched = new Set<DiffId>();
  readonly #notDurable = new Set<DiffId>();
  readonly #unreadable = new Set<string>();
  /** What a layer and its meta say of each other holds because they change together, one change at a time. */
  readonly #changes = new KeyedMutex<DiffId>();

  constructor(layout: StoreLayout, options: { readonly bootId: string; readonly log: Log }) {
    this.#layout = layout;
    this.#bootId = options.bootId;
    this.#log = options.log;
  }

  /** Rebuilds the index. What is unreadable is kept on the disk, left out, and said. */
  async scan(): Promise<void> {
    for (const algorithm of ALGORITHMS) {
      const names = await readdir(join(this.#layout.layers, algorithm));
      await eachConcurrently(names, async (name) => {
        try {
          await this.#load(parseDiffId(`${algorithm}:${name}`));
        } catch (error) {
          this.#unreadable.add(`${algorithm}:${name}`);
          this.#log.warn("layer.unreadable", { layer: `${algorithm}:${name}`, error });
        }
      });
    }
  }

  async #load(diffId: DiffId): Promise<void> {
    const document = await readDocument(this.#layout.layerDocument(diffId), layerSchema);
    if (document === undefined || document.diffId !== diffId) throw new Error("no layer.json of this layer");
    // Without its meta nothing says when it came: then no boot is the one that wrote it.
    const unknown = { ...this.#newMeta(document.createdAt), bootId: "" };
    const meta = await readDocument(this.#layout.layerMeta(diffId), layerMetaSchema).catch(() => undefined);
    this.#remember({ document, meta: meta ?? unknown });
  }

  get(diffId: DiffId): StoredLayer | undefined {
    return this.#index.get(diffId);
  }

  /** By the diffID that is claimed for it; without one, by the blob that it was unpacked from. */
  find({ descriptor, diffId }: LayerDescriptor): StoredLayer | undefined {
    const known = diffId ?? this.#byBlob.get(blobKey(blobOf(descriptor)));
    return known === undefined ? undefined : this.#index.get(known);
  }

  /** What the last scan left out. */
  unreadable(): readonly string[] {
    return [...this.#unreadable];
  }

  all(): readonly StoredLayer[] {
    return [...this.#index.values()];
  }

  get bytes(): number {
    return this.all().reduce((sum, { document }) => sum + document.bytes, 0);
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
      this.#findBy(blob, diffId);
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
    this.#remember({ document, meta });
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
      this.#forget(layer);
      try {
        await withdraw(this.#layout.layer(diffId), staged);
      } catch (error) {
        this.#remember(layer);
        throw error;
      }
      await unlinkIfThere(this.#layout.layerMeta(diffId));
      await withdraw(this.#layout.spill(diffId), `${staged}-spill`);
      return true;
    });
  }

  /** Makes what was taken stay away after a power cut: before its files go, or a layer without them might come back. */
  async sync(): Promise<void> {
    for (const algorithm of ALGORITHMS) await syncParent(join(this.#layout.layers, algorithm, "any"));
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
    return [...this.#notDurable].map((diffId) => (this.#index.get(diffId) as StoredLayer).document);
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

  /** Whether the layer still stands where the index says. */
  async exists(diffId: DiffId): Promise<boolean> {
    return stat(this.#layout.layerDocument(diffId)).then(
      () => true,
      () => false,
    );
  }

  /** Not another that came in its place meanwhile. */
  #isStill(document: LayerDocument): boolean {
    return this.#index.get(document.diffId)?.document === document;
  }

  #remember(layer: StoredLayer): void {
    const { diffId } = layer.document;
    this.#index.set(diffId, layer);
    if (layer.meta.durable) this.#notDurable.delete(diffId);
    else this.#notDurable.add(diffId);
    for (const blob of layer.meta.blobs) this.#findBy(blob, diffId);
  }

  #forget({ document: { diffId }, meta }: StoredLayer): void {
    this.#index.delete(diffId);
    this.#notDurable.delete(diffId);
    this.#touched.delete(diffId);
    for (const blob of meta.blobs) if (this.#byBlob.get(blobKey(blob)) === diffId) this.#byBlob.delete(blobKey(blob));
  }

  /** Who claims no diffID gets one in sha256, whatever is stored. */
  #findBy(blob: LayerBlob, diffId: DiffId): void {
    if (digestAlgorithm(diffId) === "sha256") this.#byBlob.set(blobKey(blob), diffId);
  }

  #touch(diffId: DiffId, change: Partial<LayerMeta>): void {
    const layer = this.#index.get(diffId);
    if (layer === undefined) return;
    this.#remember({ document: layer.document, meta: { ...layer.meta, ...change } });
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

/** What a descriptor says of a layer's bytes, and how it says that they are to be read. MEDIA_TYPE_UNSUPPORTED. */
export const blobOf = ({ digest, size, mediaType }: Descriptor): LayerBlob => ({
  digest,
  size,
  codec: layerCodec(mediaType),
});

/**
 * Blobs that differ in anything are told apart, the codec included: a tar whose first name starts as gzip does may be one and the
 * other, with two contents under one digest.
 */
export const blobKey = ({ digest, size, codec }: LayerBlob): string => [digest, size, codec].join(" ");
