/**
 * The store's own small JSON documents: read with their schema, written so that a reader sees the old one or the new one.
 *
 * Knows what they look like, not where they stand.
 */
import { open, readFile, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { systemErrorCode } from "../errors.js";
import { durability, parseDocument } from "../layer-documents.js";
import type { Log } from "../log.js";
import { LinkMode, Overlap } from "../messages/choices.js";
import { parseDiffId, parseDigest } from "../oci/digest.js";

export { type LayerBlob, type LayerMeta, layerMetaSchema, layerSchema } from "../layer-documents.js";

const count = z.number().int().nonnegative();
const digest = z.string().transform((text) => parseDigest(text));
const diffId = z.string().transform((text) => parseDiffId(text));

export const rootSchema = z.object({
  schema: z.literal(1),
  rootId: z.string(),
  manifestDigest: digest,
  platform: z.string(),
  overlap: Overlap,
  link: LinkMode,
  layers: z.array(diffId),
  /** Bytes of the root's files, linked or copied. */
  bytes: count,
  /** How many of them come from each of `layers`, in order; absent where each gave all that it has. */
  layerBytes: z.array(count).optional(),
  /** How many of them are the root's own, because their files were copied; absent where none were. */
  copiedBytes: count.optional(),
  /** Of the file plan beside it; absent where its layers were linked as they stand. */
  planSha256: z.string().optional(),
  entries: count,
  createdAt: z.string(),
});
export type RootDocument = z.output<typeof rootSchema>;

export const nameSchema = z
  .object({
    schema: z.literal(1),
    name: z.string(),
    /** Oldest first. */
    generations: z.array(
      z.object({
        generation: count,
        rootId: z.string(),
        reference: z.string(),
        platform: z.string(),
        manifestDigest: digest,
        at: z.string(),
      }),
    ),
    /** The number of the current generation; absent where it is the last. */
    current: count.optional(),
  })
  .refine(
    ({ generations, current }) => current === undefined || generations.some(({ generation }) => generation === current),
    "the current generation is none of the name's",
  );
export type NameDocument = z.output<typeof nameSchema>;
export type Generation = NameDocument["generations"][number];

/** meta/roots/<rootId>.json: the same for a root. */
export const rootMetaSchema = z.object({ schema: z.literal(1), ...durability });
export type RootMeta = z.output<typeof rootMetaSchema>;

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

/** Makes a rename in `path`'s directory survive a power cut. */
export async function syncParent(path: string): Promise<void> {
  const directory = await open(dirname(path), "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** The same behind a point of no return: what the disk refuses is said, and nothing that stands is called failed for it. */
export async function settleParent(path: string, log: Log): Promise<void> {
  await syncParent(path).catch((error: unknown) => log.warn("sync.failed", { path: dirname(path), error }));
}
