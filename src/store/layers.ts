/**
 * The unpacked layers: an index in memory of what stands under layers/, rebuilt by a scan at start, and the one rename that
 * adds to it. A layer is never changed after its commit; what changes about it stands in meta/, and so do the blobs that it was
 * unpacked from: who knows no diffID finds it by them.
 */
import { readdir, rename, stat } from "node:fs/promises";
import { systemErrorCode } from "../errors.js";
import {
  blobKey,
  type LayerBlob,
  type LayerMeta,
  layerMetaSchema,
  layerSchema,
  parseDocument,
} from "../layer-documents.js";
import { MAX_SCANNED_LAYERS } from "../limits.js";
import type { Log } from "../log.js";
import { type DiffId, digestAlgorithm } from "../oci/digest.js";
import type { Descriptor, LayerDescriptor } from "../oci/documents.js";
import { layerCodec } from "../oci/media-types.js";
import type { LayerDocument, ScannedLayer, ScanResult, ScanTask } from "../tasks.js";
import { ByAge, type Page, type PageQuery, type Watcher } from "./by-age.js";
import { syncParent, writeDocument } from "./documents.js";
import { batchesOf, eachConcurrently } from "./each-concurrently.js";
import type { StoreLayout } from "./layout.js";

/** One task, on a worker. */
export type ScanLayers = (task: ScanTask) => Promise<ScanResult>;

type LayerFacts = Pick<LayerDocument, "diffId" | "bytes" | "createdAt">;

/**
 * A layer as it stands. What a scan found is kept as text, an eighth of the memory that it takes as objects, and read by who looks:
 * it was checked by the scan, and is again.
 */
export class StoredLayer {
  readonly diffId: DiffId;
  readonly #document: LayerDocument | string;
  readonly #meta: LayerMeta | string;
  readonly bytes: number;
  readonly createdAt: string;

  constructor(document: LayerDocument | string, meta: LayerMeta | string, facts: LayerFacts) {
    this.diffId = facts.diffId;
    this.#document = document;
    this.#meta = meta;
    this.bytes = facts.bytes;
    this.createdAt = facts.createdAt;
  }

  get document(): LayerDocument {
    return typeof this.#document === "string"
      ? parseDocument("layer.json", this.#document, layerSchema)
      : this.#document;
  }

  get meta(): LayerMeta {
    return typeof this.#meta === "string"
      ? parseDocument("its meta document", this.#meta, layerMetaSchema)
      : this.#meta;
  }

  /** The same layer with this meta. */
  with(meta: LayerMeta): StoredLayer {
    return new StoredLayer(this.#document, meta, this);
  }
}

export class Layers {
  readonly #layout: StoreLayout;
  readonly #bootId: string;
  readonly #log: Log;
  readonly #index = new ByAge<DiffId, StoredLayer>();
  #bytes = 0;
  readonly #byBlob = new Map<string, DiffId>();
  readonly #notDurable = new Set<DiffId>();
  /** Layers whose meta in memory is newer than on the disk. */
  readonly #touched = new Set<DiffId>();

  constructor(layout: StoreLayout, options: { readonly bootId: string; readonly log: Log }) {
    this.#layout = layout;
    this.#bootId = options.bootId;
    this.#log = options.log;
    this.#index.watch({
      added: ({ bytes }) => {
        this.#bytes += bytes;
      },
      removed: ({ bytes }) => {
        this.#bytes -= bytes;
      },
    });
  }

  /** Rebuilds the index. What is unreadable is kept on the disk, left out, and said. */
  async scan(scanLayers: ScanLayers): Promise<void> {
    for (const algorithm of ["sha256", "sha512"] as const) {
      const document = this.#layout.layerDocuments(algorithm);
      const hexes = await readdir(document[0]);
      await eachConcurrently(batchesOf(hexes, MAX_SCANNED_LAYERS), async (batch) => {
        for (let left = batch; left.length > 0; ) {
          const { layers } = await scanLayers({ algorithm, hexes: left, document, meta: this.#layout.layerMetas });
          for (const [index, layer] of layers.entries())
            if ("unreadable" in layer)
              this.#log.warn("layer.unreadable", { layer: `${algorithm}:${left[index]}`, error: layer.unreadable });
            else this.#adopt(layer);
          left = left.slice(layers.length);
        }
      });
    }
    this.#index.sort();
  }

  #adopt({ diffId, document, meta, bytes, createdAt, durable, blobKeys }: ScannedLayer): void {
    this.#index.set(diffId, new StoredLayer(document, meta ?? this.#newMeta(createdAt), { diffId, bytes, createdAt }));
    if (!durable) this.#notDurable.add(diffId);
    for (const key of blobKeys) this.#findBy(key, diffId);
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

  /** Oldest first. */
  page(query: PageQuery<DiffId>): Page<DiffId, StoredLayer> {
    return this.#index.page(query);
  }

  /** Tells of every layer that is there, comes or goes. */
  watch(watcher: Watcher<StoredLayer>): void {
    this.#index.watch(watcher);
  }

  /** Of the files of all layers. */
  get bytes(): number {
    return this.#bytes;
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
    if (!this.#index.has(diffId))
      this.#put(diffId, new StoredLayer(document, this.#newMeta(document.createdAt), document));
    const blobs = this.#index.get(diffId)?.meta.blobs ?? [];
    if (!blobs.some((known) => blobKey(known) === blobKey(blob))) this.#touch(diffId, { blobs: [...blobs, blob] });
    this.#findBy(blobKey(blob), diffId);
    this.used(diffId);
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
    return [...this.#notDurable];
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

  /** Whether the layer still stands where the index says. */
  async exists(diffId: DiffId): Promise<boolean> {
    return stat(this.#layout.layerDocument(diffId)).then(
      () => true,
      () => false,
    );
  }

  /** Who claims no diffID gets one in sha256, whatever is stored. */
  #findBy(key: string, diffId: DiffId): void {
    if (digestAlgorithm(diffId) === "sha256") this.#byBlob.set(key, diffId);
  }

  #put(diffId: DiffId, layer: StoredLayer): void {
    this.#index.set(diffId, layer);
    if (layer.meta.durable) this.#notDurable.delete(diffId);
    else this.#notDurable.add(diffId);
  }

  #touch(diffId: DiffId, change: Partial<LayerMeta>): void {
    const layer = this.#index.get(diffId);
    if (layer === undefined) return;
    this.#put(diffId, layer.with({ ...layer.meta, ...change }));
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

/** The name of a rename's target is taken by a directory that is not empty: a commit came first. */
export function isTaken(error: unknown): boolean {
  const errno = systemErrorCode(error);
  return errno === "EEXIST" || errno === "ENOTEMPTY";
}
