/**
 * The layering within the caps that stores least, found by going through all ways to part what is shared, the heaviest first. A way ends
 * where it costs as much as the best so far, with what it has to cost yet. Bounded: a search that takes too long gives the best that it
 * came by.
 */
import { MAX_PARTED_IMAGES, MAX_PARTING_STEPS } from "../limits.js";
import { byCost, type Caps, type Cost, costOf, keepsCaps, layersOf, type Parts, type Portion } from "./caps.js";
import { type ImageSet, imagesOf } from "./image-sets.js";

/** Undefined where there are too many images to search. `found` is a layering within the caps; images are numbered from 0. */
export function leastCopies(
  portions: readonly Portion[],
  caps: Caps,
  found: Parts,
): { readonly parts: Parts; readonly isComplete: boolean } | undefined {
  if (portions.some(({ images }) => images >= 1n << BigInt(MAX_PARTED_IMAGES))) return undefined;
  const search = new PartingSearch(portions, caps, found);
  search.run();
  return { parts: search.best, isComplete: search.steps < MAX_PARTING_STEPS };
}

/** A set as small as these is a number of its bits, and its parts index arrays. */
type SmallSet = number;

interface Choice {
  /** Of the portions. */
  readonly nth: number;
  readonly images: SmallSet;
  readonly bytes: number;
  readonly entries: number;
  /** The fewest parts first. */
  readonly ways: readonly (readonly SmallSet[])[];
}

const ALL = 1 << MAX_PARTED_IMAGES;
const membersOf = Array.from({ length: ALL }, (_, set) => imagesOf(BigInt(set)));

class PartingSearch {
  best: Parts;
  steps = 0;
  readonly #portions: readonly Portion[];
  readonly #caps: Caps;
  readonly #choices: readonly Choice[];
  readonly #chosen: (readonly ImageSet[])[];
  /** By set, how many portions have a copy in its layer. */
  readonly #uses = new Int32Array(ALL);
  /** By image, how many layers it has. */
  readonly #counts = new Int32Array(MAX_PARTED_IMAGES);
  #bestCost: Cost;

  constructor(portions: readonly Portion[], caps: Caps, found: Parts) {
    this.#portions = portions;
    this.#caps = caps;
    this.best = found;
    this.#bestCost = costOf(portions, found);
    this.#choices = portions.map(choiceOf).sort((a, b) => weight(b) - weight(a));
    this.#chosen = portions.map(({ images }) => [images]);
  }

  run(): void {
    this.#part(0, { bytes: 0, entries: 0, layers: 0 });
  }

  #part(at: number, cost: Cost): void {
    if (byCost(cost, this.#bestCost) >= 0 || this.steps >= MAX_PARTING_STEPS) return;
    if (cost.bytes + this.#leastYet(at) > this.#bestCost.bytes) return;
    this.steps += 1;
    const choice = this.#choices[at];
    if (choice === undefined) {
      if (!keepsCaps(layersOf(this.#portions, this.#chosen), this.#caps)) return;
      this.best = [...this.#chosen];
      this.#bestCost = cost;
      return;
    }
    const { nth, bytes, entries, ways } = choice;
    for (const way of ways) {
      const copies = way.length - 1;
      if (cost.bytes + bytes * copies > this.#bestCost.bytes) break;
      let layers = 0;
      for (const set of way) layers += this.#use(set);
      if (this.#isWithinCount(choice.images)) {
        this.#chosen[nth] = way.map(BigInt);
        this.#part(at + 1, {
          bytes: cost.bytes + bytes * copies,
          entries: cost.entries + entries * copies,
          layers: cost.layers + layers,
        });
      }
      for (const set of way) this.#leave(set);
    }
  }

  /**
   * What the choices from `at` on duplicate at least: each one that is left whole is a layer of its own for its images, and those of an
   * image beyond its cap are not left so. At best these are the lightest, which come last.
   */
  #leastYet(at: number): number {
    let least = 0;
    for (const [image, count] of this.#counts.entries()) {
      let over = count - this.#caps.maxLayers;
      for (let i = at; i < this.#choices.length; i += 1) {
        const { images } = this.#choices[i] as Choice;
        if ((images & (1 << image)) !== 0 && this.#uses[images] === 0) over += 1;
      }
      let bytes = 0;
      for (let i = this.#choices.length - 1; i >= at && over > 0; i -= 1) {
        const choice = this.#choices[i] as Choice;
        if ((choice.images & (1 << image)) === 0 || choice.ways.length === 1) continue;
        bytes += choice.bytes;
        over -= 1;
      }
      least = Math.max(least, bytes);
    }
    return least;
  }

  /** 1 where there was no such layer. */
  #use(set: SmallSet): number {
    const uses = this.#uses[set] as number;
    this.#uses[set] = uses + 1;
    if (uses > 0) return 0;
    for (const image of membersOf[set] as number[]) this.#counts[image] = (this.#counts[image] as number) + 1;
    return 1;
  }

  #leave(set: SmallSet): void {
    const uses = (this.#uses[set] as number) - 1;
    this.#uses[set] = uses;
    if (uses > 0) return;
    for (const image of membersOf[set] as number[]) this.#counts[image] = (this.#counts[image] as number) - 1;
  }

  #isWithinCount(set: SmallSet): boolean {
    return (membersOf[set] as number[]).every((image) => (this.#counts[image] as number) <= this.#caps.maxLayers);
  }
}

function choiceOf({ images, bytes, entries }: Portion, nth: number): Choice {
  const set = Number(images);
  return { nth, images: set, bytes, entries, ways: waysToPart(set) };
}

/** What can be stored only once comes first: it costs nothing and leaves less to choose. */
const weight = ({ ways, bytes }: Choice): number => (ways.length === 1 ? Number.MAX_SAFE_INTEGER : bytes);

function waysToPart(set: SmallSet): SmallSet[][] {
  let ways: SmallSet[][] = [[]];
  for (const image of membersOf[set] as number[]) {
    const own = 1 << image;
    const joined = (way: SmallSet[]): SmallSet[][] =>
      way.map((_part, at) => way.map((part, i) => (i === at ? part | own : part)));
    ways = ways.flatMap((way) => [...joined(way), [...way, own]]);
  }
  return ways.sort((a, b) => a.length - b.length);
}
