/**
 * A directory tree as data, to compare what the daemon assembled with what an outside judge extracted.
 */
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { systemErrorCode } from "../../src/errors.js";

export interface TreeEntry {
  readonly type: "file" | "directory" | "symlink" | "other";
  /** Permission bits of a directory, and of a file those that the store keeps. */
  readonly mode?: number;
  /** SHA-256 of a file's content. */
  readonly content?: string;
  readonly target?: string;
  /** All names of a file that has several in this tree. */
  readonly names?: readonly string[];
  /** In seconds. */
  readonly mtime: number;
}

export interface TreeFacts {
  /** By path, bytes as latin1; without the top directory itself. */
  readonly entries: ReadonlyMap<string, TreeEntry>;
  /** Files that have a write bit. */
  readonly writable: readonly string[];
}

export function readTree(top: string): TreeFacts {
  const entries = new Map<string, TreeEntry>();
  const writable: string[] = [];
  const inodes = new Map<number, string[]>();
  const walk = (directory: string): void => {
    for (const name of readdirSync(Buffer.from(`${top}/${directory}`, "latin1"), "latin1")) {
      const path = directory === "" ? name : `${directory}/${name}`;
      const onDisk = Buffer.from(`${top}/${path}`, "latin1");
      const stat = lstatSync(onDisk);
      const mtime = Math.floor(stat.mtimeMs / 1000);
      if (stat.isDirectory()) {
        entries.set(path, { type: "directory", mtime, mode: stat.mode & 0o777 });
        walk(path);
      } else if (stat.isSymbolicLink()) {
        entries.set(path, { type: "symlink", mtime, target: readlinkSync(onDisk, "latin1") });
      } else if (stat.isFile()) {
        const content = createHash("sha256").update(readFileSync(onDisk)).digest("hex");
        entries.set(path, { type: "file", mtime, content, mode: (stat.mode & 0o555) | 0o400 });
        if ((stat.mode & 0o222) !== 0) writable.push(path);
        if (stat.nlink > 1) inodes.set(stat.ino, [...(inodes.get(stat.ino) ?? []), path]);
      } else {
        entries.set(path, { type: "other", mtime });
      }
    }
  };
  walk("");
  for (const group of inodes.values())
    for (const path of group.length > 1 ? group.sort() : [])
      entries.set(path, { ...(entries.get(path) as TreeEntry), names: group });
  return { entries, writable };
}

const MAX_SHOWN = 10;

/** What is different, path for path; empty where the trees are the same. */
export function differences(actual: TreeFacts, expected: TreeFacts): string[] {
  const paths = new Set([...actual.entries.keys(), ...expected.entries.keys()]);
  const found: string[] = [];
  for (const path of [...paths].sort()) {
    const [is, should] = [actual.entries.get(path), expected.entries.get(path)].map((entry) => JSON.stringify(entry));
    if (is !== should) found.push(`${path}: ${is ?? "missing"}, not ${should ?? "missing"}`);
  }
  return found.length <= MAX_SHOWN ? found : [...found.slice(0, MAX_SHOWN), `and ${found.length - MAX_SHOWN} more`];
}

/** Everything below a directory, by path (latin1), a directory before what it holds; what goes while this looks is not there. */
export function everythingBelow(directory: string): string[] {
  const found: string[] = [];
  const look = (path: string): void => {
    for (const { name, isDirectory } of standing(bytesOf(directory, path))) {
      const below = path === "" ? name : `${path}/${name}`;
      found.push(below);
      if (isDirectory) look(below);
    }
  };
  look("");
  return found;
}

/** The text (latin1) of the regular file that stands there, if one does. */
export function textBelow(directory: string, path: string): string {
  try {
    const place = bytesOf(directory, path);
    return lstatSync(place).isFile() ? readFileSync(place, "latin1") : "";
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
    return "";
  }
}

const bytesOf = (directory: string, path: string): Buffer =>
  Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(path, "latin1")]);

function standing(directory: Buffer): { readonly name: string; readonly isDirectory: boolean }[] {
  try {
    return readdirSync(directory, { withFileTypes: true, encoding: "buffer" }).map((entry) => ({
      name: entry.name.toString("latin1"),
      isDirectory: entry.isDirectory(),
    }));
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno !== "ENOENT" && errno !== "ENOTDIR") throw error;
    return [];
  }
}
