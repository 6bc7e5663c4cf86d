/**
 * What a root and its layers cost, in bytes of file content and in inodes. Pure: exact for what is planned, an estimate for a layer of
 * which only the blob's size is known. The store's own documents are a handful of inodes and are not counted.
 */
import { isWritable, type LinkMode } from "../choices.js";
import type { LayerDescriptor } from "../oci/documents.js";
import { layerCodec } from "../oci/media-types.js";
import type { PlannedRoot } from "../root-tasks.js";
import type { LayerDocument } from "../tasks.js";

export interface Cost {
  readonly writeBytes: number;
  readonly writeInodes: number;
  /** Content that the root links, or whose blocks it shares, and does not have of its own. */
  readonly sharedBytes: number;
}

export const NO_COST: Cost = { writeBytes: 0, writeInodes: 0, sharedBytes: 0 };

/** What gzip, zstd and xz make of layers of programs and their files is about a third of them. */
const UNPACKED_PER_COMPRESSED = 3;
/** What mke2fs reckons with when it makes inodes. */
const BYTES_PER_INODE = 16 * 1024;

export type MeasuredRoot = Pick<PlannedRoot, "bytes" | "ownInodes" | "files" | "emptyLinks" | "outermost">;

/** Of the root alone: its layers are stored. */
export function rootCost({ bytes, ownInodes, files, emptyLinks, outermost }: MeasuredRoot, link: LinkMode): Cost {
  switch (link) {
    case "hardlink":
      return { writeBytes: 0, writeInodes: ownInodes + emptyLinks, sharedBytes: bytes };
    case "symlink":
      return { writeBytes: 0, writeInodes: outermost, sharedBytes: bytes };
    case "copy":
      return { writeBytes: bytes, writeInodes: ownInodes + files, sharedBytes: 0 };
    case "reflink":
      return { writeBytes: 0, writeInodes: ownInodes + files, sharedBytes: bytes };
  }
}

/** Of a layer that is still to be unpacked, and of what a root has of it. */
export function layerEstimate({ descriptor: { size, mediaType } }: LayerDescriptor, link: LinkMode): Cost {
  const unpacked = layerCodec(mediaType) === "none" ? size : size * UNPACKED_PER_COMPRESSED;
  const inodes = Math.ceil(unpacked / BYTES_PER_INODE);
  return {
    writeBytes: link === "copy" ? 2 * unpacked : unpacked,
    writeInodes: isWritable(link) ? 2 * inodes : inodes,
    sharedBytes: 0,
  };
}

/**
 * The least that such a layer takes while it is unpacked: hardly anything is smaller than what a codec makes of it, and a blob that is
 * fetched stands beside. Larger than any layer may be: nothing, since it is refused for that.
 */
export function leastCost(
  { descriptor: { size } }: LayerDescriptor,
  { isFetched, link, maxBytes }: { readonly isFetched: boolean; readonly link: LinkMode; readonly maxBytes: number },
): { readonly bytes: number; readonly inodes: number } {
  if (size > maxBytes) return { bytes: 0, inodes: 0 };
  const times = 1 + (isFetched ? 1 : 0) + (link === "copy" ? 1 : 0);
  return { bytes: times * size, inodes: LAYER_INODES };
}

/** Its directory and what the store puts there, its meta, and one entry. */
const LAYER_INODES = 6;

/** As though all that the layers hold came into the root: where no plan tells. */
export function measuredByDocuments(layers: readonly LayerDocument[]): MeasuredRoot {
  const sum = (of: (layer: LayerDocument) => number): number => layers.reduce((total, layer) => total + of(layer), 0);
  return {
    bytes: sum(({ bytes }) => bytes),
    ownInodes: sum(({ entries, files }) => entries - files),
    files: sum(({ files }) => files),
    emptyLinks: 0,
    outermost: sum(({ topLevel }) => topLevel.length),
  };
}

/** Sizes are what an image says: a sum beyond what is exact would fit no schema. */
export function totalCost(costs: readonly Cost[]): Cost {
  const sum = (of: (cost: Cost) => number): number => exact(costs.reduce((total, cost) => total + of(cost), 0));
  return {
    writeBytes: sum(({ writeBytes }) => writeBytes),
    writeInodes: sum(({ writeInodes }) => writeInodes),
    sharedBytes: sum(({ sharedBytes }) => sharedBytes),
  };
}

export const exact = (sum: number): number => Math.min(sum, Number.MAX_SAFE_INTEGER);
