/**
 * Memos: what documents of the store said when they were last read, so that the next start need not read them again. Never believed over
 * the store: each thing stands there with the marks of its documents (inode, size and the time of the last change, which nobody can
 * set), and who looks for it compares them with what is on the disk. So a memo may be of any age, and of another store.
 *
 * It cannot outlive what a power cut took: a thing is kept only once its documents say that they are on the disk, and those that an
 * earlier state of the file system brings back are other files. Nor is anything kept that was changed in the last moments: a second
 * change within one tick of the file system's clock would leave no trace. What marks cannot tell: a change through memory that somebody
 * has mapped since before, and one after the clock was set back to the very nanosecond of the last.
 *
 * A file that is cut short, changed by hand or of another release is none. Whoever forges one with its checksum might as well have written
 * the documents.
 */
import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { threadId } from "node:worker_threads";
import { z } from "zod";
import { MAX_KEPT_TEXT, MEMO_SLACK } from "../src/limits.js";
import { type Rows, rowsOf, type Thing, thingAt } from "../src/memo-rows.js";
import type { KeyColumns, ScannedKind, ScannedKinds, ScanPlace } from "../src/scan-tasks.js";
import { blobKey, scannedSchemas } from "../src/stored-documents.js";

export interface Memo {
  readonly ids: readonly string[];
  /** Of each, those of all its documents. */
  readonly marks: readonly string[];
  /** As in `Recalled`. */
  readonly keys: string;
  readonly rows: Rows;
}

/** A thing that was read, with all that a memo has of it. */
export interface Kept extends Thing {
  readonly id: string;
  readonly marks: string;
}

/** Undefined where none is that can be used. */
export function readMemo(path: string, kind: ScannedKind): Memo | undefined {
  try {
    const bytes = readWhole(path);
    const [checksum, behind] = lineAt(bytes, 0);
    if (checksum !== checksumOf(kind, bytes.subarray(behind))) return undefined;
    const [head, behindHead] = lineAt(bytes, behind);
    const [keys, behindKeys] = lineAt(bytes, behindHead);
    const { ids, marks, ...layout } = JSON.parse(head) as Head;
    if (marks.length !== ids.length || layout.ends.length !== ids.length) return undefined;
    return { ids, marks, keys, rows: { ...layout, texts: bytes.toString("utf8", behindKeys) } };
  } catch {
    return undefined;
  }
}

/** The second line of a memo; the first is the checksum of all that follows, the third holds the keys, the rest the rows. */
type Head = Pick<Memo, "ids" | "marks"> & Omit<Rows, "texts">;

/** Large enough for nearly every memo, and used for all of them: fresh memory costs more than reading does. */
let buffer = Buffer.alloc(0);

/** What the next call overwrites. */
function readWhole(path: string): Buffer {
  const descriptor = openSync(path, "r");
  try {
    const { size } = fstatSync(descriptor);
    if (buffer.length <= size) buffer = Buffer.allocUnsafe(2 * size);
    return buffer.subarray(0, readSync(descriptor, buffer, 0, size, null));
  } finally {
    closeSync(descriptor);
  }
}

/** A line, and where the next begins. */
function lineAt(bytes: Buffer, from: number): [string, number] {
  const end = bytes.indexOf(NEWLINE, from);
  return end < 0 ? [bytes.toString("utf8", from), bytes.length] : [bytes.toString("utf8", from, end), end + 1];
}

const NEWLINE = 0x0a;

export interface Renewal {
  readonly place: ScanPlace;
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
export function renewMemo(path: string, { place, memo, isRecalled, kept, things, eager }: Renewal): void {
  const { kind } = place;
  if (kept.length === 0 || (!eager && kept.length * MEMO_SLACK < things)) return;
  const before = memo === undefined ? [] : keptIn(memo, place).filter((_, row) => isRecalled(row));
  const all = [...before, ...kept];
  const { texts, ...layout } = rowsOf(
    all.map(({ document, meta }) => (meta === undefined ? { document } : { document, meta })),
    scannedSchemas[kind].idKey,
  );
  const head: Head = { ids: all.map(({ id }) => id), marks: all.map(({ marks }) => marks), ...layout };
  const keys = kind === "layers" ? JSON.stringify(columnsOf(all as readonly ScannedKinds["layers"][])) : "";
  const body = Buffer.from(`${JSON.stringify(head)}\n${keys}\n${texts}`);
  const temporary = `${path}.${process.pid}-${threadId}.new`;
  try {
    writeFileSync(temporary, Buffer.concat([Buffer.from(`${checksumOf(kind, body)}\n`), body]), { mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
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

/**
 * Whether a memo has a place for it: large documents are few, and the main thread gets each memo in one message. One with a key that no
 * object can be given by assignment has none.
 */
export const fits = (text: string): boolean => text.length <= MAX_KEPT_TEXT && !text.includes("__proto__");

/** Over what the documents of this release look like as well: what another has read may not be what this one would. */
const checksumOf = (kind: ScannedKind, text: Buffer): string =>
  createHash("sha256").update(`${shapes[kind]()}\n`).update(text).digest("hex");

const shapeOf = (kind: ScannedKind): (() => string) => {
  let shape: string | undefined;
  return () => {
    const { document, meta } = scannedSchemas[kind];
    shape ??= JSON.stringify([FORMAT, kind, document, meta], (_key, part: unknown) =>
      part instanceof z.ZodType ? z.toJSONSchema(part, { io: "input" }) : part,
    );
    return shape;
  };
};

/** Of a memo itself. */
const FORMAT = 1;
const shapes = { layers: shapeOf("layers"), roots: shapeOf("roots"), names: shapeOf("names") };
