/**
 * Caps on layers: how many an image may have, and how small one may be; whether a layering keeps them, and what its copies cost.
 */
import { type ImageSet, imagesOf } from "./image-sets.js";

/** What is stored for one set of images. */
export interface Portion {
  readonly images: ImageSet;
  readonly bytes: number;
  readonly entries: number;
}

export interface Caps {
  /** In any image; at least 1. */
  readonly maxLayers: number;
  /** In any layer but where an image has no other. */
  readonly minLayerBytes: number;
}

/** For each portion the disjoint sets that it is stored for: together its own. */
export type Parts = readonly (readonly ImageSet[])[];

/** By set of images, what their layer holds. */
export function layersOf(portions: readonly Portion[], parts: Parts): ReadonlyMap<ImageSet, number> {
  const layers = new Map<ImageSet, number>();
  for (const [nth, { bytes }] of portions.entries())
    for (const images of parts[nth] as readonly ImageSet[]) layers.set(images, (layers.get(images) ?? 0) + bytes);
  return layers;
}

export function keepsCaps(layers: ReadonlyMap<ImageSet, number>, { maxLayers, minLayerBytes }: Caps): boolean {
  const counts = layerCounts(layers.keys());
  if ([...counts.values()].some((count) => count > maxLayers)) return false;
  return [...layers].every(([images, bytes]) => bytes >= minLayerBytes || isSole(images, counts));
}

export function layerCounts(layers: Iterable<ImageSet>): Map<number, number> {
  const counts = new Map<number, number>();
  for (const images of layers) for (const image of imagesOf(images)) counts.set(image, (counts.get(image) ?? 0) + 1);
  return counts;
}

/** Whether one of the images has no other layer. */
export const isSole = (images: ImageSet, counts: ReadonlyMap<number, number>): boolean =>
  imagesOf(images).some((image) => counts.get(image) === 1);

export interface Cost {
  /** Stored again. */
  readonly bytes: number;
  readonly entries: number;
  readonly layers: number;
}

export function costOf(portions: readonly Portion[], parts: Parts): Cost {
  const copies = (nth: number): number => (parts[nth]?.length ?? 1) - 1;
  return {
    bytes: portions.reduce((sum, { bytes }, nth) => sum + bytes * copies(nth), 0),
    entries: portions.reduce((sum, { entries }, nth) => sum + entries * copies(nth), 0),
    layers: new Set(parts.flat()).size,
  };
}

export const byCost = (a: Cost, b: Cost): number => a.bytes - b.bytes || a.entries - b.entries || a.layers - b.layers;
