/**
 * A document of the store by its text, in four system calls for all but the longest; and its mark, by which one sees later, in one call,
 * whether it is still that document.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, readSync, type Stats } from "node:fs";

export interface MarkedText {
  readonly text: string;
  readonly mark: string;
  /** When it was changed last, by the file system's clock. */
  readonly changedAtMs: number;
}

const buffer = Buffer.allocUnsafe(64 * 1024);

/** The mark is taken before the first byte is read: what changes meanwhile has another. A FIFO is read as empty, and holds nobody. */
export function readMarked(path: string): MarkedText {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(descriptor);
    const bytes = readSync(descriptor, buffer, 0, buffer.length, null);
    const start = buffer.subarray(0, bytes);
    // Joined as bytes: a character may stand across the end of the buffer.
    const all = bytes < buffer.length ? start : Buffer.concat([start, readFileSync(descriptor)]);
    return { text: all.toString("utf8"), mark: markOf(stats), changedAtMs: stats.ctimeMs };
  } finally {
    closeSync(descriptor);
  }
}

/** Undefined where no file is: a symlink has another mark than what it leads to, and so has no document that was read through it. */
export function markAt(path: string): string | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    return stats?.isFile() ? markOf(stats) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Whoever changes a file, or puts another in its place, changes one of these, and no call sets the last. As a number of milliseconds it is
 * exact to a quarter of a microsecond: far less than a file system's clock is.
 */
const markOf = ({ ino, size, ctimeMs }: Stats): string => `${ino} ${size} ${ctimeMs}`;
