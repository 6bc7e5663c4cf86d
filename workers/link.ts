/**
 * Worker entry: one part of a layer or a plan into a root's tree in staging: directories made, files linked or copied, symlinks made
 * anew.
 *
 * It follows the entries and nothing else: no directory is read. A part is a run of a depth-first list; it makes the
 * directories that it starts in, so that parts may be linked side by side, and leaves to `settle` the attributes of those that
 * reach beyond it.
 */
import { lutimesSync, mkdirSync, symlinkSync } from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { FileEntry } from "../src/overlap/changeset.js";
import type { PlannedEntry } from "../src/overlap/plan-root.js";
import type { DirectoryAttributes, LinkResult, LinkTask } from "../src/root-tasks.js";
import { TaskProgress } from "../src/task-progress.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { diskPath, fromHere } from "./disk-path.js";
import { createEmpty } from "./empty-file.js";
import { type StoredEntries, withEntries } from "./entries-file.js";
import { FileMaker, type Origin } from "./file-modes.js";
import { directoryAttributes, IMPLIED_MODE, setDirectoryAttributes } from "./stored-mode.js";

const PROGRESS_EVERY = 256;

export default (task: LinkTask): Promise<Outcome<LinkResult>> => outcomeOf("Cannot link the root", () => link(task));

function link(task: LinkTask): LinkResult {
  const progress = new TaskProgress(task.progress);
  progress.activity = "working";
  return withEntries(task.entries, (entries) => new Linker(task, entries).link(progress));
}

class Linker {
  readonly #to: string;
  readonly #entries: StoredEntries;
  readonly #part: LinkTask["part"];
  readonly #files: FileMaker;
  /** Copies are linked among each other when all are there, which changes the directories' times: `settle` does both. */
  readonly #isCopying: boolean;
  /** Directories that the next part goes on with. */
  readonly #shared: ReadonlySet<string>;
  readonly #open: DirectoryAttributes[] = [];
  /** Their times would change with every entry made in them: set last, innermost first. */
  readonly #own: DirectoryAttributes[] = [];
  #emptyFiles: ReadonlyMap<string, FileEntry> | undefined;
  #firstNames: ReadonlyMap<string, string> | undefined;
  #count = 0;

  constructor({ layers, part, tree, mode }: LinkTask, entries: StoredEntries) {
    this.#to = `${fromHere(tree)}/`;
    this.#entries = entries;
    this.#part = part;
    this.#files = new FileMaker(mode, layers);
    this.#isCopying = mode !== "hardlink";
    const next = entries.following(part.index, part.of);
    this.#shared = new Set(next === undefined ? [] : ancestors(next.entry.path));
  }

  link(progress: TaskProgress): LinkResult {
    let done = 0;
    for (const planned of this.#entries.part(this.#part.index, this.#part.of)) {
      if (done === 0) for (const path of ancestors(planned.entry.path)) ensureDirectory(diskPath(this.#to, path));
      this.#apply(planned);
      done += 1;
      if (done % PROGRESS_EVERY === 0) {
        progress.entries = done;
        progress.throwIfCancelled();
      }
    }
    progress.entries = done;
    for (const directory of this.#own.reverse()) setDirectoryAttributes(this.#to, directory);
    const { copied, copiedBytes, because } = this.#files;
    return { files: this.#count, copied, copiedBytes, open: this.#open, ...(because === undefined ? {} : { because }) };
  }

  #apply(planned: PlannedEntry): void {
    const { entry } = planned;
    switch (entry.type) {
      case "dir":
      case "implied":
        this.#directory(directoryAttributes(entry));
        return;
      case "file":
        this.#file(planned, entry.path, entry);
        return;
      case "hardlink":
        this.#hardlink(planned, entry);
        return;
      case "symlink": {
        const path = diskPath(this.#to, entry.path);
        symlinkSync(diskPath("", entry.target), path);
        lutimesSync(path, entry.mtime, entry.mtime);
        return;
      }
    }
  }

  #directory(directory: DirectoryAttributes): void {
    const path = diskPath(this.#to, directory.path);
    if (this.#shared.has(directory.path)) {
      ensureDirectory(path);
      if (!this.#isCopying) this.#open.push(directory);
    } else {
      mkdirSync(path, IMPLIED_MODE);
      if (!this.#isCopying) this.#own.push(directory);
    }
  }

  /** Empty files are created, never linked: they are the inode that runs out of links, and the one that everybody writes to. */
  #file(origin: Origin, path: string, entry: FileEntry): void {
    this.#count += 1;
    const to = diskPath(this.#to, path);
    if (entry.size === 0) createEmpty(to, this.#files.modeOf(entry), entry.mtime);
    else this.#files.makeFile(origin, to, entry);
  }

  #hardlink(origin: Origin, { path, target }: PlannedEntry["entry"] & { type: "hardlink" }): void {
    if (this.#isCopying) return;
    const empty = this.#emptyFile(target);
    if (empty !== undefined) {
      this.#file(origin, path, empty);
      return;
    }
    this.#count += 1;
    this.#files.link(origin, diskPath(this.#to, path), () => this.#firstName(target));
  }

  /** Where the layer has the file at `target`. Only where a file has no link left is it searched for. */
  #firstName(target: string): string {
    this.#firstNames ??= this.#entries.firstNames();
    return this.#firstNames.get(target) as string;
  }

  /** What a hard link names, where that is a file without content. Only layers with hard links pay for the search. */
  #emptyFile(target: string): FileEntry | undefined {
    this.#emptyFiles ??= new Map(
      Array.from(this.#entries.emptyFiles(), ({ entry }) => [entry.path, entry as FileEntry] as const),
    );
    return this.#emptyFiles.get(target);
  }
}

function ensureDirectory(path: string | Buffer): void {
  try {
    mkdirSync(path, IMPLIED_MODE);
  } catch (error) {
    if (systemErrorCode(error) !== "EEXIST") throw error;
  }
}

function* ancestors(path: string): Generator<string> {
  for (let slash = path.indexOf("/"); slash !== -1; slash = path.indexOf("/", slash + 1)) yield path.slice(0, slash);
}
