/**
 * Worker entry: one part of a layer into a root's tree in staging: directories made, files hardlinked, symlinks made anew.
 *
 * It follows the changeset and nothing else: no directory is read. A part is a run of the depth-first changeset; it makes the
 * directories that it starts in, so that parts may be linked side by side, and leaves the attributes of those that reach
 * beyond it to `settle`. A file that cannot get another link is copied, and counted with the errno that made it so.
 */
import { closeSync, futimesSync, linkSync, lutimesSync, mkdirSync, openSync, symlinkSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { Entry } from "../src/overlap/changeset.js";
import {
  type DirectoryAttributes,
  type LinkResult,
  type LinkTask,
  type Outcome,
  outcomeOf,
  TaskProgress,
} from "../src/tasks.js";
import { type StoredChangeset, withChangeset } from "./changeset-file.js";
import { copyInode } from "./copy-inode.js";
import { diskPath, fromHere } from "./disk-path.js";
import { IMPLIED_MODE, setDirectoryAttributes, storedDirectoryMode, storedFileMode } from "./stored-mode.js";

const PROGRESS_EVERY = 256;

type FileEntry = Entry & { readonly type: "file" };

export default (task: LinkTask): Promise<Outcome<LinkResult>> => outcomeOf("Cannot link the root", () => link(task));

function link(task: LinkTask): LinkResult {
  const progress = new TaskProgress(task.progress);
  progress.activity = "working";
  return withChangeset(task.layer.changeset, (changeset) => new Linker(task, changeset).link(progress));
}

class Linker {
  readonly #from: string;
  readonly #to: string;
  readonly #changeset: StoredChangeset;
  readonly #part: LinkTask["part"];
  /** Directories that the next part goes on with. */
  readonly #shared: ReadonlySet<string>;
  readonly #open: DirectoryAttributes[] = [];
  /** Their times would change with every entry made in them: set last, innermost first. */
  readonly #own: DirectoryAttributes[] = [];
  #emptyFiles: ReadonlyMap<string, FileEntry> | undefined;
  #files = 0;
  #copied = 0;
  #because: string | undefined;

  constructor({ layer, part, tree }: LinkTask, changeset: StoredChangeset) {
    this.#from = `${fromHere(layer.tree)}/`;
    this.#to = `${fromHere(tree)}/`;
    this.#changeset = changeset;
    this.#part = part;
    const next = this.#changeset.following(part.index, part.of);
    this.#shared = new Set(next === undefined ? [] : ancestors(next.path));
  }

  link(progress: TaskProgress): LinkResult {
    let done = 0;
    for (const entry of this.#changeset.part(this.#part.index, this.#part.of)) {
      if (done === 0) for (const path of ancestors(entry.path)) ensureDirectory(diskPath(this.#to, path));
      this.#apply(entry);
      done += 1;
      if (done % PROGRESS_EVERY !== 0) continue;
      progress.entries = done;
      progress.throwIfCancelled();
    }
    progress.entries = done;
    for (const directory of this.#own.reverse()) setDirectoryAttributes(this.#to, directory);
    const because = this.#because === undefined ? {} : { because: this.#because };
    return { files: this.#files, copied: this.#copied, open: this.#open, ...because };
  }

  #apply(entry: Entry): void {
    switch (entry.type) {
      case "dir":
        this.#directory({ path: entry.path, mode: storedDirectoryMode(entry.mode), mtime: entry.mtime });
        return;
      case "implied":
        this.#directory({ path: entry.path, mode: IMPLIED_MODE, mtime: 0 });
        return;
      case "file":
        this.#file(entry.path, entry.size === 0 ? entry : undefined);
        return;
      case "hardlink":
        this.#file(entry.path, this.#emptyFile(entry.target));
        return;
      case "symlink": {
        const path = diskPath(this.#to, entry.path);
        symlinkSync(diskPath("", entry.target), path);
        lutimesSync(path, entry.mtime, entry.mtime);
        return;
      }
      default:
        throw new Error(`a ${entry.type} is nothing to link`);
    }
  }

  #directory(directory: DirectoryAttributes): void {
    const path = diskPath(this.#to, directory.path);
    if (this.#shared.has(directory.path)) {
      ensureDirectory(path);
      this.#open.push(directory);
    } else {
      mkdirSync(path, IMPLIED_MODE);
      this.#own.push(directory);
    }
  }

  /** Empty files are created, never linked: they are the inode that runs out of links. */
  #file(path: string, empty: FileEntry | undefined): void {
    this.#files += 1;
    const to = diskPath(this.#to, path);
    if (empty !== undefined) createEmpty(to, empty);
    else this.#link(diskPath(this.#from, path), to);
  }

  /** What a hard link names, where that is a file without content. Only layers with hard links pay for the search. */
  #emptyFile(target: string): FileEntry | undefined {
    this.#emptyFiles ??= new Map(
      Array.from(this.#changeset.emptyFiles(), (entry) => [entry.path, entry as FileEntry] as const),
    );
    return this.#emptyFiles.get(target);
  }

  #link(from: string | Buffer, to: string | Buffer): void {
    try {
      linkSync(from, to);
    } catch (error) {
      if (systemErrorCode(error) !== "EMLINK") throw error;
      copyInode(from, to);
      this.#copied += 1;
      this.#because ??= "EMLINK";
    }
  }
}

function ensureDirectory(path: string | Buffer): void {
  try {
    mkdirSync(path, IMPLIED_MODE);
  } catch (error) {
    if (systemErrorCode(error) !== "EEXIST") throw error;
  }
}

function createEmpty(path: string | Buffer, { mode, mtime }: FileEntry): void {
  const fd = openSync(path, "wx", storedFileMode(mode));
  futimesSync(fd, mtime, mtime);
  closeSync(fd);
}

function* ancestors(path: string): Generator<string> {
  for (let slash = path.indexOf("/"); slash !== -1; slash = path.indexOf("/", slash + 1)) yield path.slice(0, slash);
}
