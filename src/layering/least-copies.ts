/**
 * The layering within the caps that stores least, found by going through all ways to part what is shared, the heaviest first; a way
 * ends where it costs as much as the best so far. Bounded: a search that takes too long gives the best that it came by.
 */
import { MAX_PARTED_IMAGES, MAX_PARTING_STEPS } from "../limits.js";
import { byCost, type Caps, type Cost, costOf, keepsCaps, layersOf, type Parts, type Portion } from "./caps.js";
import { type ImageSet, imagesOf, only } from "./image-sets.js";

/** Undefined where the sets are too wide to be searched. `found` is a layering within the caps. */
export function leastCopies(
  portions: readonly Portion[],
  caps: Caps,
  found: Parts,
): { readonly parts: Parts; readonly isComplete: boolean } | undefined {
  if (portions.some(({ images }) => imagesOf(images).length > MAX_PARTED_IMAGES)) return undefined;
  const search = new PartingSearch(portions, caps, found);
  search.run();
  return { parts: search.best, isComplete: search.steps < MAX_PARTING_STEPS };
}

class PartingSearch {
  best: Parts;
  steps = 0;
  readonly #portions: readonly Portion[];
  readonly #caps: Caps;
  /** Of the portions, in the order of the search. */
  readonly #order: readonly number[];
  readonly #ways: readonly (readonly (readonly ImageSet[])[])[];
  readonly #chosen: (readonly ImageSet[])[];
  readonly #uses = new Map<ImageSet, number>();
  readonly #counts = new Map<number, number>();
  #bestCost: Cost;

  constructor(portions: readonly Portion[], caps: Caps, found: Parts) {
    this.#portions = portions;
    this.#caps = caps;
    this.best = found;
    this.#bestCost = costOf(portions, found);
    this.#order = portions
      .map((_portion, nth) => nth)
      .sort((a, b) => weight(portions[b] as Portion) - weight(portions[a] as Portion));
    this.#ways = portions.map(({ images }) => waysToPart(images));
    this.#chosen = portions.map(({ images }) => [images]);
  }

  run(): void {
    this.#part(0, { bytes: 0, entries: 0, layers: 0 });
  }

  #part(at: number, cost: Cost): void {
    if (byCost(cost, this.#bestCost) >= 0 || this.steps >= MAX_PARTING_STEPS) return;
    this.steps += 1;
    const nth = this.#order[at];
    if (nth === undefined) {
      if (!keepsCaps(layersOf(this.#portions, this.#chosen), this.#caps)) return;
      this.best = [...this.#chosen];
      this.#bestCost = cost;
      return;
    }
    const { bytes, entries } = this.#portions[nth] as Portion;
    for (const way of this.#ways[nth] as readonly (readonly ImageSet[])[]) {
      const layers = way.filter((images) => this.#use(images)).length;
      if (way.every((images) => this.#isWithinCount(images))) {
        this.#chosen[nth] = way;
        const copies = way.length - 1;
        this.#part(at + 1, {
          bytes: cost.bytes + bytes * copies,
          entries: cost.entries + entries * copies,
          layers: cost.layers + layers,
        });
      }
      for (const images of way) this.#leave(images);
    }
  }

  /** True where there was no such layer. */
  #use(images: ImageSet): boolean {
    const uses = this.#uses.get(images) ?? 0;
    this.#uses.set(images, uses + 1);
    if (uses > 0) return false;
    for (const image of imagesOf(images)) this.#counts.set(image, (this.#counts.get(image) ?? 0) + 1);
    return true;
  }

  #leave(images: ImageSet): void {
    const uses = (this.#uses.get(images) ?? 0) - 1;
    this.#uses.set(images, uses);
    if (uses > 0) return;
    for (const image of imagesOf(images)) this.#counts.set(image, (this.#counts.get(image) ?? 0) - 1);
  }

  #isWithinCount(images: ImageSet): boolean {
    return imagesOf(images).every((image) => (this.#counts.get(image) ?? 0) <= this.#caps.maxLayers);
  }
}

/** What can be stored only once comes first: it costs nothing and leaves less to choose. */
const weight = ({ images, bytes }: Portion): number =>
  imagesOf(images).length === 1 ? Number.MAX_SAFE_INTEGER : bytes;

/** All ways to part a set into disjoint sets, the fewest parts first. */
function waysToPart(images: ImageSet): ImageSet[][] {
  let ways: ImageSet[][] = [[]];
  for (const image of imagesOf(images)) {
    const joined = (way: ImageSet[]): ImageSet[][] =>
      way.map((_part, at) => way.map((part, i) => (i === at ? part | only(image) : part)));
    ways = ways.flatMap((way) => [...joined(way), [...way, only(image)]]);
  }
  return ways.sort((a, b) => a.length - b.length);
}
