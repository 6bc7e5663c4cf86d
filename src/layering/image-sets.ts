/**
 * Sets of images, as bits of one number each: image 0 is the lowest.
 *
 * A signature is such a set, the images in which a unit is identical, known by a small number: units are many, signatures few.
 */
export type ImageSet = bigint;

export const NOBODY: ImageSet = 0n;
export const only = (image: number): ImageSet => 1n << BigInt(image);
export const isWithin = (some: ImageSet, all: ImageSet): boolean => (some & ~all) === NOBODY;

export function imagesOf(set: ImageSet): number[] {
  const images: number[] = [];
  for (let rest = set, image = 0; rest !== NOBODY; rest >>= 1n, image += 1) if ((rest & 1n) === 1n) images.push(image);
  return images;
}

/** Orders lists of equally many images, each ascending. */
export const byImages = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((order, image, i) => order || image - (b[i] as number), 0);

/** Of nothing: the empty set. What a directory has that is not stored by itself. */
export const NO_SIGNATURE = 0;

export class Signatures {
  readonly #sets: ImageSet[] = [NOBODY];
  readonly #images: (readonly number[])[] = [[]];
  /** By signature, by image: the signature with it. */
  readonly #extended: Map<number, number>[] = [new Map()];

  /** The signature with one more image. Images come in ascending order: each set is reached in one way only. */
  extended(signature: number, image: number): number {
    const extended = this.#extended[signature] as Map<number, number>;
    const known = extended.get(image);
    if (known !== undefined) return known;
    const made = this.#sets.length;
    this.#sets.push(this.set(signature) | only(image));
    this.#images.push([...this.images(signature), image]);
    this.#extended.push(new Map());
    extended.set(image, made);
    return made;
  }

  set(signature: number): ImageSet {
    return this.#sets[signature] as ImageSet;
  }

  images(signature: number): readonly number[] {
    return this.#images[signature] as readonly number[];
  }

  /** The first image of it, which speaks for all of them. */
  speaker(signature: number): number {
    return this.images(signature)[0] ?? -1;
  }

  isWithin(some: number, all: number): boolean {
    return some === all || isWithin(this.set(some), this.set(all));
  }
}
