/**
 * Named files as an image's origin holds them: those of a directory, or the members of an archive.
 *
 * A name is relative, with `/`; nothing outside the origin can be named. What is opened is a regular file, else the origin
 * refuses with its own code. Knows nothing of what the files mean.
 */
import type { FileHandle } from "node:fs/promises";
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";

export interface Files {
  /** For messages: the path the client gave. */
  readonly path: string;

  /** The whole of a small file; undefined where there is none of that name. MANIFEST_TOO_BIG over MAX_DOCUMENT_BYTES. */
  read(name: string): Promise<Buffer | undefined>;

  /** At most the first `bytes` of a file; undefined where there is none of that name. */
  start(name: string, bytes: number): Promise<Buffer | undefined>;

  /** Where the bytes of a file stand; undefined where there is none of that name. */
  locate(name: string): Promise<Place | undefined>;

  close(): Promise<void>;
}

export interface Place {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

/** Fills the buffer from `position` on; shorter only at the end of the file. */
export async function readAt(handle: FileHandle, length: number, position: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

/** IMPORT_DENIED, wherever it stands. */
export const unreadable = (path: string): StrataError =>
  new StrataError("IMPORT_DENIED", `Cannot open ${printable(path)}: the daemon's user may not read it`, {
    hint: "Make it readable for the daemon's user, or copy it to where it is.",
  });
