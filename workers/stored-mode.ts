/**
 * What the store makes of an archive's permission bits (invariant 6): files are never writable, because every root shares their
 * inodes; the daemon itself must be able to read what it stored.
 */
import { chmodSync, utimesSync } from "node:fs";
import type { Entry } from "../src/overlap/changeset.js";
import type { DirectoryAttributes } from "../src/root-tasks.js";
import { diskPath } from "./disk-path.js";

/** What an implied directory gets, and every directory while it is being filled. */
export const IMPLIED_MODE = 0o755;

export const storedFileMode = (mode: number): number => (mode & 0o555) | 0o400;
export const storedDirectoryMode = (mode: number): number => (mode & 0o777) | 0o500;

/** What a directory of a changeset gets in the store and in roots. */
export const directoryAttributes = (entry: Entry & { readonly type: "dir" | "implied" }): DirectoryAttributes =>
  entry.type === "implied"
    ? { path: entry.path, mode: IMPLIED_MODE, mtime: 0 }
    : { path: entry.path, mode: storedDirectoryMode(entry.mode), mtime: entry.mtime };

/** When nothing more is made in a directory below `prefix`: each entry would change its time. */
export function setDirectoryAttributes(prefix: string, { path, mode, mtime }: DirectoryAttributes): void {
  const onDisk = diskPath(prefix, path);
  if (mode !== IMPLIED_MODE) chmodSync(onDisk, mode);
  utimesSync(onDisk, mtime, mtime);
}
