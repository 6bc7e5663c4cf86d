/** A document of the store by its text, in three system calls for all but the longest. */
import { closeSync, constants, openSync, readFileSync, readSync } from "node:fs";

const buffer = Buffer.allocUnsafe(64 * 1024);

/** A FIFO that somebody put there is read as empty, and holds nobody. */
export function readText(path: string): string {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const bytes = readSync(descriptor, buffer, 0, buffer.length, null);
    return bytes < buffer.length
      ? buffer.toString("utf8", 0, bytes)
      : buffer.toString("utf8") + readFileSync(descriptor, "utf8");
  } finally {
    closeSync(descriptor);
  }
}
