/**
 * The unpacked layers: an index in memory of what stands under layers/, rebuilt by a scan at start, and the one rename that
 * adds to it. A layer is never changed after its commit; what changes about it stands in meta/, and so do the blobs that it was
 * unpacked from: who knows no diffID finds it by them.
 */
import { readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { systemErrorCode } from "../errors.js";
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
  writeDocument,
} from "./documents.js";
import { eachConcurrently } from "./each-concurrently.js";
import type { StoreLayout } from "./layout.js";

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

  constructor(layout: StoreLayout, options: { readonly bootId: string; readonly log: Log }) {
    this.#layout = layout;
    this.#bootId = options.bootId;
    this.#log = options.log;
  }

  /** Rebuilds the index. What is unreadable is kept on the disk, left out, and said. */
  async scan(): Promise<void> {
    for (const algorithm of ["sha256", "sha512"]) {
      const names = await readdir(join(this.#layout.layers, algorithm));
      await eachConcurrently(names, async (name) => {
        try {
          await this.#load(parseDiffId(`${algorithm}:${name}`));
        } catch (error) {
          this.#log.warn("layer.unreadable", { layer: `${algorithm}:${name}`, error });
        }
      });
    }
  }

  async #load(diffId: DiffId): Promise<void> {
    const document = await readDocument(this.#layout.layerDocument(diffId), layerSchema);
    if (document === undefined || document.diffId !== diffId) throw new Error("no layer.json of this layer");
    const meta = await readDocument(this.#layout.layerMeta(diffId), layerMetaSchema).catch(() => undefined);
    this.#index.set(diffId, { document, meta: meta ?? this.#newMeta(document.createdAt) });
    for (const blob of meta?.blobs ?? []) this.#findBy(blob, diffId);
  }

  get(diffId: DiffId): StoredLayer | undefined {
    return this.#index.get(diffId);
  }

  /** By the diffID that is claimed for it; without one, by the blob that it was unpacked from. */
  find({ descriptor, diffId }: LayerDescriptor): StoredLayer | undefined {
    const known = diffId ?? this.#byBlob.get(blobKey(blobOf(descriptor)));
    return known === undefined ? undefined : this.#index.get(known);
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
   * Publishes `staged` (tree, changeset, layer.json) as the layer of its diffID; `blob` is what it was unpacked from.
   * The rename is the point of no return; where another commit of the same diffID came first, that one stands and `staged` is
   * left to its staging directory.
   */
  async commit(staged: string, document: LayerDocument, blob: LayerBlob): Promise<void> {
    const { diffId } = document;
    const path = this.#layout.layer(diffId);
    try {
      await rename(staged, path);
      await syncParent(path);
    } catch (error) {
      if (!isTaken(error)) throw error;
    }
    if (!this.#index.has(diffId)) this.#index.set(diffId, { document, meta: this.#newMeta(document.createdAt) });
    const blobs = this.#index.get(diffId)?.meta.blobs ?? [];
    if (!blobs.some((known) => blobKey(known) === blobKey(blob))) this.#touch(diffId, { blobs: [...blobs, blob] });
    this.#findBy(blob, diffId);
    this.used(diffId);
  }

  /**
   * A repair is about to write into the layer: on the disk it counts as not synced before the first byte is. The caller makes it durable
   * afterwards.
   */
  async mending(diffId: DiffId): Promise<void> {
    this.#touch(diffId, { durable: false, bootId: this.#bootId });
    await this.flush();
  }

  /** A repair has brought the layer's documents, or all of it, to its place; `document` is what they say. */
  async restored(document: LayerDocument): Promise<void> {
    const { diffId } = document;
    const meta = this.#index.get(diffId)?.meta ?? this.#newMeta(document.createdAt);
    this.#index.set(diffId, { document, meta });
    for (const blob of meta.blobs) this.#findBy(blob, diffId);
    await syncParent(this.#layout.layer(diffId));
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

  /** Everything committed before a sync of the whole file system is on the disk. */
  markDurable(diffIds: readonly DiffId[]): void {
    for (const diffId of diffIds)
      if (this.#index.get(diffId)?.meta.durable === false) this.#touch(diffId, { durable: true });
  }

  notDurable(): DiffId[] {
    return [...this.#index].filter(([, { meta }]) => !meta.durable).map(([diffId]) => diffId);
  }

  /** Writes the meta documents that changed. */
  async flush(): Promise<void> {
    const touched = [...this.#touched];
    this.#touched.clear();
    await eachConcurrently(touched, async (diffId) => {
      const layer = this.#index.get(diffId);
      if (layer !== undefined) await writeDocument(this.#layout.layerMeta(diffId), layer.meta);
    });
  }

  /** Whether anything stands where the layer belongs. */
  async stands(diffId: DiffId): Promise<boolean> {
    return stat(this.#layout.layer(diffId)).then(
      () => true,
      () => false,
    );
  }

  /** Whether the layer still stands where the index says. */
  async exists(diffId: DiffId): Promise<boolean> {
    return stat(this.#layout.layerDocument(diffId)).then(
      () => true,
      () => false,
    );
  }

  /** Who claims no diffID gets one in sha256, whatever is stored. */
  #findBy(blob: LayerBlob, diffId: DiffId): void {
    if (digestAlgorithm(diffId) === "sha256") this.#byBlob.set(blobKey(blob), diffId);
  }

  #touch(diffId: DiffId, change: Partial<LayerMeta>): void {
    const layer = this.#index.get(diffId);
    if (layer === undefined) return;
    this.#index.set(diffId, { document: layer.document, meta: { ...layer.meta, ...change } });
    this.#touched.add(diffId);
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

/** The name of a rename's target is taken by a directory that is not empty: a commit came first. */
export function isTaken(error: unknown): boolean {
  const errno = systemErrorCode(error);
  return errno === "EEXIST" || errno === "ENOTEMPTY";
}
