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
import { MAX_DOCUMENT_BYTES, MAX_FILES_LOOKED_AT } from "../limits.js";
import { printable } from "../printable.js";
import { Slots } from "../slots.js";
import { documentTooBig } from "./checked-document.js";
import { type Files, type Place, readAt, unreadable } from "./files.js";

/** `real` is `path` without symlinks. However many are asked for, MAX_FILES_LOOKED_AT are open at once. */
export function directoryFiles(path: string, real: string): Files {
  const slots = new Slots(MAX_FILES_LOOKED_AT);
  const look = <Value>(name: string, use: Use<Value>) => slots.run(0, undefined, () => withRegular(real, name, use));
  return {
    path,
    read: (name) =>
      look(name, async (handle, size) => {
        if (size > MAX_DOCUMENT_BYTES) throw documentTooBig(name, `it has ${size} bytes`);
        return readAt(handle, size, 0);
      }),
    start: (name, bytes) => look(name, (handle, size) => readAt(handle, Math.min(bytes, size), 0)),
    locate: (name) => look(name, async (_, length): Promise<Place> => ({ path: join(real, name), offset: 0, length })),
    close: async () => {},
  };
}

type Use<Value> = (handle: FileHandle, size: number) => Promise<Value>;

const FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;

/** Names are our own constants and parsed digests, so they have no `..`. */
async function withRegular<Value>(real: string, name: string, use: Use<Value>): Promise<Value | undefined> {
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
