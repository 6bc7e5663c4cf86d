/**
 * A document of the store by its text, in four system calls for all but the longest; and its mark, by which one sees later, in one call,
 * whether it is still that document.
 */
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readFileSync,
  readSync,
} from "node:fs";

export interface MarkedText {
  readonly text: string;
  readonly mark: string;
  /** When it was changed last, by the file system's clock, in nanoseconds. */
  readonly changedAt: bigint;
}

const buffer = Buffer.allocUnsafe(64 * 1024);

/** The mark is taken before the first byte is read: what changes meanwhile has another. A FIFO is read as empty, and holds nobody. */
export function readMarked(path: string): MarkedText {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(descriptor, { bigint: true });
    const bytes = readSync(descriptor, buffer, 0, buffer.length, null);
    const start = buffer.toString("utf8", 0, bytes);
    const text = bytes < buffer.length ? start : start + readFileSync(descriptor, "utf8");
    return { text, mark: markOf(stats), changedAt: stats.ctimeNs };
  } finally {
    closeSync(descriptor);
  }
}

/** Undefined where no file is: a symlink has another mark than what it leads to, and so has no document that was read through it. */
export function markAt(path: string): string | undefined {
  try {
    const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    return stats?.isFile() ? markOf(stats) : undefined;
  } catch {
    return undefined;
  }
}

/** Whoever changes a file, or puts another in its place, changes one of these, and no call sets the last. */
const markOf = ({ ino, size, ctimeNs }: BigIntStats): string => `${ino} ${size} ${ctimeNs}`;
