/**
 * Worker entry: removes a directory and all it holds, however deep and whatever the modes of its directories.
 *
 * The caller has renamed it into staging already: nobody looks at it any more. Works by descriptor, so that no symlink, whenever
 * somebody puts it there, leads out of it.
 */
import { chmodSync, closeSync, fchmodSync, fstatSync, readdirSync, renameSync, rmdirSync, unlinkSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import { type Outcome, outcomeOf, type RemoveTask } from "../src/tasks.js";
import { inDirectory, openDirectory } from "./open-directories.js";

/** Directories held open, one below the other. What lies deeper is moved up to the top first: depth is an archive's choice. */
const MAX_LEVELS = 64;
const OWN = 0o700;

/** An open directory that holds nothing but these directories any more. */
interface Level {
  readonly name: string;
  readonly descriptor: number;
  readonly directories: string[];
}

export default (task: RemoveTask): Promise<Outcome<{ removed: true }>> =>
  outcomeOf("Cannot remove a directory", () => {
    for (let top = openLevel("", task.path); top !== undefined; top = openLevel("", task.path)) {
      removeBelow(top);
      if (removeEmpty(task.path)) break;
    }
    return { removed: true };
  });

function removeBelow(top: Level): void {
  const levels = [top];
  let moved = 0;
  try {
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const name = level.directories.pop();
      if (name === undefined) {
        levels.pop();
        closeSync(level.descriptor);
        const parent = levels.at(-1);
        if (parent !== undefined && !removeEmpty(inDirectory(parent.descriptor, level.name)))
          parent.directories.push(level.name);
      } else if (levels.length < MAX_LEVELS) {
        const next = openLevel(name, inDirectory(level.descriptor, name));
        if (next !== undefined) levels.push(next);
      } else if (makeOwn(inDirectory(level.descriptor, name))) {
        const above = `.moved-${moved++}`;
        renameSync(inDirectory(level.descriptor, name), inDirectory(top.descriptor, above));
        top.directories.push(above);
      }
    }
  } finally {
    for (const { descriptor } of levels) closeSync(descriptor);
  }
}

/** Opens the directory at `path` and removes all in it that is no directory. Undefined where there is none any more. */
function openLevel(name: string, path: string | Buffer): Level | undefined {
  const descriptor = openOwn(path);
  if (descriptor === undefined) return undefined;
  const directories: string[] = [];
  try {
    for (const entry of readdirSync(`/proc/self/fd/${descriptor}`, { encoding: "buffer", withFileTypes: true })) {
      const child = entry.name.toString("latin1");
      if (entry.isDirectory()) directories.push(child);
      else ignoring("ENOENT", () => unlinkSync(inDirectory(descriptor, child)));
    }
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return { name, descriptor, directories };
}

/** A directory that gets another parent is written to itself, for its `..`. False where there is none any more. */
function makeOwn(path: string | Buffer): boolean {
  const descriptor = openOwn(path);
  if (descriptor !== undefined) closeSync(descriptor);
  return descriptor !== undefined;
}

/** Entries of a directory without its write bit cannot be removed by anyone but root, nor listed without the others. */
function openOwn(path: string | Buffer): number | undefined {
  try {
    return opened(openDirectory(path));
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === "ENOENT") return undefined;
    if (errno !== "EACCES") throw error;
    chmodSync(path, OWN);
    return openDirectory(path);
  }
}

/** The same descriptor, of a directory that its owner may fill and empty. */
function opened(descriptor: number): number {
  try {
    if ((fstatSync(descriptor).mode & OWN) !== OWN) fchmodSync(descriptor, OWN);
    return descriptor;
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** False where something came in since it was listed: a worker that is being ended may still write for a moment. */
function removeEmpty(path: string | Buffer): boolean {
  try {
    rmdirSync(path);
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === "ENOTEMPTY" || errno === "EEXIST") return false;
    if (errno !== "ENOENT") throw error;
  }
  return true;
}

function ignoring(errno: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (systemErrorCode(error) !== errno) throw error;
  }
}
