/**
 * A directory that may be there already. Not mkdir's `recursive`: Node then looks again after any failure, and of a full disk tells
 * ENOENT.
 */
import { mkdir } from "node:fs/promises";
import { systemErrorCode } from "../errors.js";

/** Its parent is there. */
export async function ensureDirectory(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, mode);
  } catch (error) {
    if (systemErrorCode(error) !== "EEXIST") throw error;
  }
}
