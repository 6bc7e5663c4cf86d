/**
 * The two renames of the store's directories: out of staging, where they become visible, and back, where they are as good as removed.
 */
import { rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { systemErrorCode } from "../errors.js";
import type { Log } from "../log.js";
import { settleParent } from "./documents.js";

/**
 * The caller knows that nothing of the store stands at `path`. What stands there all the same (a hand put it there, or took something
 * out of it) goes to staging, beside `staged`: else a thing that nobody checked would be taken for what is published here.
 */
export async function publish(staged: string, path: string, log: Log): Promise<void> {
  try {
    await rename(staged, path);
  } catch (error) {
    if (!isTaken(error)) throw error;
    await rename(path, join(dirname(staged), "aside"));
    await rename(staged, path);
  }
  await settleParent(path, log);
}

/** Out of sight, into `staged`, if it is there. The caller syncs, and removes it from there. */
export async function withdraw(path: string, staged: string): Promise<void> {
  try {
    await rename(path, staged);
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
  }
}

/** A directory that is not empty, or a file. */
function isTaken(error: unknown): boolean {
  const errno = systemErrorCode(error);
  return errno === "EEXIST" || errno === "ENOTEMPTY" || errno === "ENOTDIR";
}
