/**
 * Worker entry: removes a directory and all it holds, however deep and whatever the modes of its directories.
 *
 * The caller has renamed it into staging already: nobody looks at it any more. Never follows a symlink.
 */
import { chmodSync, lstatSync, readdirSync, rmdirSync, unlinkSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import { type Outcome, outcomeOf, type RemoveTask } from "../src/tasks.js";

const SEPARATOR = Buffer.from("/");

export default (task: RemoveTask): Promise<Outcome<{ removed: true }>> =>
  outcomeOf("Cannot remove a directory", () => {
    remove(Buffer.from(task.path));
    return { removed: true };
  });

/** Paths are bytes: names in a layer need not be UTF-8. Without recursion: the depth is an archive's choice. */
function remove(path: Buffer): void {
  const stack: { path: Buffer; listed: boolean }[] = [{ path, listed: false }];
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    if (top.listed) {
      if (removeEmpty(top.path)) stack.pop();
      else top.listed = false;
      continue;
    }
    top.listed = true;
    for (const child of list(top.path)) {
      const childPath = Buffer.concat([top.path, SEPARATOR, child.name]);
      if (child.isDirectory()) stack.push({ path: childPath, listed: false });
      else ignoring("ENOENT", () => unlinkSync(childPath));
    }
  }
}

/** False where something came in since it was listed: a worker that is being ended may still write for a moment. */
function removeEmpty(path: Buffer): boolean {
  try {
    rmdirSync(path);
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === "ENOTEMPTY" || errno === "EEXIST") return false;
    if (errno !== "ENOENT") throw error;
  }
  return true;
}

function list(path: Buffer): ReturnType<typeof readEntries> {
  try {
    // Entries of a directory without its write bit cannot be removed by anyone but root.
    if ((lstatSync(path).mode & 0o700) !== 0o700) chmodSync(path, 0o700);
    return readEntries(path);
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return [];
    throw error;
  }
}

const readEntries = (path: Buffer) => readdirSync(path, { encoding: "buffer", withFileTypes: true });

function ignoring(errno: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (systemErrorCode(error) !== errno) throw error;
  }
}
