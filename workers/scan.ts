/**
 * Worker entry: what a start wants to know of stored layers, roots and names: their documents, read and checked here, by threads that
 * may wait. What a memo still holds of is not read.
 */
import { readlinkSync } from "node:fs";
import { systemErrorCode, toStrataError } from "../src/errors.js";
import { READ_RESULT_BYTES } from "../src/limits.js";
import type { PathAround, ReadThing, Recalled, ScanResult, ScanTask } from "../src/scan-tasks.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { fromHere } from "./disk-path.js";
import { type Memo, readMemo } from "./memo.js";
import { markAt } from "./read-text.js";
import type { Kept } from "./scanned-documents.js";

export default (task: ScanTask): Promise<Outcome<ScanResult>> => outcomeOf("Cannot scan the store", () => scan(task));

const NOT_RECALLED = -1;

const documents = () => import("./scanned-documents.js");

async function scan(task: ScanTask): Promise<ScanResult> {
  const ids = task.ids.split("/");
  const memo = task.memo === undefined ? undefined : readMemo(fromHere(task.memo.path), task.memo.reading);
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
    const { readThing } = await documents();
    const thing = readThing(id, task);
    read.push({ at: scanned, ...thing.told });
    length += thing.length;
    if (thing.kept !== undefined) kept.push(thing.kept);
  }
  const unkept = scanned < ids.length ? undefined : await keep(task, { memo, recalled, kept, things: scanned });
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
async function keep(task: ScanTask, { memo, recalled, kept, things }: Known): Promise<ScanResult["unkept"]> {
  const { memo: asked, silent = false } = task;
  if (asked?.settledBeforeMs === undefined || kept.length === 0) return undefined;
  try {
    const isRecalled = (row: number): boolean => recalled[row] !== NOT_RECALLED;
    const { reading } = asked;
    const { renewMemo } = await documents();
    renewMemo(fromHere(asked.path), { place: task, reading, memo, isRecalled, kept, things, eager: silent });
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
