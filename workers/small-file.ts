/**
 * A small file, whose content is all at hand: a link to what an earlier layer has, or created, exclusively and never through a link.
 *
 * Decides nothing: its path was allowed by tree-writer.ts, and its directory is there.
 */
import { hash } from "node:crypto";
import { closeSync, constants, futimesSync, openSync, writeSync } from "node:fs";
import { type FileIdentity, type FileObjects, isShareable } from "./file-objects.js";
import type { OpenDirectories } from "./open-directories.js";

export const CREATE = constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | constants.O_WRONLY;

export interface NewFile {
  /** Bytes, latin1. */
  readonly path: string;
  /** As the store has it (stored-mode.ts). */
  readonly mode: number;
  /** Seconds. */
  readonly mtime: number;
  readonly size: number;
}

export interface WrittenFile {
  /** Hex, of its content. */
  readonly sha256: string;
  /** It is a link to a file of an earlier layer. */
  readonly isShared: boolean;
}

export interface SmallFilePlace {
  readonly content: Buffer;
  /** Of the layer's tree. */
  readonly directories: OpenDirectories;
  /** What other layers have; absent: each file is written. */
  readonly objects: FileObjects | undefined;
}

export function writeSmallFile(
  { path, size, mode, mtime }: NewFile,
  { content, directories, objects }: SmallFilePlace,
): WrittenFile {
  const sha256 = hash("sha256", content, "hex");
  const file = { sha256, size, mode, mtime };
  const onDisk = directories.at(path);
  const shared = isShareable(file) ? objects : undefined;
  if (shared?.link(file, onDisk) === true) return { sha256, isShared: true };
  create(onDisk, file, content);
  // Another layer's file may have come in the meantime, and taken its place.
  return { sha256, isShared: shared?.offer(file, onDisk) === true };
}

function create(onDisk: string | Buffer, { size, mode, mtime }: FileIdentity, content: Buffer): void {
  const fd = openSync(onDisk, CREATE, mode);
  try {
    for (let done = 0; done < size; ) done += writeSync(fd, content, done);
    futimesSync(fd, mtime, mtime);
  } finally {
    closeSync(fd);
  }
}
