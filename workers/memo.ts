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
import { closeSync, fstatSync, readSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { threadId } from "node:worker_threads";
import { MAX_MEMO_BYTES } from "../src/limits.js";
import type { Rows } from "../src/memo-rows.js";
import { openToRead } from "./open-to-read.js";

export interface Memo {
  readonly ids: readonly string[];
  /** Of each, those of all its documents. */
  readonly marks: readonly string[];
  /** As in `Recalled`. */
  readonly keys: string;
  readonly rows: Rows;
}

/** Undefined where none is that can be used. */
export function readMemo(path: string, reading: string): Memo | undefined {
  try {
    const bytes = readWhole(path);
    const [checksum, behind] = lineAt(bytes, 0);
    if (checksum !== checksumOf(reading, bytes.subarray(behind))) return undefined;
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

/** Twice as large as the largest memo so far, and used for all of them: fresh memory costs more than reading does. */
let buffer = Buffer.alloc(0);

/** What the next call overwrites. Throws where no memo can be. */
function readWhole(path: string): Buffer {
  const descriptor = openToRead(path);
  try {
    const stats = fstatSync(descriptor);
    if (!stats.isFile() || stats.size > MAX_MEMO_BYTES) throw new Error("not a memo");
    const { size } = stats;
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

/** In the place of the one that stood there, by one rename. */
export function writeMemo(path: string, reading: string, { ids, marks, keys, rows }: Memo): void {
  const { texts, ...layout } = rows;
  const head: Head = { ids, marks, ...layout };
  const body = Buffer.from(`${JSON.stringify(head)}\n${keys}\n${texts}`);
  const temporary = `${path}.${process.pid}-${threadId}.new`;
  try {
    writeFileSync(temporary, Buffer.concat([Buffer.from(`${checksumOf(reading, body)}\n`), body]), { mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** Over how documents are read as well: what another release has read may not be what this one would. */
const checksumOf = (reading: string, text: Buffer): string =>
  createHash("sha256").update(`${FORMAT} ${reading}\n`).update(text).digest("hex");

/** Of a memo itself. */
const FORMAT = 2;
