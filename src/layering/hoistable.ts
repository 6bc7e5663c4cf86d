/**
 * Which subtrees are worth a link and come to no harm by it, and of those the ones to hoist: each that is the same in at least two
 * images, and in other images than what it stands in.
 *
 * A subtree that wider ones are hoisted out of is hoisted with links in it. Together everything that is worth it is stored once.
 */
import { imageLimits, MIN_HOISTED_BYTES, MIN_HOISTED_FILE_BYTES } from "../limits.js";
import { isDirectory, type RootEntry } from "../overlap/changeset.js";
import { HOISTED_BYTES, HOISTED_DEPTH } from "./hoisted-links.js";
import { NO_SIGNATURE, type Signatures } from "./image-sets.js";
import { leftDirectories } from "./left-directories.js";
import { AT_ROOT, contentBytes, type SortedTree } from "./sorted-tree.js";
import type { Subtrees } from "./subtrees.js";

export interface Homes {
  /** For each tree, for each entry: the images (a signature) it is hoisted for, with all around it; NO_SIGNATURE: it stays. */
  readonly homeOf: readonly Int32Array[];
  /** For each tree, for each entry: 1 where a link stands in its place. */
  readonly isHoisted: readonly Uint8Array[];
}

const leastBytes = (entry: RootEntry): number => (isDirectory(entry) ? MIN_HOISTED_BYTES : MIN_HOISTED_FILE_BYTES);

/** What an entry costs in an archive beside its content. */
const HEADER_BYTES = 512;

export function hoistedHomes(
  trees: readonly SortedTree[],
  found: Subtrees,
  { known, keeps }: { readonly known: Signatures; readonly keeps: (path: string) => boolean },
): Homes {
  const crossings = trees.map(crossed);
  const isBarred = barredSubtrees(trees, found, { crossings, keeps });
  const isWorthIt = worthySubtrees(trees, found, { known, isBarred });
  const homeOf: Int32Array[] = [];
  const isHoisted: Uint8Array[] = [];
  for (const [image, { entries, parents }] of trees.entries()) {
    const subtreeOf = found.subtreeOf[image] as Int32Array;
    const homes = new Int32Array(entries.length);
    const hoisted = new Uint8Array(entries.length);
    /** By entry: the images that what it stands in is stored for. */
    const around = new Int32Array(entries.length);
    for (const [index, parent] of parents.entries()) {
      const subtree = subtreeOf[index] as number;
      const signature = found.signatures[subtree] as number;
      if (parent === AT_ROOT) {
        around[index] = crossings[image]?.[index] === 1 ? NO_SIGNATURE : signature;
        continue;
      }
      const isRoot = isWorthIt[subtree] === 1 && signature !== around[parent];
      hoisted[index] = isRoot ? 1 : 0;
      around[index] = isRoot ? signature : (around[parent] as number);
      homes[index] = isRoot ? signature : (homes[parent] as number);
    }
    homeOf.push(homes);
    isHoisted.push(hoisted);
  }
  return { homeOf, isHoisted };
}

/** For each entry 1 where a file has names below it and names elsewhere. */
function crossed({ entries, parents, names }: SortedTree): Uint8Array {
  const crosses = new Uint8Array(entries.length);
  const pathOf = (index: number): string => (entries[index] as RootEntry).path;
  for (const [first, others] of names) {
    let around = parents[first] as number;
    const holdsAll = (): boolean => others.every((name) => pathOf(name).startsWith(`${pathOf(around)}/`));
    while (around !== AT_ROOT && !holdsAll()) around = parents[around] as number;
    for (const name of others) for (let at = name; at !== around; at = parents[at] as number) crosses[at] = 1;
  }
  return crosses;
}

interface Bars {
  readonly crossings: readonly Uint8Array[];
  readonly keeps: (path: string) => boolean;
}

/** By subtree: 1 where it has to stay, whole, in one of the images that have it. What is below it may go. */
function barredSubtrees(trees: readonly SortedTree[], found: Subtrees, { crossings, keeps }: Bars): Uint8Array {
  const isBarred = new Uint8Array(found.signatures.length);
  for (const [image, tree] of trees.entries()) {
    const { entries, parents } = tree;
    const left = leftDirectories(tree);
    const isKept = new Uint8Array(entries.length);
    const longest = new Int32Array(entries.length);
    const deepest = new Int32Array(entries.length);
    for (const [index, { path }] of entries.entries()) {
      const parent = parents[index] as number;
      isKept[index] = (parent !== AT_ROOT && isKept[parent] === 1) || keeps(path) ? 1 : 0;
      longest[index] = path.length;
      deepest[index] = parent === AT_ROOT ? 1 : (deepest[parent] as number) + 1;
    }
    for (let index = entries.length - 1; index >= 0; index -= 1) {
      const isFar =
        (longest[index] as number) + HOISTED_BYTES > imageLimits.maxPathBytes ||
        (deepest[index] as number) + HOISTED_DEPTH > imageLimits.maxDepth;
      const isLeft = left === undefined || left[index] === 1;
      if (isFar || isLeft || isKept[index] === 1 || crossings[image]?.[index] === 1)
        isBarred[found.subtreeOf[image]?.[index] as number] = 1;
      const parent = parents[index] as number;
      if (parent === AT_ROOT) continue;
      if (isKept[index] === 1) isKept[parent] = 1;
      longest[parent] = Math.max(longest[parent] as number, longest[index] as number);
      deepest[parent] = Math.max(deepest[parent] as number, deepest[index] as number);
    }
  }
  return isBarred;
}

/** By subtree: 1 where it is not barred and has enough of its own, without what is hoisted out of it. */
function worthySubtrees(
  trees: readonly SortedTree[],
  { subtreeOf, signatures }: Subtrees,
  { known, isBarred }: { readonly known: Signatures; readonly isBarred: Uint8Array },
): Uint8Array {
  const isWorthIt = new Uint8Array(signatures.length);
  for (const [image, { entries, parents }] of trees.entries()) {
    const subtrees = subtreeOf[image] as Int32Array;
    /** What goes with an entry if it is hoisted, and what is left of it for what it stands in if it is not. */
    const own = Float64Array.from(entries, (entry) => HEADER_BYTES + contentBytes(entry));
    const rest = Float64Array.from(own);
    for (let index = entries.length - 1; index >= 0; index -= 1) {
      const entry = entries[index] as RootEntry;
      const subtree = subtrees[index] as number;
      const signature = signatures[subtree] as number;
      const canBe = isDirectory(entry) || entry.type === "file";
      if (canBe && isBarred[subtree] === 0 && known.images(signature).length > 1)
        isWorthIt[subtree] = (own[index] as number) > leastBytes(entry) ? 1 : 0;
      const parent = parents[index] as number;
      if (parent === AT_ROOT) continue;
      const left = isWorthIt[subtree] === 1 ? 0 : (rest[index] as number);
      rest[parent] = (rest[parent] as number) + left;
      const isAlike = signatures[subtrees[parent] as number] === signature;
      own[parent] = (own[parent] as number) + (isAlike ? (own[index] as number) : left);
    }
  }
  return isWorthIt;
}
