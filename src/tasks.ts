/**
 * The thread boundary: one task and one outcome for each worker of workers/, plain data both ways.
 *
 * A failure is an outcome too: what a worker throws loses its code on the way (facts.md, Piscina). Progress goes through shared
 * memory (task-progress.ts), so that a worker sends one message, its outcome; only an unpack tells names at the image root before.
 */
import type { MessagePort } from "node:worker_threads";
import { type StrataError, toStrataError, type WireError } from "./errors.js";
import type { MendResult, MendTask, VerifyResult, VerifyTask } from "./findings.js";
import type { ImageLimits } from "./limits.js";
import type { DiffId, Digest } from "./oci/digest.js";
import type { Codec, PackCodec } from "./oci/media-types.js";
import type { Folding } from "./overlap/name-folding.js";
import type { PartitionResult, PartitionTask, VerifyRepackedResult, VerifyRepackedTask } from "./repack-tasks.js";
import type {
  CompareTask,
  EntriesFile,
  LinkResult,
  LinkTask,
  PlanResult,
  PlanTask,
  RootChanges,
  SettleTask,
  SymlinkTask,
  TopLevelName,
} from "./root-tasks.js";
import type { ListResult, ListTask, ScanResult, ScanTask, StraysResult, StraysTask } from "./scan-tasks.js";
import type { TurnTicket } from "./turn.js";

export type Outcome<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: WireError };

/** A blob into `staging`/tree, `staging`/changeset and `staging`/layer.json. The caller made the directory and removes it. */
export interface UnpackTask {
  readonly blob: {
    readonly path: string;
    readonly offset: number;
    readonly length: number;
    readonly growth?: SharedArrayBuffer;
  };
  readonly codec: Codec;
  readonly decoders: Decoders;
  /** What the bytes must be; a digest that is absent is computed all the same. */
  readonly expected: { readonly digest?: Digest; readonly diffId?: DiffId };
  readonly staging: string;
  readonly limits: ImageLimits;
  /** What the state's file system makes no difference of; absent: it keeps all names apart. */
  readonly folding?: Folding;
  readonly progress: SharedArrayBuffer;
  /** The pool's BusyThreads. */
  readonly busy: SharedArrayBuffer;
  /** For a window that only one task may keep at a time; whoever gave it out takes it back. */
  readonly wideWindow: TurnTicket;
  /** Gets a TopLevelName for each name at the image root when it is read first, MAX_TOP_LEVEL_TOLD of them at the most. */
  readonly topLevel: MessagePort;
  /** The directory of files that layers share; absent: they share none. */
  readonly files?: string;
}

/** By which engines codecs are read: Node's own where it has one, or those in JavaScript, the same on every Node version. */
export const decoderChoices = ["native", "javascript"] as const;
export type Decoders = (typeof decoderChoices)[number];

/** Whether files of several layers with one content, mode and time are one inode. */
export const dedupChoices = ["off", "files"] as const;
export type Dedup = (typeof dedupChoices)[number];

/** layer.json: what the store knows of a layer without reading its changeset. Never changed after its rename. */
export interface LayerDocument {
  readonly schema: 1;
  readonly diffId: DiffId;
  /** Uncompressed bytes of the tar. */
  readonly tarBytes: number;
  /** Bytes of the files' contents. */
  readonly bytes: number;
  readonly entries: number;
  readonly files: number;
  /** Top-level names (bytes, latin1) and what each is, in the archive's order; what `planRoot` compares under policy c. */
  readonly topLevel: readonly TopLevelName[];
  readonly whiteouts: number;
  readonly unresolved: number;
  /** What the archive had and the store does not keep. */
  readonly dropped: {
    readonly setid: number;
    readonly ownership: number;
    readonly xattrs: number;
    readonly aufs: number;
  };
  /** Symlinks whose target is absolute or climbs above the root: stored as they are, never followed. */
  readonly escapingSymlinks: number;
  /** Hard links that are another inode: the file system had no more of them for one. */
  readonly splitLinks: number;
  /** Files that were linked to what the store had when it was unpacked, and their bytes; `files` and `bytes` count them too. */
  readonly sharedFiles: number;
  readonly sharedFileBytes: number;
  readonly decoder: string;
  /** SHA-256 of the changeset file. */
  readonly changesetSha256: string;
  readonly createdAt: string;
}

