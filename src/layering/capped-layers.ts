/**
 * Layers within caps. Keeping a cap costs copies: what is stored for a set of images is stored for disjoint parts of it instead, each
 * of which makes a layer with all else that is stored for the same images.
 *
 * Images that have the same in common with all others are one here. Small sets are searched through (least-copies.ts); larger ones
 * get what dissolving layers one after another finds (dissolved-layers.ts), with a bound that no layering within the caps is below.
 */
import { type Caps, costOf, isSole, keepsCaps, layerCounts, layersOf, type Parts, type Portion } from "./caps.js";
import { dissolvedLayers } from "./dissolved-layers.js";
import { type ImageSet, imagesOf, isWithin, NOBODY, only } from "./image-sets.js";
import { leastCopies } from "./least-copies.js";
import type { CapFigures } from "./plan-repack.js";

/** `portions` are of sets that differ. */
export function capped(
  portions: readonly Portion[],
  caps: Caps,
): { readonly parts: Parts; readonly figures: CapFigures } {
  const whole = portions.map(({ images }) => [images]);
  if (keepsCaps(layersOf(portions, whole), caps))
    return { parts: whole, figures: { method: "none", duplicatedBytes: 0, atLeastBytes: 0 } };
  const { merged, expanded } = withoutTwins(portions);
  const found = dissolvedLayers(merged, caps);
  const least = leastCopies(merged, caps, found);
  const parts = least?.parts ?? found;
  const duplicatedBytes = costOf(merged, parts).bytes;
  const isExact = least?.isComplete === true;
  return {
    parts: parts.map((each) => each.map(expanded)),
    figures: {
      method: isExact ? "exact" : "greedy",
      duplicatedBytes,
      atLeastBytes: isExact ? duplicatedBytes : leastDuplicated(merged, caps),
    },
  };
}

/** Images that are in the same sets: no layering gains by telling them apart. One stands for each group. */
function withoutTwins(portions: readonly Portion[]): { merged: Portion[]; expanded: (images: ImageSet) => ImageSet } {
  const memberships = new Map<number, number[]>();
  for (const [nth, { images }] of portions.entries()) {
    for (const image of imagesOf(images)) {
      const known = memberships.get(image);
      if (known === undefined) memberships.set(image, [nth]);
      else known.push(nth);
    }
  }
  const twins = new Map<string, number[]>();
  for (const [image, member] of memberships) twins.set(member.join(), [...(twins.get(member.join()) ?? []), image]);
  const groups = [...twins.values()].map((group) => group.reduce((all, image) => all | only(image), NOBODY));
  const groupOf = (image: number): number => groups.findIndex((group) => isWithin(only(image), group));
  const numbers = new Map(Array.from(memberships.keys(), (image) => [image, groupOf(image)]));
  const merged = portions.map((portion) => ({
    ...portion,
    images: imagesOf(portion.images).reduce((all, image) => all | only(numbers.get(image) as number), NOBODY),
  }));
  const expanded = (images: ImageSet): ImageSet =>
    imagesOf(images).reduce((all, group) => all | (groups[group] as ImageSet), NOBODY);
  return { merged, expanded };
}

/**
 * An image in more sets than it may have layers: all beyond that are split, and whoever is split is stored once more at least. A layer
 * that is too small is split, or something that is stored for more images is.
 */
function leastDuplicated(portions: readonly Portion[], { maxLayers, minLayerBytes }: Caps): number {
  const counts = layerCounts(portions.map(({ images }) => images));
  const shared = portions.filter(({ images }) => imagesOf(images).length > 1).sort((a, b) => a.bytes - b.bytes);
  let least = 0;
  for (const [image, count] of counts) {
    const own = shared.filter(({ images }) => isWithin(only(image), images)).slice(0, Math.max(0, count - maxLayers));
    least = Math.max(
      least,
      own.reduce((sum, { bytes }) => sum + bytes, 0),
    );
  }
  for (const { images, bytes } of portions) {
    if (bytes >= minLayerBytes || isSole(images, counts)) continue;
    const others = shared.filter((other) => other.images !== images && isWithin(images, other.images));
    const isShared = imagesOf(images).length > 1;
    const ways = [...(isShared ? [bytes] : []), ...others.map((other) => other.bytes)];
    least = Math.max(least, Math.min(...ways));
  }
  return least;
}
