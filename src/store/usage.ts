/**
 * What roots cost and what sharing saves, in bytes of file content (inodes, directories and documents are not counted).
 *
 * A root uses the layers that its document lists, whether it links their files or copies them: they stay as long as it does.
 * Pure: kept up as roots and layers come and go, so that each answer is a lookup.
 */
import type { DiffId } from "../oci/digest.js";
import type { LayerDocument } from "../tasks.js";
import type { RootDocument } from "./documents.js";
import { KeyedSets } from "./keyed-sets.js";

export interface Usage {
  /** Bytes of the files as they appear. */
  readonly apparentBytes: number;
  /** Bytes that nothing else needs. */
  readonly uniqueBytes: number;
  /** Bytes that something else holds as well. */
  readonly sharedBytes: number;
}

interface UsedLayer {
  /** The layer's own, once; undefined where it is not in the store. */
  bytes: number | undefined;
  /** Of the files that roots link from it, all together, as far as they say; a root that only copies links none. */
  toldBytes: number;
  /** How many other roots link all of it. */
  wholes: number;
}

type LayerSize = Pick<LayerDocument, "diffId" | "bytes">;

export class StoreUsage {
  readonly #bytesOf: (diffId: DiffId) => number | undefined;
  /** Those that roots use: of a large store most are used by none. */
  readonly #layers = new Map<DiffId, UsedLayer>();
  /** By layer, the ids of the roots that use it. */
  readonly #roots = new KeyedSets<string>();
  #heldBytes = 0;
  /** Of linked files, what the layers hold of them once. */
  #linkedOnceBytes = 0;
  #linkedBytes = 0;
  #copiedBytes = 0;
  #apparentBytes = 0;

  /** `bytesOf` tells of each layer that was added and not removed. */
  constructor(bytesOf: (diffId: DiffId) => number | undefined) {
    this.#bytesOf = bytesOf;
  }

  addLayer({ diffId, bytes }: LayerSize): void {
    this.#heldBytes += bytes;
    this.#resize(diffId, bytes);
  }

  removeLayer({ diffId, bytes }: LayerSize): void {
    this.#heldBytes -= bytes;
    this.#resize(diffId, undefined);
  }

  addRoot(root: RootDocument): void {
    this.#count(root, 1);
  }

  removeRoot(root: RootDocument): void {
    this.#count(root, -1);
  }

  /** Ids of the roots that use a layer, each once. */
  rootsOf(diffId: DiffId): string[] {
    return [...this.#roots.get(diffId)];
  }

  /**
   * Of a root: `apparentBytes` of its files; `sharedBytes` of the files that it links from layers which at least one other root
   * uses; `uniqueBytes` in layers that only it uses, hidden files too, and in its own copies: what removing this root, and
   * then collecting, gives back at most.
   */
  of(root: RootDocument): Usage {
    let uniqueBytes = copiedBytesOf(root);
    let sharedBytes = 0;
    for (let index = 0; index < root.layers.length; index += 1) {
      const diffId = root.layers[index] as DiffId;
      const layer = this.#layers.get(diffId);
      if (layer?.bytes === undefined) continue;
      const isFirst = root.layers.indexOf(diffId) === index;
      if (this.#roots.count(diffId) > 1) sharedBytes += root.layerBytes?.[index] ?? (isFirst ? layer.bytes : 0);
      else if (isFirst) uniqueBytes += layer.bytes;
    }
    return { apparentBytes: root.bytes, uniqueBytes, sharedBytes: Math.min(sharedBytes, linkedBytesOf(root)) };
  }

  /**
   * Of the store: `apparentBytes` of all roots together; `uniqueBytes` that it really holds, in all layers, used or not, and in
   * copies; `sharedBytes` that linking saves: those of all linked files, less what the layers hold of them once.
   */
  total(): Usage {
    return {
      apparentBytes: this.#apparentBytes,
      uniqueBytes: this.#heldBytes + this.#copiedBytes,
      sharedBytes: Math.max(0, this.#linkedBytes - this.#linkedOnceBytes),
    };
  }

  /** What linking a layer's files more than once saves. */
  sharedBytesOf(diffId: DiffId): number {
    const layer = this.#layers.get(diffId);
    return layer?.bytes === undefined ? 0 : Math.max(0, linkedFrom(layer) - layer.bytes);
  }

  #count(root: RootDocument, times: 1 | -1): void {
    const linkedBytes = linkedBytesOf(root);
    this.#apparentBytes += times * root.bytes;
    this.#copiedBytes += times * copiedBytesOf(root);
    this.#linkedBytes += times * linkedBytes;
    for (const diffId of root.layers) if (times === 1) this.#roots.add(diffId, root.rootId);
    for (const [index, diffId] of root.layers.entries()) {
      // A manifest may name a layer twice.
      const isFirst = root.layers.indexOf(diffId) === index;
      const told = root.layerBytes?.[index];
      this.#change(diffId, (layer) => {
        if (linkedBytes === 0) return;
        if (told !== undefined) layer.toldBytes += times * told;
        else if (isFirst) layer.wholes += times;
      });
    }
    if (times === 1) return;
    for (const diffId of root.layers) {
      this.#roots.delete(diffId, root.rootId);
      if (this.#roots.count(diffId) === 0) this.#layers.delete(diffId);
    }
  }

  #resize(diffId: DiffId, bytes: number | undefined): void {
    if (!this.#layers.has(diffId)) return;
    this.#change(diffId, (layer) => {
      layer.bytes = bytes;
    });
  }

  #change(diffId: DiffId, change: (layer: UsedLayer) => void): void {
    const layer = this.#layers.get(diffId) ?? { bytes: this.#bytesOf(diffId), toldBytes: 0, wholes: 0 };
    this.#linkedOnceBytes -= linkedOnce(layer);
    change(layer);
    this.#linkedOnceBytes += linkedOnce(layer);
    this.#layers.set(diffId, layer);
  }
}

const linkedFrom = ({ bytes = 0, toldBytes, wholes }: UsedLayer): number => toldBytes + wholes * bytes;
const linkedOnce = (layer: UsedLayer): number =>
  layer.bytes === undefined ? 0 : Math.min(layer.bytes, linkedFrom(layer));
const copiedBytesOf = ({ copiedBytes = 0 }: RootDocument): number => copiedBytes;
const linkedBytesOf = (root: RootDocument): number => Math.max(0, root.bytes - copiedBytesOf(root));
