/**
 * The files of a directory on disk, opened so that nothing in it can hold up or mislead the daemon.
 *
 * A FIFO would block open(2) for ever and a symlink would lead out: O_NONBLOCK and O_NOFOLLOW, then fstat. Directories below
 * may not be symlinks out of it either. LAYOUT_INVALID for each.
 */
import { constants } from "node:fs";
import { type FileHandle, open, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import { StrataError, systemErrorCode } from "../errors.js";
import { MAX_DOCUMENT_BYTES } from "../limits.js";
import { printable } from "../printable.js";
import { documentTooBig } from "./checked-document.js";
import { type Files, type Place, readAt, unreadable } from "./files.js";

/** `real` is `path` without symlinks. */
export function directoryFiles(path: string, real: string): Files {
  return {
    path,
    read: (name) =>
      withRegular(real, name, async (handle, size) => {
        if (size > MAX_DOCUMENT_BYTES) throw documentTooBig(name, `it has ${size} bytes`);
        return readAt(handle, size, 0);
      }),
    start: (name, bytes) => withRegular(real, name, (handle, size) => readAt(handle, Math.min(bytes, size), 0)),
    locate: (name) =>
      withRegular(
        real,
        name,
        async (_handle, length): Promise<Place> => ({ path: join(real, name), offset: 0, length }),
      ),
    close: async () => {},
  };
}

const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;

/** Names are our own constants and parsed digests, so they have no `..`. */
async function withRegular<T>(
  real: string,
  name: string,
  use: (handle: FileHandle, size: number) => Promise<T>,
): Promise<T | undefined> {
  const handle = await openInside(real, name);
  if (handle === undefined) return undefined;
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw invalid(name, "it is not a regular file");
    return await use(handle, stat.size);
  } finally {
    await handle.close();
  }
}

async function openInside(real: string, name: string): Promise<FileHandle | undefined> {
  const file = join(real, name);
  try {
    if ((await realpath(dirname(file))) !== dirname(file)) throw invalid(name, "its directory is a symlink");
    return await open(file, FLAGS);
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === "ENOENT" || errno === "ENOTDIR") return undefined;
    if (errno === "ELOOP") throw invalid(name, "it is a symlink");
    if (errno === undefined) throw error;
    if (errno !== "EACCES") throw invalid(name, errno, error);
    throw unreadable(file);
  }
}

function invalid(name: string, fact: string, cause?: unknown): StrataError {
  return new StrataError("LAYOUT_INVALID", `Cannot open ${printable(name)} of the layout: ${fact}`, { cause });
}
