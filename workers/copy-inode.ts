/**
 * A second inode of a file: its content, mode and time. What stands in for a hard link where the file system gives no more.
 */
import { constants, copyFileSync, statSync, utimesSync } from "node:fs";

/** Creates `to`. */
export function copyInode(from: string | Buffer, to: string | Buffer): void {
  copyFileSync(from, to, constants.COPYFILE_EXCL);
  const { mtime } = statSync(from);
  utimesSync(to, mtime, mtime);
}
