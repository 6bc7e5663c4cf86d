/**
 * A layering within the caps that is found by dissolving layers: what one holds goes to layers that are there for parts of its images,
 * and to each further image by itself. Of the layers in the way the one goes that costs least for each image it relieves.
 *
 * It ends: each step leaves narrower layers, and with one layer an image every cap is kept. That is also what it costs at most.
 */
import { MAX_COVERING_LAYERS, MAX_SHARED_LAYERS } from "../limits.js";
import { type Caps, isSole, type Parts, type Portion } from "./caps.js";
import { type ImageSet, imagesOf, isWithin, NOBODY, only } from "./image-sets.js";

interface Layer {
  readonly images: ImageSet;
  readonly width: number;
  bytes: number;
  entries: number;
  /** Which portions (indexes) it has a copy of. */
  readonly portions: Set<number>;
  /** What dissolving it cost when that was last reckoned, for each image relieved: it only grows. */
  price: number;
}

export function dissolvedLayers(portions: readonly Portion[], caps: Caps): Parts {
  const layering = new Layering(portions);
  layering.dissolveLightest();
  for (;;) {
    const { counts } = layering;
    const crowded = [...counts].flatMap(([image, count]) => (count > caps.maxLayers ? [image] : []));
    const inTheWay = crowded.reduce((all, image) => all | only(image), NOBODY);
    if (inTheWay !== NOBODY) {
      layering.dissolve(layering.cheapest(inTheWay));
      continue;
    }
    const small = layering.smallest(caps.minLayerBytes);
    if (small === undefined) break;
    layering.dissolve(small.width > 1 ? small : layering.cheapest(small.images));
  }
  layering.mergeTwins();
  return layering.parts();
}

class Layering {
  readonly layers = new Map<ImageSet, Layer>();
  /** By image, how many layers it has. */
  readonly counts = new Map<number, number>();
  readonly #portions: readonly Portion[];
  /** The shared layers, the widest first. */
  #wide: readonly Layer[] = [];

  constructor(portions: readonly Portion[]) {
    this.#portions = portions;
    for (const [nth, portion] of portions.entries()) this.#give(portion.images, portion, [nth]);
    this.#wide = [...this.layers.values()]
      .filter(({ width }) => width > 1)
      .sort((a, b) => b.width - a.width || b.bytes - a.bytes || (a.images < b.images ? -1 : 1));
  }

  /** Beyond so many shared layers only the heaviest stay: the search goes over all of them, once for each that is dissolved. */
  dissolveLightest(): void {
    const shared = [...this.layers.values()].filter(({ width }) => width > 1);
    const weight = ({ bytes, width }: Layer): number => bytes * (width - 1);
    shared.sort((a, b) => weight(b) - weight(a) || b.entries - a.entries || (a.images < b.images ? -1 : 1));
    for (const layer of shared.slice(MAX_SHARED_LAYERS)) this.#replace(layer, imagesOf(layer.images).map(only));
  }

  /** Of the shared layers of these images. There is one. */
  cheapest(images: ImageSet): Layer {
    const open = [...this.layers.values()].filter((layer) => layer.width > 1 && (layer.images & images) !== NOBODY);
    for (;;) {
      const least = open.reduce((best, layer) => (isCheaper(layer, best) ? layer : best));
      const relieved = imagesOf(least.images & images).length;
      const price = (least.bytes * (this.#cover(least).length - 1)) / relieved;
      if (price <= least.price) return least;
      least.price = price;
    }
  }

  /** Of the layers that are too small, the widest of the smallest. */
  smallest(minLayerBytes: number): Layer | undefined {
    let found: Layer | undefined;
    for (const layer of this.layers.values()) {
      if (layer.bytes >= minLayerBytes || isSole(layer.images, this.counts)) continue;
      if (
        found === undefined ||
        layer.bytes < found.bytes ||
        (layer.bytes === found.bytes && layer.width > found.width)
      )
        found = layer;
    }
    return found;
  }

  dissolve(layer: Layer): void {
    this.#replace(layer, this.#cover(layer));
  }

  /** Layers of the same portions are one: they are of different images, and what they hold is the same. */
  mergeTwins(): void {
    const byPortions = new Map<string, Layer>();
    for (const layer of [...this.layers.values()]) {
      const key = [...layer.portions].sort((a, b) => a - b).join();
      const twin = byPortions.get(key);
      const images = layer.images | (twin?.images ?? NOBODY);
      if (twin === undefined || this.layers.has(images)) {
        byPortions.set(key, layer);
        continue;
      }
      this.#remove(layer);
      this.#remove(twin);
      byPortions.set(key, this.#give(images, layer, [...layer.portions]));
    }
  }

  parts(): Parts {
    const parts = this.#portions.map((): ImageSet[] => []);
    for (const { images, portions } of this.layers.values()) for (const nth of portions) parts[nth]?.push(images);
    return parts;
  }

  /** Disjoint sets that are together the layer's: those that have layers, the widest first, and single images. */
  #cover({ images, width }: Layer): ImageSet[] {
    const cover: ImageSet[] = [];
    let rest = images;
    for (const other of this.#wide.slice(0, MAX_COVERING_LAYERS)) {
      if (other.width >= width || !isWithin(other.images, rest)) continue;
      cover.push(other.images);
      rest &= ~other.images;
    }
    return [...cover, ...imagesOf(rest).map(only)];
  }

  #replace(layer: Layer, cover: readonly ImageSet[]): void {
    this.#remove(layer);
    this.#wide = this.#wide.filter((other) => other !== layer);
    for (const images of cover) this.#give(images, layer, [...layer.portions]);
  }

  #give(images: ImageSet, { bytes, entries }: Pick<Layer, "bytes" | "entries">, portions: readonly number[]): Layer {
    const layer = this.layers.get(images) ?? this.#added(images);
    layer.bytes += bytes;
    layer.entries += entries;
    for (const nth of portions) layer.portions.add(nth);
    return layer;
  }

  #added(images: ImageSet): Layer {
    const members = imagesOf(images);
    for (const image of members) this.counts.set(image, (this.counts.get(image) ?? 0) + 1);
    const layer = { images, width: members.length, bytes: 0, entries: 0, portions: new Set<number>(), price: 0 };
    this.layers.set(images, layer);
    return layer;
  }

  #remove({ images }: Layer): void {
    this.layers.delete(images);
    for (const image of imagesOf(images)) this.counts.set(image, (this.counts.get(image) ?? 0) - 1);
  }
}

const isCheaper = (a: Layer, b: Layer): boolean =>
  (a.price - b.price || a.entries - b.entries || b.width - a.width || (a.images < b.images ? -1 : 1)) < 0;
