/**
 * The tasks that make a root of stored layers, and compare roots: plan, link, settle, symlinks, compare. Plain data both ways, as
 * tasks.ts lists them.
 */
import type { ImageLimits } from "./limits.js";
import type { Entry } from "./overlap/changeset.js";
import type { Folding } from "./overlap/name-folding.js";
import type { Placement } from "./overlap/placement.js";
import type { Conflict, PlannedPolicy } from "./overlap/plan-root.js";

/** A name (bytes, latin1) and what stands there; a directory that only follows from what is below it is a `dir` too. */
export type TopLevelName = readonly [name: string, type: Entry["type"]];

/** A changeset or a plan on the disk, with the hash that its document has of it. */
export interface EntriesFile {
  readonly kind: "changeset" | "plan";
  readonly path: string;
  readonly sha256: string;
}

/** Stored layers, the lowest first, into what a root of them holds. */
export interface PlanTask {
  readonly policy: PlannedPolicy;
  readonly layers: readonly { readonly changeset: EntriesFile; readonly placement?: Placement }[];
  /** What the state's file system makes no difference of; absent: it keeps all names apart. */
  readonly folding?: Folding;
  readonly limits: ImageLimits;
  /** The file that the plan is written to, in staging; absent: nobody is going to link it. */
  readonly file?: string;
}

export interface PlannedRoot {
  readonly kind: "plan";
  readonly entries: number;
  /** Of the files' contents, hard links of one file counted once. */
  readonly bytes: number;
  /** How many of them come from each layer. */
  readonly layerBytes: readonly number[];
  /** Directories, symlinks and empty files, which a root has for itself; and its other files, which it may link. */
  readonly ownInodes: number;
  readonly files: number;
  /** Further names of empty files: in a root of hard links each is a file of its own. */
  readonly emptyLinks: number;
  /** What a root of symlinks is made of: a link for each thing that stands in no other, and directories that only a prefix implies. */
  readonly outermost: number;
  /** Names that placements strip leave nothing of. */
  readonly dropped: number;
  /** SHA-256 of the file; absent where there is none. */
  readonly sha256?: string;
}

/** What the policy does not let into one root: the first of them. */
export interface PlanConflicts {
  readonly kind: "conflicts";
  readonly conflicts: readonly Conflict[];
  readonly total: number;
}

export type PlanResult = PlannedRoot | PlanConflicts;

/** Where files come from: the layer's tree, and further inodes of those that have no link left (store.md, spill). */
export interface LinkedLayer {
  readonly tree: string;
  readonly spill: string;
}

/** How a root gets its files. */
export type FileMode = "hardlink" | "reflink" | "copy";

/** One of `of` parts of a changeset or plan into the root at `tree`; all parts may be linked at once, beside each other. */
export interface LinkTask {
  readonly entries: EntriesFile;
  /** By the index that the plan has; a changeset's is 0. */
  readonly layers: readonly LinkedLayer[];
  readonly part: { readonly index: number; readonly of: number };
  readonly tree: string;
  readonly mode: FileMode;
  readonly progress: SharedArrayBuffer;
}

/** A directory of the root (bytes, latin1), and what it gets when nothing more is made in it. */
export interface DirectoryAttributes {
  readonly path: string;
  readonly mode: number;
  readonly mtime: number;
}

/** What was linked. */
export interface LinkSum {
  readonly files: number;
  /** Files that are the root's or the spill's own, and their bytes. */
  readonly copied: number;
  readonly copiedBytes: number;
  /** The errno that made the first copy necessary where a link was wanted, e.g. EMLINK. */
  readonly because?: string;
}

export interface LinkResult extends LinkSum {
  /** Directories that the next parts fill too: they get their attributes when all are done. */
  readonly open: readonly DirectoryAttributes[];
}

/** What can only be done when all parts are: attributes of the directories that several filled, outermost first. */
export interface SettleTask {
  readonly tree: string;
  readonly directories: readonly DirectoryAttributes[];
  /** Of a root of copies: whose hard links are made, and all of whose directories are settled. */
  readonly copies: readonly EntriesFile[];
  readonly progress: SharedArrayBuffer;
}

/** A root of symlinks: one for each top-level entry of each layer, or of what a plan placed. */
export interface SymlinkTask {
  readonly tree: string;
  readonly layers: readonly {
    /** What leads from the root's tree to the layer's. */
    readonly target: string;
    readonly tree: string;
    /** The entries at its top; absent where the plan tells. */
    readonly topLevel?: readonly TopLevelName[];
  }[];
  readonly plan?: EntriesFile;
}

/** What a root holds, and the way that it shows it. */
export interface ShownRoot {
  readonly link: FileMode | "symlink";
  /** Its plan, or the changesets of its layers where they stand in it as they are. */
  readonly files: readonly EntriesFile[];
}

/** The roots that a name had and has. */
export interface CompareTask {
  readonly had: ShownRoot;
  readonly has: ShownRoot;
  readonly progress: SharedArrayBuffer;
}

/** Names at the image root (bytes, latin1), in the order of their bytes: the first of each kind, and how many there are. */
export interface RootChanges {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  readonly total: { readonly added: number; readonly changed: number; readonly removed: number };
}
