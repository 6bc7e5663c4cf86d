/**
 * Several names of one file: which names of a layer are one inode, and how a plan says so.
 *
 * In a plan the first name of an inode is a file, and every other one a hard link to that: whatever a policy hid or a
 * placement moved, a root that is copied can keep them linked, and a hard link's target always comes before it.
 */
import assert from "node:assert/strict";
import { type FileEntry, isWhiteout, type RootEntry, type Unresolved } from "./changeset.js";
import type { PathTree } from "./path-tree.js";
import type { PlacedLayer } from "./placement.js";
import type { PlannedEntry, RootPlan } from "./plan-root.js";

/** A file that has several names. */
export interface Inode {
  readonly file: FileEntry;
  /** The first of its names that a plan gave out. */
  planned: string | undefined;
}

/** What a layer has at a path of the root that is being planned. */
export interface Standing {
  readonly layer: number;
  readonly from: string;
  readonly entry: RootEntry | Unresolved;
  /** May be undefined for a file without another name. */
  inode: Inode | undefined;
}

/** All that a layer puts somewhere, in its order: everything but whiteouts. */
export function* standings(layer: number, placed: PlacedLayer): Generator<Standing> {
  const inodes = inodesOf(placed);
  for (const { from, entry } of placed.entries)
    if (!isWhiteout(entry)) yield { layer, from, entry, inode: inodes.get(entry.path) };
}

/** By path, for every name of a file that has several. */
function inodesOf({ entries }: PlacedLayer): ReadonlyMap<string, Inode> {
  const inodes = new Map<string, Inode>();
  const targets = new Set<string>();
  for (const { entry } of entries) if (entry.type === "hardlink") targets.add(entry.target);
  if (targets.size === 0) return inodes;
  // A link may stand before its file: the archive's order is not the changeset's.
  for (const { entry } of entries)
    if (entry.type === "file" && targets.has(entry.path)) inodes.set(entry.path, { file: entry, planned: undefined });
  for (const { entry } of entries) {
    if (entry.type !== "hardlink") continue;
    const inode = inodes.get(entry.target);
    assert(inode !== undefined, "a hard link's target is a file of its changeset");
    inodes.set(entry.path, inode);
  }
  return inodes;
}

/** What a tree holds, depth first; something stands at every path of it. */
export function planOf(tree: PathTree<Standing>): RootPlan {
  const plan: PlannedEntry[] = [];
  for (const { path, value } of tree.nodes()) {
    assert(value !== undefined, "something stands at every path");
    plan.push(plannedEntry(path, value));
  }
  return plan;
}

/** The next path of a plan. */
export function plannedEntry(path: string, { layer, from, entry, inode }: Standing): PlannedEntry {
  assert(entry.type !== "unresolved", "an unresolved hard link is never planned");
  if (inode === undefined) return { layer, from, entry: entry.path === path ? entry : { ...entry, path } };
  if (inode.planned !== undefined) return { layer, from, entry: { type: "hardlink", path, target: inode.planned } };
  inode.planned = path;
  return { layer, from, entry: inode.file.path === path ? inode.file : { ...inode.file, path } };
}
