/**
 * The layers in memory, by all that is asked of them: by diffID, by the blobs that they were unpacked from, from the oldest on; and what
 * they come to.
 */
import { type DiffId, digestAlgorithm } from "../oci/digest.js";
import type { Descriptor } from "../oci/documents.js";
import { layerCodec } from "../oci/media-types.js";
import type { LayerDocument } from "../tasks.js";
import { ByAge, type Page, type PageQuery, type Watcher } from "./by-age.js";
import type { LayerBlob, LayerMeta } from "./documents.js";

export interface StoredLayer {
  /** The same object as long as the layer stands, whatever its meta comes to say. */
  readonly document: LayerDocument;
  readonly meta: LayerMeta;
}

export class LayerIndex {
  readonly #layers = new ByAge<DiffId, StoredLayer>(({ document }) => document.createdAt);
  readonly #byBlob = new Map<string, DiffId>();
  readonly #notDurable = new Set<DiffId>();
  #bytes = 0;

  constructor() {
    this.#layers.watch({
      added: ({ document }) => {
        this.#bytes += document.bytes;
      },
      removed: ({ document }) => {
        this.#bytes -= document.bytes;
      },
    });
  }

  get size(): number {
    return this.#layers.size;
  }

  /** Of the files of all layers. */
  get bytes(): number {
    return this.#bytes;
  }

  has(diffId: DiffId): boolean {
    return this.#layers.has(diffId);
  }

  get(diffId: DiffId): StoredLayer | undefined {
    return this.#layers.get(diffId);
  }

  /** The one that was unpacked from this blob. */
  of(blob: LayerBlob): StoredLayer | undefined {
    const known = this.#byBlob.get(blobKey(blob));
    return known === undefined ? undefined : this.#layers.get(known);
  }

  all(): readonly StoredLayer[] {
    return this.#layers.all();
  }

  /** Oldest first. */
  page(query: PageQuery<DiffId>): Page<DiffId, StoredLayer> {
    return this.#layers.page(query);
  }

  /** Once all are there: pages come at once from here on. */
  sort(): void {
    this.#layers.sort();
  }

  watch(watcher: Watcher<StoredLayer>): void {
    this.#layers.watch(watcher);
  }

  notDurable(): StoredLayer[] {
    return [...this.#notDurable].map((diffId) => this.#layers.get(diffId) as StoredLayer);
  }

  /** One that is new, or what the same one's meta says. */
  set(layer: StoredLayer): void {
    const { diffId } = layer.document;
    this.#layers.set(diffId, layer);
    if (layer.meta.durable) this.#notDurable.delete(diffId);
    else this.#notDurable.add(diffId);
    for (const blob of layer.meta.blobs) this.findBy(blob, diffId);
  }

  /** One that came in the place of another, if there was one: that may have been of another age and size. */
  replace(layer: StoredLayer): void {
    const lost = this.#layers.get(layer.document.diffId);
    if (lost !== undefined) this.delete(lost);
    this.set(layer);
  }

  delete({ document: { diffId }, meta }: StoredLayer): void {
    this.#layers.delete(diffId);
    this.#notDurable.delete(diffId);
    for (const blob of meta.blobs) if (this.#byBlob.get(blobKey(blob)) === diffId) this.#byBlob.delete(blobKey(blob));
  }

  /** Who claims no diffID gets one in sha256, whatever is stored. */
  findBy(blob: LayerBlob, diffId: DiffId): void {
    if (digestAlgorithm(diffId) === "sha256") this.#byBlob.set(blobKey(blob), diffId);
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
