/**
 * What a start has workers find out of a store: which things stand there, and what their documents say; from memos of earlier
 * scans where these still hold (workers/memo.ts).
 */
import type { WireError } from "./errors.js";
import type { Rows } from "./memo-rows.js";
import type { LayerMeta, NameDocument, RootDocument, RootMeta } from "./stored-documents.js";
import type { LayerDocument } from "./tasks.js";

/** The kinds of things that are scanned, by what stands about each: what it is, and what changes about it. */
export interface ScannedKinds {
  readonly layers: { readonly document: LayerDocument; readonly meta: LayerMeta };
  readonly roots: { readonly document: RootDocument; readonly meta: RootMeta };
  readonly names: { readonly document: NameDocument; readonly meta: never };
}
export type ScannedKind = keyof ScannedKinds;

/** What stands before and behind an id in each of many paths. */
export type PathAround = readonly [string, string];

/** Where things of one kind stand, by their ids. */
export interface ScanPlace<Kind extends ScannedKind = ScannedKind> {
  readonly kind: Kind;
  /** What stands before the id in what its document is of: `sha256:` where ids are hexes of digests. */
  readonly prefix: string;
  readonly document: PathAround;
  readonly meta?: PathAround;
  /** Of a symlink whose target is told. */
  readonly link?: PathAround;
}

export interface ScanTask extends ScanPlace {
  /** Joined by slashes, as in a listing. */
  readonly ids: string;
  readonly memo?: {
    /** Of these ids, and of no others. */
    readonly path: string;
    /** What this release reads in documents of the kind (`readingOf`): a memo that another has written is none. */
    readonly reading: string;
    /**
     * By the file system's own clock, some time before the task was given: what changed later may change once more without
     * another time, and is not kept. Absent: nothing is written.
     */
    readonly settledBeforeMs?: number;
  };
  /** For the memo alone: nothing is told. */
  readonly silent?: boolean;
}

/** The documents of a thing, read and checked; `meta` is absent where there is none that could be read. */
export type Told = { readonly document: object; readonly meta?: object } | { readonly unreadable: WireError };

/** At its place among the task's ids. */
export type ReadThing = Told & { readonly at: number };

/** Things whose documents are what they were when the memo was written, and were not read. */
export interface Recalled {
  /** By row of the memo, the place among the task's ids; -1 where it does not hold. */
  readonly at: readonly number[];
  readonly rows: Rows;
  /** Of layers, the JSON of `KeyColumns`. */
  readonly keys: string;
}

/** What is asked of all layers at once; the documents of one are rarely looked at. */
export interface LayerKeys {
  readonly createdAt: string;
  readonly bytes: number;
  readonly verifiedAt: string | null;
  readonly blobKeys: readonly string[];
}

/** By row of the memo. */
export type KeyColumns = { readonly [Key in keyof LayerKeys]: readonly LayerKeys[Key][] };

export interface ScanResult {
  /** So many ids, from the first on, as make a message of bounded size: one at the least. */
  readonly scanned: number;
  readonly read: readonly ReadThing[];
  readonly recalled?: Recalled;
  /** Where the place has links, of each id; undefined where there is none. */
  readonly targets?: readonly (string | undefined)[];
  /** Why the memo was not written. */
  readonly unkept?: WireError;
}

/** A directory of what is named by an id and a suffix. */
export interface Listed {
  readonly directory: string;
  readonly suffix: string;
}

export interface ListTask {
  readonly directories: readonly (Listed & {
    /** Only how many there are is wanted. */
    readonly isCounted?: boolean;
  })[];
  /** What names of files end in that were never finished: of those that have a suffix. */
  readonly temporary: string;
}

export interface Listing {
  /** Ids joined by slashes, about MAX_SCANNED in each of as many parts as a power of two: an id is always in the same of so many. */
  readonly parts: readonly string[];
  readonly count: number;
  readonly temporaries: readonly string[];
}

/** Of each directory, in the order of the task. */
export interface ListResult {
  readonly listings: readonly Listing[];
}

/** Directories of what stands about things that stand elsewhere. */
export interface StraysTask {
  readonly about: readonly (Listed & {
    /** The parts of these. */
    readonly known: readonly string[];
  })[];
}

/** Of each directory, names of what is about nothing that stands. */
export interface StraysResult {
  readonly strays: readonly (readonly string[])[];
}
