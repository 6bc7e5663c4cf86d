/**
 * What roots cost and what sharing saves, in bytes of file content (inodes, directories and documents are not counted).
 *
 * A root uses the layers that its document lists, whether it links their files or copies them: they stay as long as it does.
 * Pure: one pass over the documents, then each answer is a lookup.
 */
import type { DiffId } from "../oci/digest.js";
import type { LayerDocument } from "../tasks.js";
import type { RootDocument } from "./documents.js";

export interface Usage {
  /** Bytes of the files as they appear. */
  readonly apparentBytes: number;
  /** Bytes that nothing else needs. */
  readonly uniqueBytes: number;
  /** Bytes that something else holds as well. */
  readonly sharedBytes: number;
}

interface UsedLayer {
  /** The layer's own, once. */
  readonly bytes: number;
  roots: number;
  /** Of the files that roots have from it, all together; a root that only copies links none. */
  linkedBytes: number;
  /** The root that was counted last: a manifest may name a layer twice. */
  last: RootDocument | undefined;
}

export class StoreUsage {
  readonly #layers = new Map<DiffId, UsedLayer>();
  #linkedBytes = 0;
  #copiedBytes = 0;
  #apparentBytes = 0;

  constructor(roots: Iterable<RootDocument>, layers: Iterable<LayerDocument>) {
    for (const { diffId, bytes } of layers)
      this.#layers.set(diffId, { bytes, roots: 0, linkedBytes: 0, last: undefined });
    for (const root of roots) this.#add(root);
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
      if (layer === undefined) continue;
      const isFirst = root.layers.indexOf(diffId) === index;
      if (layer.roots > 1) sharedBytes += bytesFrom(layer, root, { index, isFirst });
      else if (isFirst) uniqueBytes += layer.bytes;
    }
    return { apparentBytes: root.bytes, uniqueBytes, sharedBytes: Math.min(sharedBytes, linkedBytesOf(root)) };
  }

  /**
   * Of the store: `apparentBytes` of all roots together; `uniqueBytes` that it really holds, in all layers, used or not, and in
   * copies; `sharedBytes` that linking saves: those of all linked files, less what the layers hold of them once.
   */
  total(): Usage {
    let uniqueBytes = this.#copiedBytes;
    let linkedOnce = 0;
    for (const { bytes, linkedBytes } of this.#layers.values()) {
      uniqueBytes += bytes;
      linkedOnce += Math.min(bytes, linkedBytes);
    }
    const sharedBytes = Math.max(0, this.#linkedBytes - linkedOnce);
    return { apparentBytes: this.#apparentBytes, uniqueBytes, sharedBytes };
  }

  /** What linking a layer's files more than once saves. */
  sharedBytesOf(diffId: DiffId): number {
    const layer = this.#layers.get(diffId);
    return layer === undefined ? 0 : Math.max(0, layer.linkedBytes - layer.bytes);
  }

  #add(root: RootDocument): void {
    const linkedBytes = linkedBytesOf(root);
    this.#apparentBytes += root.bytes;
    this.#copiedBytes += copiedBytesOf(root);
    this.#linkedBytes += linkedBytes;
    for (let index = 0; index < root.layers.length; index += 1) {
      const layer = this.#layers.get(root.layers[index] as DiffId);
      if (layer === undefined) continue;
      const isFirst = layer.last !== root;
      if (isFirst) layer.roots += 1;
      if (linkedBytes > 0) layer.linkedBytes += bytesFrom(layer, root, { index, isFirst });
      layer.last = root;
    }
  }
}

/** What a root has from the layer that stands at `index` among its layers; without a count, all of it, once. */
function bytesFrom(
  layer: UsedLayer,
  root: RootDocument,
  { index, isFirst }: { index: number; isFirst: boolean },
): number {
  return root.layerBytes?.[index] ?? (isFirst ? layer.bytes : 0);
}

const copiedBytesOf = ({ copiedBytes = 0 }: RootDocument): number => copiedBytes;
const linkedBytesOf = (root: RootDocument): number => Math.max(0, root.bytes - copiedBytesOf(root));
