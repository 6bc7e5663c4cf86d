/**
 * Directories that may be there already. Not mkdir's `recursive`: Node then looks again after any failure, tells ENOENT of a full disk, and
 * never ends below /proc, which says ENOENT of what cannot be made.
 */
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { systemErrorCode } from "./errors.js";

/** Its parent is there. */
export async function ensureDirectory(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, mode);
  } catch (error) {
    if (systemErrorCode(error) !== "EEXIST") throw error;
  }
}

/** With those above it, as far as they are missing; each is made with `mode`. Throws what mkdir(2) says, EEXIST of what is no directory. */
export async function ensureDirectories(path: string, mode = 0o777): Promise<void> {
  try {
    await mkdir(path, mode);
  } catch (error) {
    const errno = systemErrorCode(error);
    // A mount that may only be read says so before it says that something is there.
    const isThere = await stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    );
    if (isThere) return;
    const above = dirname(path);
    if (errno !== "ENOENT" || above === path) throw error;
    await ensureDirectories(above, mode);
    await ensureDirectory(path, mode);
  }
}
