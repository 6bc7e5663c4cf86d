/**
 * What one look at a place of the store tells: whether something stands there, whether it is the document that it should be, and the
 * finding that says so.
 */
import { lstat, opendir, readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { z } from "zod";
import { StrataError, systemErrorCode } from "../errors.js";
import type { FindingCode } from "../finding-codes.js";
import { MAX_DOCUMENT_BYTES } from "../limits.js";
import { type DiffId, digestOf, type parseDigest } from "../oci/digest.js";
import { succeeds } from "../succeeds.js";
import { isBeingWritten, readDocument } from "./documents.js";

/** `path` is below the layer or the root, else below the state directory. */
export interface StructureFinding {
  readonly code: FindingCode;
  readonly layer?: DiffId;
  readonly root?: string;
  readonly path: string;
  readonly detail: string;
}

/** Looks at one thing, as often as it is asked. */
export type Look = () => Promise<readonly StructureFinding[]>;

export const STRANGER = "it is nothing of the store's";
export const OF_NO_LAYER = "it is of no layer that is here";
export const ROOT_ID = /^[0-9a-f]{64}$/;

export const told = (code: FindingCode, path: string, state: string, detail: string): StructureFinding => ({
  code,
  path: path.slice(state.length + 1),
  detail,
});

/** Gone at the second look: what somebody was writing. */
export const stranger =
  (path: string, state: string, detail = STRANGER): Look =>
  async () =>
    (await stands(path)) ? [told("STRANGER", path, state, detail)] : [];

/** Whatever is in a directory, some at a time, but for what is being written; nothing where there is none. */
export async function* below(directory: string): AsyncGenerator<string> {
  try {
    for await (const { name } of await opendir(directory, { bufferSize: 256 }))
      if (!isBeingWritten(name)) yield join(directory, name);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
  }
}

export async function stands(path: string): Promise<boolean> {
  return succeeds(lstat(path));
}

export async function documentFault(path: string, digest: ReturnType<typeof parseDigest>): Promise<string | undefined> {
  try {
    const stat = await lstat(path);
    if (!stat.isFile()) return "it is not a file";
    if (stat.size > MAX_DOCUMENT_BYTES) return `it has ${stat.size} bytes, more than any document`;
    const algorithm = basename(dirname(path)) as "sha256" | "sha512";
    const is = digestOf(await readFile(path), algorithm);
    return is === digest ? undefined : `its digest is ${is}`;
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === undefined) throw error;
    return errno === "ENOENT" ? undefined : `it cannot be read: ${errno}`;
  }
}

export function parsed<Value>(parse: () => Value): Value | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

/** What was read from the disk has the order of its schema; what was made here may have another. */
export function isSame(some: object, other: object): boolean {
  return canonical(some) === canonical(other);
}

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_key, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );

/** What stands there, or why nothing that can be used does. */
export async function documentAt<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
): Promise<{ document: z.output<Schema> | undefined; fault: string }> {
  try {
    return { document: await readDocument(path, schema), fault: "it is not there" };
  } catch (error) {
    if (error instanceof StrataError) return { document: undefined, fault: "it is not a document of this store" };
    const errno = systemErrorCode(error);
    if (errno === undefined) throw error;
    return { document: undefined, fault: `it cannot be read: ${errno}` };
  }
}
