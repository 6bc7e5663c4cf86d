/**
 * A tree in the one order that all trees here have, so that equal trees are equal lists: depth first, names in the order of their
 * bytes, and of a file with several names the first one is the file.
 */
import assert from "node:assert/strict";
import { byteOrder, type FileEntry, parentPath, type RootEntry } from "../overlap/changeset.js";

export interface SortedTree {
  readonly entries: readonly RootEntry[];
  /** For each entry the one of the tree it was made from (for a file always a file), or ADDED. */
  readonly sources: readonly number[];
  /** For each entry the directory it stands in, or AT_ROOT. */
  readonly parents: Int32Array;
  /** By the index of a file that has several names: all of them, ascending, itself the first. */
  readonly names: ReadonlyMap<number, readonly number[]>;
}

export const ADDED = -1;
export const AT_ROOT = -1;

/** `sources` are the entries' own; absent, each is its own source. Every path stands once, and after its directory. */
export function sortedTree(tree: readonly RootEntry[], sources?: readonly number[]): SortedTree {
  const order = depthFirst(tree);
  const entries = order.map((index) => tree[index] as RootEntry);
  const ordered = sources === undefined ? order : order.map((index) => sources[index] as number);
  return { entries, sources: ordered, parents: parentsOf(entries), names: settleLinks(entries, ordered) };
}

/** Indexes of the entries. */
function depthFirst(tree: readonly RootEntry[]): number[] {
  const order = tree.map((_entry, index) => index);
  const isSorted = tree.every(({ path }, i) => i === 0 || comesBefore((tree[i - 1] as RootEntry).path, path));
  if (isSorted) return order;
  const keys = tree.map(({ path }) => depthFirstKey(path));
  return order.sort((a, b) => byteOrder(keys[a] as string, keys[b] as string));
}

/** No name holds a NUL, which in the place of `/` comes before every other byte. */
const depthFirstKey = (path: string): string => path.replaceAll("/", "\0");

export const byDepthFirst = (a: string, b: string): number => byteOrder(depthFirstKey(a), depthFirstKey(b));

/** The same, without making a text. */
function comesBefore(a: string, b: string): boolean {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const [byte, other] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (byte !== other) return other !== SLASH && (byte === SLASH || byte < other);
  }
  return a.length < b.length;
}

const SLASH = 0x2f;

function parentsOf(entries: readonly RootEntry[]): Int32Array {
  const parents = new Int32Array(entries.length);
  let last = AT_ROOT;
  for (const [index, { path }] of entries.entries()) {
    const above = parentPath(path);
    while (last !== AT_ROOT && (entries[last] as RootEntry).path !== above) last = parents[last] as number;
    assert(last !== AT_ROOT || above === "", "every directory of a tree stands in it");
    parents[index] = last;
    last = index;
  }
  return parents;
}

/** Makes the first name of each file the file, in place. */
function settleLinks(entries: RootEntry[], sources: number[]): ReadonlyMap<number, readonly number[]> {
  const linked = new Map<string, number[]>();
  for (const entry of entries) if (entry.type === "hardlink") linked.set(entry.target, []);
  if (linked.size === 0) return new Map();
  for (const [index, entry] of entries.entries())
    if (entry.type === "file" || entry.type === "hardlink")
      linked.get(entry.type === "file" ? entry.path : entry.target)?.push(index);
  const names = new Map<number, readonly number[]>();
  for (const [target, indexes] of linked) {
    const [first = 0, ...others] = indexes;
    names.set(first, indexes);
    const at = indexes.find((index) => (entries[index] as RootEntry).path === target) as number;
    const file = entries[at] as FileEntry;
    const source = sources[at] as number;
    const { path } = entries[first] as RootEntry;
    for (const index of others)
      entries[index] = { type: "hardlink", path: (entries[index] as RootEntry).path, target: path };
    entries[first] = first === at ? file : { ...file, path };
    sources[first] = source;
  }
  return names;
}

/** Of one entry; a further name of a file has none. */
export const contentBytes = (entry: RootEntry): number => (entry.type === "file" ? entry.size : 0);
