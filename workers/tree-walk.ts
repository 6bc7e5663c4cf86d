/**
 * A tree on the disk, walked along a list of what should stand in it: depth first, a directory before what it holds. Tells what is
 * missing, what is something else, and, when a directory is done, what it holds besides.
 *
 * By descriptor and never through a symlink (open-directories.ts): the tree may have been edited by hand, and may still be. Holds the
 * names of the directories that are open, and nothing of what is on the disk.
 */
import { type BigIntStats, type Dirent, lstatSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { TreeFinding } from "../src/findings.js";
import { baseName, parentPath } from "../src/overlap/changeset.js";
import { directoryEntries } from "./directory-entries.js";
import { OpenDirectories } from "./open-directories.js";

export type Kind = "directory" | "file" | "symlink";

/** A directory whose entries are still coming, and those that came. */
interface WalkedDirectory {
  readonly path: string;
  readonly names: Set<string>;
}

export class TreeWalk {
  readonly #directories: OpenDirectories;
  readonly #tell: (finding: TreeFinding) => void;
  readonly #open: WalkedDirectory[] = [{ path: "", names: new Set() }];
  /** Nothing can be said of what stands below it, and it is told itself. */
  #lost: string | undefined;
  #denied: string | undefined;

  /** `tree` is the descriptor of the top directory; it stays the caller's. */
  constructor(tree: number, tell: (finding: TreeFinding) => void) {
    this.#directories = new OpenDirectories(tree);
    this.#tell = tell;
  }

  /** The entry at `path`, if it is of that kind; else what is wrong has been told. */
  look(path: string, kind: Kind): BigIntStats | undefined {
    if (this.#isLost(path)) return undefined;
    this.#closeUpTo(parentPath(path));
    this.#open.at(-1)?.names.add(baseName(path));
    const stat = this.#stat(path, kind);
    if (stat === undefined) return undefined;
    const found = kindOf(stat);
    if (found !== kind) {
      this.#tell({ code: "CONTENT", path, detail: `it is a ${found}, not a ${kind}` });
      if (kind === "directory") this.#lost = path;
      return undefined;
    }
    return kind === "directory" && !this.#enter(path) ? undefined : stat;
  }

  /** The entry at `path` once more; undefined where it is gone or cannot be looked at, which `look` has told. */
  again(path: string): BigIntStats | undefined {
    try {
      return lstatSync(this.at(path), { bigint: true });
    } catch (error) {
      if (systemErrorCode(error) === undefined) throw error;
      return undefined;
    }
  }

  /** What the fs functions call `path`; its directory was entered. Valid until the next call. */
  at(path: string): string | Buffer {
    return this.#directories.at(path);
  }

  /** All entries came: tells what the directories hold besides that are still open, the top one too. */
  finish(): void {
    this.#closeUpTo("");
    this.#tellExtra(this.#open[0] as WalkedDirectory);
  }

  close(): void {
    this.#directories.close();
  }

  #isLost(path: string): boolean {
    if (this.#lost === undefined) return false;
    if (path.startsWith(`${this.#lost}/`)) return true;
    this.#lost = undefined;
    return false;
  }

  #stat(path: string, kind: Kind): BigIntStats | undefined {
    try {
      return lstatSync(this.at(path), { bigint: true });
    } catch (error) {
      const errno = systemErrorCode(error);
      if (errno === undefined) throw error;
      if (kind === "directory") this.#lost = path;
      if (isDenied(errno)) this.#tellDenied(parentPath(path), errno);
      else if (isGone(errno)) this.#tell({ code: "MISSING", path, detail: `the ${kind} is not there` });
      else this.#tell({ code: "CONTENT", path, detail: unreadable(errno) });
      return undefined;
    }
  }

  #enter(path: string): boolean {
    try {
      this.#directories.descriptorOf(path);
    } catch (error) {
      const errno = systemErrorCode(error);
      if (errno === undefined) throw error;
      if (isDenied(errno)) this.#tellDenied(path, errno);
      else this.#tell({ code: "CONTENT", path, detail: unreadable(errno) });
      this.#lost = path;
      return false;
    }
    this.#open.push({ path, names: new Set() });
    return true;
  }

  /** What a directory's permissions hide is not told name for name. */
  #tellDenied(directory: string, errno: string): void {
    if (this.#denied === directory) return;
    this.#denied = directory;
    this.#tell({ code: "MODE", path: directory, detail: `what it holds cannot be read: ${errno}` });
  }

  #closeUpTo(parent: string): void {
    for (let last = this.#open.at(-1); last !== undefined && last.path !== parent; last = this.#open.at(-1)) {
      this.#open.pop();
      this.#tellExtra(last);
    }
  }

  #tellExtra({ path, names }: WalkedDirectory): void {
    try {
      for (const entry of directoryEntries(`/proc/self/fd/${this.#directories.descriptorOf(path)}`)) {
        const name = entry.name as unknown as string;
        if (names.has(name)) continue;
        const extra = path === "" ? name : `${path}/${name}`;
        this.#tell({ code: "EXTRA", path: extra, detail: `a ${kindOf(entry)} that does not belong here` });
      }
    } catch (error) {
      const errno = systemErrorCode(error);
      if (errno === undefined) throw error;
      if (isDenied(errno)) this.#tellDenied(path, errno);
      else this.#tell({ code: "CONTENT", path, detail: unreadable(errno) });
    }
  }
}

export const unreadable = (errno: string): string => `it cannot be read: ${errno}`;
const isDenied = (errno: string): boolean => errno === "EACCES" || errno === "EPERM";
/** Also where a directory on the way became something else in this moment. */
const isGone = (errno: string): boolean => errno === "ENOENT" || errno === "ENOTDIR" || errno === "ELOOP";

function kindOf(what: BigIntStats | Dirent): Kind | "FIFO" | "socket" | "device" {
  if (what.isDirectory()) return "directory";
  if (what.isFile()) return "file";
  if (what.isSymbolicLink()) return "symlink";
  if (what.isFIFO()) return "FIFO";
  return what.isSocket() ? "socket" : "device";
}
