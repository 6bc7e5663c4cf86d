/**
 * The store's own small JSON documents: read with their schema, written so that a reader sees the old one or the new one.
 *
 * Knows what they look like, not where they stand.
 */
import { open, readFile, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { z } from "zod";
import { systemErrorCode } from "../errors.js";
import type { Log } from "../log.js";
import { parseDocument } from "../stored-documents.js";

export {
  type Generation,
  type LayerBlob,
  type LayerMeta,
  layerMetaSchema,
  layerSchema,
  type NameDocument,
  nameSchema,
  type RootDocument,
  type RootMeta,
  rootMetaSchema,
  rootSchema,
} from "../stored-documents.js";

/** STORE_CORRUPT where the document is not what this release writes; undefined where there is none. */
export async function readDocument<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
): Promise<z.output<Schema> | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  return parseDocument(path, text, schema);
}

let temporaries = 0;

/** How many documents this process has written, or tried to. */
export const writtenSoFar = (): number => temporaries;

/** What writes that were cut short leave beside a document; swept at start. */
export const TEMPORARY = ".new";
/** Whether this process is writing what stands there, or was in this moment; what others left is swept at start. */
export const isBeingWritten = (path: string): boolean => new RegExp(`\\.${process.pid}-\\d+\\${TEMPORARY}$`).test(path);

export interface WriteOptions {
  /** Without it a power cut may leave the document empty, which reads as none: for what is only good to know. */
  readonly sync?: boolean;
}

/** Temp, sync, rename: the bytes are on the disk before the name is theirs. */
export async function writeDocument(path: string, document: unknown, options: WriteOptions = {}): Promise<void> {
  await writeAtomically(path, `${JSON.stringify(document)}\n`, options);
}

/** Leaves nothing where it fails. */
export async function writeAtomically(
  path: string,
  bytes: string | Buffer,
  { sync = true }: WriteOptions = {},
): Promise<void> {
  temporaries += 1;
  const temporary = `${path}.${process.pid}-${temporaries}${TEMPORARY}`;
  try {
    const file = await open(temporary, "w", 0o644);
    try {
      await file.writeFile(bytes);
      if (sync) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => undefined);
    throw error;
  }
}

/** True where it was there. */
export async function unlinkIfThere(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
    return false;
  }
}

/** Makes renames in it survive a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** The same behind a point of no return: what the disk refuses is said, and nothing that stands is called failed for it. */
export async function settleDirectory(path: string, log: Log): Promise<void> {
  await syncDirectory(path).catch((error: unknown) => log.warn("sync.failed", { path, error }));
}

export const syncParent = (path: string): Promise<void> => syncDirectory(dirname(path));
export const settleParent = (path: string, log: Log): Promise<void> => settleDirectory(dirname(path), log);
