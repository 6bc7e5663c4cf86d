/**
 * What a verification is asked to look at and what it finds, as data: the thread boundary of `verify`.
 *
 * Paths are bytes (latin1) here; whoever tells them escapes them.
 */
import type { FindingCode } from "./finding-codes.js";
import type { EntriesFile, FileMode, LinkedLayer } from "./root-tasks.js";

export interface TreeFinding {
  readonly code: FindingCode;
  /** Below the tree; the file's name where the code is DOCUMENT. */
  readonly path: string;
  /** What is observed, escaped. */
  readonly detail: string;
  /** Which inode is damaged, as a root that links it would see it (`watched`). */
  readonly inode?: string;
  /** It is about a further inode of the file, under this name in the layer's spill. */
  readonly spill?: string;
}

/** Where a root's entries come from, by the index that its list has. */
export interface RootSource extends LinkedLayer {
  /** What leads from the root's tree to the layer's. */
  readonly target: string;
}

/** A list of a root's entries, and what they come from. */
export interface RootList {
  readonly entries: EntriesFile;
  readonly layers: readonly RootSource[];
}

/** A tree, and what it was made of. */
export type CheckedTree =
  | { readonly kind: "layer"; readonly tree: string; readonly spill: string; readonly changeset: EntriesFile }
  | {
      readonly kind: "root";
      /** One that is writable may have been changed by whom it belongs to. */
      readonly link: FileMode | "symlink";
      readonly tree: string;
      /** Its plan, or the changesets of its layers where they stand in it as they are. */
      readonly lists: readonly RootList[];
    };

/**
 * How much is looked at. `documents`: the lists against their hashes, and that the tree is there. `attributes`: every name, type, mode,
 * time, size and link target too. `contents`: every byte too. A part: the bytes of the files in one of `of` parts of the list, and
 * nothing else, so that a layer may be read a little at a time.
 */
export type Extent = "documents" | "attributes" | "contents" | { readonly index: number; readonly of: number };

/** One tree against what it was made of. What is wrong is the result; the task fails only where nothing can be said (CANCELLED). */
export interface VerifyTask {
  readonly checked: CheckedTree;
  readonly extent: Extent;
  /** Damaged inodes of layers: the result says which of them the tree has. */
  readonly watched?: readonly string[];
  /** What stands apart is found too: before it is linked again. */
  readonly findsApart?: boolean;
  readonly progress: SharedArrayBuffer;
}

export interface VerifyResult {
  /** The first MAX_FINDINGS_OF_TREE of them. */
  readonly findings: readonly TreeFinding[];
  readonly total: number;
  readonly entries: number;
  /** Bytes of contents that were read. */
  readonly bytes: number;
  readonly seen: readonly string[];
  /** Files that a root of hard links has as inodes of its own, whole or not: its layer has got others. No damage where they are whole. */
  readonly apart: number;
}

/**
 * Makes a tree what it was made as, path by path: each is damaged or whole at any time, and what is not damaged is not touched, but for
 * files of a root that stand apart from its layers: they are linked again. A task that is cut short anywhere is made good by the next.
 */
export interface MendTask {
  readonly checked: CheckedTree;
  /** A tree of the same layer, just unpacked: contents are taken from there. Absent: only what needs none is mended. */
  readonly fresh?: string;
  /** An empty directory of the caller's, on the same file system: gets what is in the way. */
  readonly aside: string;
  readonly progress: SharedArrayBuffer;
}

export interface MendResult {
  /** What was found at first and is no more: the first MAX_FINDINGS_OF_TREE, and how much. */
  readonly mended: readonly TreeFinding[];
  readonly mendedTotal: number;
  /** As a verification would find it. */
  readonly left: VerifyResult;
  /** Of the first thing that could not be done. */
  readonly because?: string;
}
