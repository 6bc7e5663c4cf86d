import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";

/** A new file of staging, synced before a rename makes it visible: a committed document is never empty after a power cut. */
export function writeSynced(path: string | Buffer, pieces: Iterable<Buffer>): void {
  const fd = openSync(path, "wx", 0o644);
  try {
    for (const piece of pieces) for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
