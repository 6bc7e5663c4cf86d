/** Files of staging that are on the disk before anybody can see them. */
import { createHash } from "node:crypto";
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

/** The same for a text of bytes (latin1), some of it at a time. Returns the file's SHA-256 (hex). */
export function writeSyncedText(path: string | Buffer, pieces: Iterable<string>, tick = (): void => undefined): string {
  const sha256 = createHash("sha256");
  function* summed(): Generator<Buffer> {
    for (const text of pieces) {
      const piece = Buffer.from(text, "latin1");
      sha256.update(piece);
      tick();
      yield piece;
    }
  }
  writeSynced(path, summed());
  return sha256.digest("hex");
}
