/**
 * Runs the compiled unpack worker on bytes, in a directory of the test's own, and tells what came of it as plain text: one line for
 * each thing that now stands in the tree.
 */
import { once } from "node:events";
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BusyThreads } from "../../src/busy-threads.js";
import type { WireError } from "../../src/errors.js";
import { type ImageLimits, imageLimits } from "../../src/limits.js";
import type { Codec } from "../../src/oci/media-types.js";
import type { Entry } from "../../src/overlap/changeset.js";
import { TaskProgress } from "../../src/task-progress.js";
import type { Decoders, LayerDocument, UnpackTask } from "../../src/tasks.js";
import { Turn } from "../../src/turn.js";
import unpack from "../../workers/unpack.js";
import { entriesIn } from "../support/changeset-file.js";
import { within } from "../support/deadline.js";
import { stayAwake } from "./work-directory.js";

export interface Unpacking {
  readonly codec?: Codec;
  readonly decoders?: Decoders;
  readonly limits?: Partial<ImageLimits>;
  readonly expected?: UnpackTask["expected"];
  readonly growth?: SharedArrayBuffer;
  /** What the descriptor says; absent: the bytes' own length. */
  readonly length?: number;
  /** Where files that layers share are; absent: they share none, unless the environment says so. */
  readonly files?: string;
}

/** `STRATAD_STORE_DEDUP=files`, as for the daemon: all unpacks of a test file share what they can. */
const everybodysFiles =
  process.env.STRATAD_STORE_DEDUP === "files" ? mkdtempSync(join(tmpdir(), "shared-files-")) : undefined;
if (everybodysFiles !== undefined) process.on("exit", () => rmSync(everybodysFiles, { recursive: true, force: true }));

export interface Unpacked {
  readonly error?: WireError;
  readonly layer?: LayerDocument;
  /** By path (bytes, latin1); empty after a refusal. */
  readonly tree: ReadonlyMap<string, string>;
  readonly changeset: readonly Entry[];
  /** What the worker was given to fill; it is gone when `withUnpacked` returns. */
  readonly staging: string;
}

/** Unpacks `blob`, gives what came of it to `look`, and removes everything again. */
export async function withUnpacked<Value>(
  blob: Buffer,
  options: Unpacking,
  look: (unpacked: Unpacked) => Value | Promise<Value>,
): Promise<Value> {
  const work = mkdtempSync(join(tmpdir(), "unpack-"));
  const rest = stayAwake();
  try {
    const path = join(work, "blob");
    writeFileSync(path, blob);
    return await look(await unpackFile(path, work, { length: blob.length, ...options }));
  } finally {
    rest();
    rmSync(work, { recursive: true, force: true });
  }
}

/** The same for a file of the caller's, into the empty directory `staging`. */
export async function unpackFile(
  path: string,
  staging: string,
  {
    codec = "none",
    decoders = "native",
    limits = {},
    expected = {},
    growth,
    length = lstatSync(path).size,
    files = everybodysFiles,
  }: Unpacking,
): Promise<Unpacked> {
  const { port1, port2 } = new MessageChannel();
  const closed = once(port2, "close");
  port2.start();
  const outcome = await oneAtATime({
    blob: { path, offset: 0, length, ...(growth === undefined ? {} : { growth }) },
    codec,
    decoders,
    expected,
    staging,
    limits: { ...imageLimits, ...limits },
    progress: new TaskProgress().shared,
    busy: new BusyThreads().shared,
    wideWindow: new Turn().ticket(),
    topLevel: port1,
    ...(files === undefined ? {} : { files }),
  });
  await within("nobody holds the task's port any more", closed);
  if (!outcome.ok) return { error: outcome.error, tree: new Map(), changeset: [], staging };
  const changeset = entriesIn(readFileSync(join(staging, "changeset"), "latin1"));
  return { layer: outcome.value.layer, tree: describeTree(join(staging, "tree")), changeset, staging };
}

let last: Promise<unknown> = Promise.resolve();

/** As a pool thread has it, even where fast-check has given up on a run that is not over. */
function oneAtATime(task: UnpackTask): ReturnType<typeof unpack> {
  const outcome = last.then(() => unpack(task));
  last = outcome;
  return outcome;
}

/** The outcome alone: the code of the refusal, or the tree. */
export const outcomeOfBytes = (blob: Buffer, options: Unpacking = {}): Promise<string | ReadonlyMap<string, string>> =>
  withUnpacked(blob, options, ({ error, tree }) => error?.code ?? tree);

/** `file hello`, `dir`, `symlink ../x`, `other` for each path. Of the content the first 32 characters (latin1), to a NUL. */
export function describeTree(top: string): Map<string, string> {
  const found = new Map<string, string>();
  const walk = (below: string): void => {
    for (const name of readdirSync(onDisk(top, below), "latin1").sort()) {
      const path = below === "" ? name : `${below}/${name}`;
      const stat = lstatSync(onDisk(top, path));
      if (stat.isDirectory()) {
        found.set(path, "dir");
        walk(path);
      } else if (stat.isSymbolicLink()) found.set(path, `symlink ${readlinkSync(onDisk(top, path), "latin1")}`);
      else if (stat.isFile()) found.set(path, `file ${shown(readFileSync(onDisk(top, path), "latin1"))}`.trimEnd());
      else found.set(path, "other");
    }
  };
  walk("");
  return found;
}

/** A path of which a part is bytes of an archive. */
export const onDisk = (top: string, path: string): Buffer =>
  Buffer.concat([Buffer.from(`${top}/`), Buffer.from(path, "latin1")]);

/** Descriptors that this process holds open now. */
export const openDescriptors = (): number => readdirSync("/proc/self/fd").length;

const shown = (content: string): string => content.slice(0, 32).replace(/\0.*/s, "");

// The worker's own threads start with its first task; who counts descriptors starts after that.
await outcomeOfBytes(Buffer.alloc(1024));