export interface UnpackResult {
  readonly digest: Digest;
  readonly layer: LayerDocument;
}

/** A directory that is out of the way already (in staging): removed with all it holds, however deep. */
export interface RemoveTask {
  readonly path: string;
}

/** Files that layers share: those that no layer has any more are removed from there. */
export interface SweepFilesTask {
  readonly files: string;
  readonly progress: SharedArrayBuffer;
}

export interface SweptFiles {
  readonly kept: number;
  readonly removed: number;
  /** Of those that were removed: what the disk has again. */
  readonly removedBytes: number;
  /** What is no file that layers share; left alone. */
  readonly strangers: number;
}

/** A stored layer as a blob, in a new file of staging; or entries of several stored layers. */
export interface PackTask {
  /** A changeset, whose tree is the only one; or a plan, whose layers are these trees. */
  readonly entries: EntriesFile;
  readonly trees: readonly string[];
  readonly codec: PackCodec;
  readonly file: string;
  /** `bytesWritten` counts the tar's. */
  readonly progress: SharedArrayBuffer;
}

export interface PackResult {
  readonly diffId: DiffId;
  readonly digest: Digest;
  readonly size: number;
  readonly tarBytes: number;
}

export type ArchiveMember =
  | { readonly name: string; readonly path: string }
  | { readonly name: string; readonly text: string };

/** An outer tar of these members, into a file that is there and empty. */
export interface ArchiveTask {
  readonly file: string;
  readonly members: readonly ArchiveMember[];
  readonly progress: SharedArrayBuffer;
}

export interface Tasks {
  /** Nothing but to be ready for an install. */
  readonly warm: { readonly task: Readonly<Record<string, never>>; readonly result: { readonly warm: true } };
  readonly unpack: { readonly task: UnpackTask; readonly result: UnpackResult };
  readonly plan: { readonly task: PlanTask; readonly result: PlanResult };
  readonly link: { readonly task: LinkTask; readonly result: LinkResult };
  readonly symlinks: { readonly task: SymlinkTask; readonly result: { readonly symlinks: number } };
  readonly settle: { readonly task: SettleTask; readonly result: { readonly settled: true } };
  readonly compare: { readonly task: CompareTask; readonly result: RootChanges };
  readonly list: { readonly task: ListTask; readonly result: ListResult };
  readonly strays: { readonly task: StraysTask; readonly result: StraysResult };
  readonly scan: { readonly task: ScanTask; readonly result: ScanResult };
  readonly pack: { readonly task: PackTask; readonly result: PackResult };
  readonly partition: { readonly task: PartitionTask; readonly result: PartitionResult };
  readonly verifyRepacked: { readonly task: VerifyRepackedTask; readonly result: VerifyRepackedResult };
  readonly archive: { readonly task: ArchiveTask; readonly result: { readonly bytes: number } };
  readonly remove: { readonly task: RemoveTask; readonly result: { readonly removed: true } };
  readonly sweepFiles: { readonly task: SweepFilesTask; readonly result: SweptFiles };
  readonly verify: { readonly task: VerifyTask; readonly result: VerifyResult };
  readonly mend: { readonly task: MendTask; readonly result: MendResult };
}

export type WorkerName = keyof Tasks;

/** Runs the body of a worker: what it throws becomes an outcome. */
export async function outcomeOf<Value>(action: string, body: () => Promise<Value> | Value): Promise<Outcome<Value>> {
  try {
    return { ok: true, value: await body() };
  } catch (thrown) {
    const error = toStrataError(thrown, action);
    const wire = error.toWire();
    const trace = error.code === "INTERNAL" ? { details: { stack: String(traced(error)), ...wire.details } } : {};
    return { ok: false, error: { ...wire, ...trace } };
  }
}

const traced = (error: StrataError): unknown => (error.cause instanceof Error ? error.cause.stack : error.cause);
