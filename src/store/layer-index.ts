/**
 * The layers in memory, by all that is asked of them: by diffID, by the blobs that they were unpacked from, from the oldest on; and what
 * they come to.
 */
import { type Rows, thingAt } from "../memo-rows.js";
import { type DiffId, digestAlgorithm } from "../oci/digest.js";
import type { Descriptor } from "../oci/documents.js";
import { layerCodec } from "../oci/media-types.js";
import type { LayerKeys } from "../scan-tasks.js";
import { blobKey, type LayerBlob, type LayerMeta } from "../stored-documents.js";
import type { LayerDocument } from "../tasks.js";
import { ByAge, type Page, type PageQuery, type Watcher } from "./by-age.js";

export interface StoredLayer {
  /** The same object as long as the layer stands, whatever its meta comes to say. */
  readonly document: LayerDocument;
  readonly meta: LayerMeta;
}

/** With what is asked of all layers at once: to look at the documents of all is long work where a memo has them. */
export interface KnownLayer extends StoredLayer {
  readonly diffId: DiffId;
  readonly createdAt: string;
  readonly bytes: number;
  readonly verifiedAt: string | undefined;
}

export function knownLayer(document: LayerDocument, meta: LayerMeta): KnownLayer {
  const { diffId, createdAt, bytes } = document;
  return { diffId, createdAt, bytes, verifiedAt: meta.verifiedAt, document, meta };
}

/** Where a thing stands in a memo. */
export interface MemoRow {
  readonly rows: Rows;
  readonly row: number;
}

/** A layer whose documents were not read: a memo told of it. They are parsed when somebody looks at them. */
export class RecalledLayer implements KnownLayer {
  readonly diffId: DiffId;
  readonly createdAt: string;
  readonly bytes: number;
  readonly verifiedAt: string | undefined;
  #rows: Rows | undefined;
  readonly #row: number;
  #parsed: StoredLayer | undefined;

  constructor(diffId: DiffId, { createdAt, bytes, verifiedAt }: LayerKeys, { rows, row }: MemoRow) {
    this.diffId = diffId;
    this.createdAt = createdAt;
    this.bytes = bytes;
    this.verifiedAt = verifiedAt ?? undefined;
    this.#rows = rows;
    this.#row = row;
  }

  get document(): LayerDocument {
    return this.#parse().document;
  }

  get meta(): LayerMeta {
    return this.#parse().meta;
  }

  #parse(): StoredLayer {
    if (this.#rows !== undefined) this.#parsed = thingAt(this.#rows, this.#row, this.diffId) as StoredLayer;
    // Those of many layers, which are held as long as one of them needs them.
    this.#rows = undefined;
    return this.#parsed as StoredLayer;
  }
}

export class LayerIndex {
  readonly #layers = new ByAge<DiffId, KnownLayer>(({ createdAt }) => createdAt);
  readonly #byBlob = new Map<string, DiffId>();
  readonly #notDurable = new Set<DiffId>();
  #bytes = 0;

  constructor() {
    this.#layers.watch({
      added: ({ bytes }) => {
        this.#bytes += bytes;
      },
      removed: ({ bytes }) => {
        this.#bytes -= bytes;
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

  get(diffId: DiffId): KnownLayer | undefined {
    return this.#layers.get(diffId);
  }

  /** The one that was unpacked from this blob. */
  of(blob: LayerBlob): KnownLayer | undefined {
    const known = this.#byBlob.get(blobKey(blob));
    return known === undefined ? undefined : this.#layers.get(known);
  }

  /** One that was unpacked from a blob of this digest, whatever its size and codec. */
  withBlob(digest: string): KnownLayer | undefined {
    const ofDigest = `${digest} `;
    for (const [key, diffId] of this.#byBlob) if (key.startsWith(ofDigest)) return this.#layers.get(diffId);
    return this.#layers
      .all()
      .find((layer) => !isFoundByBlob(layer.diffId) && layer.meta.blobs.some((blob) => blob.digest === digest));
  }

  all(): readonly KnownLayer[] {
    return this.#layers.all();
  }

  /** Oldest first. */
  page(query: PageQuery): Page<KnownLayer> {
    return this.#layers.page(query);
  }

  /** Once all are there: pages come at once from here on. */
  sort(): Promise<void> {
    return this.#layers.sort();
  }

  watch(watcher: Watcher<KnownLayer>): void {
    this.#layers.watch(watcher);
  }

  notDurable(): KnownLayer[] {
    return [...this.#notDurable].map((diffId) => this.#layers.get(diffId) as KnownLayer);
  }

  /** One that is new, or what the same one's meta says. */
  set({ document, meta }: StoredLayer): void {
    const { diffId } = document;
    this.#layers.set(diffId, knownLayer(document, meta));
    if (meta.durable) this.#notDurable.delete(diffId);
    else this.#notDurable.add(diffId);
    for (const blob of meta.blobs) this.findBy(blob, diffId);
  }

  /** One that is new, and on the disk as far as a power cut goes. */
  recall(layer: RecalledLayer, blobKeys: readonly string[]): void {
    this.#layers.set(layer.diffId, layer);
    if (!isFoundByBlob(layer.diffId)) return;
    for (const key of blobKeys) this.#byBlob.set(key, layer.diffId);
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

  findBy(blob: LayerBlob, diffId: DiffId): void {
    if (isFoundByBlob(diffId)) this.#byBlob.set(blobKey(blob), diffId);
  }
}

/** Who claims no diffID gets one in sha256, whatever is stored. */
const isFoundByBlob = (diffId: DiffId): boolean => digestAlgorithm(diffId) === "sha256";

/** What a descriptor says of a layer's bytes, and how it says that they are to be read. MEDIA_TYPE_UNSUPPORTED. */
export const blobOf = ({ digest, size, mediaType }: Descriptor): LayerBlob => ({
  digest,
  size,
  codec: layerCodec(mediaType),
});
