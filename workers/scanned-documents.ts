/**
 * Documents of the store, read and checked; and what a memo has of them. A scan that recalls everything loads none of it, nor zod.
 */
import type { z } from "zod";
import { StrataError, toStrataError } from "../src/errors.js";
import { MAX_KEPT_TEXT, MEMO_SLACK } from "../src/limits.js";
import { rowsOf, type Thing, thingAt } from "../src/memo-rows.js";
import { printable } from "../src/printable.js";
import type { KeyColumns, ScannedKinds, ScanPlace, ScanTask, Told } from "../src/scan-tasks.js";
import { blobKey, parseDocument, scannedSchemas } from "../src/stored-documents.js";
import { fromHere } from "./disk-path.js";
import { type Memo, writeMemo } from "./memo.js";
import { type MarkedText, readMarked } from "./read-text.js";

/** A thing that was read, with all that a memo has of it. */
export interface Kept extends Thing {
  readonly id: string;
  readonly marks: string;
}

export interface FoundThing {
  readonly told: Told;
  readonly length: number;
  /** Where it may stand in a memo. */
  readonly kept?: Kept;
}

/** Never throws for what stands there. */
export function readThing(id: string, task: ScanTask): FoundThing {
  try {
    return foundThing(id, task);
  } catch (error) {
    const told = { unreadable: toStrataError(error, `Cannot read ${task.document.join(id)}`).toWire() };
    return { told, length: 0 };
  }
}

function foundThing(id: string, { kind, prefix, document: place, meta: metaPlace, memo }: ScanTask): FoundThing {
  const schemas = scannedSchemas[kind];
  const path = fromHere(place.join(id));
  const read = readMarked(path);
  const document = parseDocument<z.ZodType<object>>(path, read.text, schemas.document);
  const isOf = (document as Readonly<Record<string, string>>)[schemas.idKey] ?? "";
  if (isOf !== `${prefix}${id}`)
    throw new StrataError("STORE_CORRUPT", `Cannot read ${path}: it is the document of ${printable(isOf, 256)}`);
  const parts: Found[] = [{ ...read, document }];
  const meta = metaPlace === undefined ? undefined : readMeta(fromHere(metaPlace.join(id)), schemas.meta);
  if (meta !== undefined) parts.push(meta);
  const told = { document, ...(meta === undefined ? {} : { meta: meta.document }) };
  const { settledBeforeMs = 0 } = memo ?? {};
  const isKept =
    parts.every(({ changedAtMs }) => changedAtMs < settledBeforeMs) &&
    (metaPlace === undefined || meta?.document.durable === true) &&
    parts.every(({ text }) => fits(text));
  const marks = parts.map(({ mark }) => mark).join(" ");
  return { told, length: read.text.length, ...(isKept ? { kept: { id, marks, ...told } } : {}) };
}

interface Found extends MarkedText {
  readonly document: object;
}

/** Undefined where there is none that can be read. */
function readMeta(path: string, schema: z.ZodType<{ durable: boolean }> | undefined) {
  try {
    const read = readMarked(path);
    return schema === undefined ? undefined : { ...read, document: parseDocument(path, read.text, schema) };
  } catch {
    return undefined;
  }
}

/**
 * Whether a memo has a place for it: large documents are few, and the main thread gets each memo in one message. One with a key that no
 * object can be given by assignment has none.
 */
const fits = (text: string): boolean => text.length <= MAX_KEPT_TEXT && !text.includes("__proto__");

export interface Renewal {
  readonly place: ScanPlace;
  readonly reading: string;
  /** The one that stood there. */
  readonly memo: Memo | undefined;
  /** Whether its row still holds. */
  readonly isRecalled: (row: number) => boolean;
  readonly kept: readonly Kept[];
  /** How many there are. */
  readonly things: number;
  /** Also where few changed. */
  readonly eager: boolean;
}

/** Writes what still holds, and what was read, in the memo's place by one rename; not where so little changed that reading it is less work. */
export function renewMemo(path: string, { place, reading, memo, isRecalled, kept, things, eager }: Renewal): void {
  const { kind } = place;
  if (!eager && kept.length * MEMO_SLACK < things) return;
  const before = memo === undefined ? [] : keptIn(memo, place).filter((_, row) => isRecalled(row));
  const all = [...before, ...kept];
  const rows = rowsOf(
    all.map(({ document, meta }) => (meta === undefined ? { document } : { document, meta })),
    scannedSchemas[kind].idKey,
  );
  const keys = kind === "layers" ? JSON.stringify(columnsOf(all as readonly ScannedKinds["layers"][])) : "";
  writeMemo(path, reading, { ids: all.map(({ id }) => id), marks: all.map(({ marks }) => marks), keys, rows });
}

function keptIn({ ids, marks, rows }: Memo, { prefix }: ScanPlace): Kept[] {
  return ids.map((id, row) => ({ id, marks: marks[row] as string, ...thingAt(rows, row, prefix + id) }));
}

const columnsOf = (layers: readonly ScannedKinds["layers"][]): KeyColumns => ({
  createdAt: layers.map(({ document }) => document.createdAt),
  bytes: layers.map(({ document }) => document.bytes),
  verifiedAt: layers.map(({ meta }) => meta.verifiedAt ?? null),
  blobKeys: layers.map(({ meta }) => meta.blobs.map(blobKey)),
});
