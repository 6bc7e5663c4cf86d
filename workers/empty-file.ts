/**
 * A file without content, which is never a link: it is the inode that would run out of links, and the one that everybody writes to.
 */
import { closeSync, fchmodSync, futimesSync, openSync } from "node:fs";

/** Creates `path`. */
export function createEmpty(path: string | Buffer, mode: number, mtime: number): void {
  const fd = openSync(path, "wx", mode);
  try {
    // The umask takes what only a root of copies keeps.
    if ((mode & 0o022) !== 0) fchmodSync(fd, mode);
    futimesSync(fd, mtime, mtime);
  } finally {
    closeSync(fd);
  }
}
