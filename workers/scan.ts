/**
 * Worker entry: what a start wants to know of stored layers, roots and names: their documents, read and checked here, by threads that
 * may wait. What a memo still holds of is not read.
 */
import { readlinkSync } from "node:fs";
import type { z } from "zod";
import { StrataError, systemErrorCode, toStrataError } from "../src/errors.js";
import { READ_RESULT_BYTES } from "../src/limits.js";
import { printable } from "../src/printable.js";
import type { PathAround, ReadThing, Recalled, ScanResult, ScanTask, Told } from "../src/scan-tasks.js";
import { parseDocument, scannedSchemas } from "../src/stored-documents.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { fromHere } from "./disk-path.js";
import { fits, type Kept, type Memo, readMemo, renewMemo } from "./memo.js";
import { type MarkedText, markAt, readMarked } from "./read-text.js";

export default (task: ScanTask): Promise<Outcome<ScanResult>> => outcomeOf("Cannot scan the store", () => scan(task));

const NOT_RECALLED = -1;

function scan(task: ScanTask): ScanResult {
  const ids = task.ids.split("/");
  const memo = task.memo === undefined ? undefined : readMemo(fromHere(task.memo.path), task.kind);
  const rows = new Map(memo?.ids.map((id, row) => [id, row]));
  const recalled = new Array<number>(memo?.ids.length ?? 0).fill(NOT_RECALLED);
  const read: ReadThing[] = [];
  const kept: Kept[] = [];
  let scanned = 0;
  for (let length = 0; scanned < ids.length && (length < READ_RESULT_BYTES || task.silent); scanned += 1) {
    const id = ids[scanned] as string;
    const row = rows.get(id);
    if (row !== undefined && marksOf(id, task) === memo?.marks[row]) {
      recalled[row] = scanned;
      continue;
    }
    const thing = readThing(id, task);
    read.push({ at: scanned, ...thing.told });
    length += thing.length;
    if (thing.kept !== undefined) kept.push(thing.kept);
  }
  const unkept = scanned < ids.length ? undefined : keep(task, { memo, recalled, kept, things: scanned });
  return {
    scanned,
    ...(task.silent ? { read: [] } : { read, ...told(memo, recalled) }),
    ...(task.link === undefined || task.silent ? {} : { targets: ids.slice(0, scanned).map(targetIn(task.link)) }),
    ...(unkept === undefined ? {} : { unkept }),
  };
}

function told(memo: Memo | undefined, at: readonly number[]): { readonly recalled?: Recalled } {
  if (memo === undefined || at.every((place) => place === NOT_RECALLED)) return {};
  const { rows, keys } = memo;
  return { recalled: { at, rows, keys } };
}

interface Known {
  readonly memo: Memo | undefined;
  readonly recalled: readonly number[];
  readonly kept: readonly Kept[];
  readonly things: number;
}

/** Why the memo could not be written. */
function keep(task: ScanTask, { memo, recalled, kept, things }: Known): ScanResult["unkept"] {
  const { memo: asked, silent = false } = task;
  if (asked?.settledBefore === undefined) return undefined;
  try {
    const isRecalled = (row: number): boolean => recalled[row] !== NOT_RECALLED;
    renewMemo(fromHere(asked.path), { place: task, memo, isRecalled, kept, things, eager: silent });
    return undefined;
  } catch (error) {
    return toStrataError(error, "Cannot write a memo of the store").toWire();
  }
}

/** What tells whether the documents of a thing are those that were read; undefined where they are not there, or no files. */
function marksOf(id: string, { document, meta }: ScanTask): string | undefined {
  const mark = markAt(fromHere(document.join(id)));
  if (mark === undefined || meta === undefined) return mark;
  const other = markAt(fromHere(meta.join(id)));
  return other === undefined ? undefined : `${mark} ${other}`;
}

interface FoundThing {
  readonly told: Told;
  readonly length: number;
  /** Where it may stand in a memo. */
  readonly kept?: Kept;
}

function readThing(id: string, task: ScanTask): FoundThing {
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
  const { settledBefore = 0n } = memo ?? {};
  const isKept =
    parts.every(({ changedAt }) => changedAt < settledBefore) &&
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

const targetIn =
  (link: PathAround) =>
  (id: string): string | undefined => {
    try {
      return readlinkSync(fromHere(link.join(id)));
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
      return undefined;
    }
  };
