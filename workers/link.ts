/**
 * Worker entry: one range of a plan into the root's tree in staging: directories made, files hardlinked, symlinks made anew.
 *
 * It follows the plan and nothing else: no directory is read. A file that cannot get another link is copied, and counted with
 * the errno that made it so.
 */
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  futimesSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readSync,
  statSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import { type LinkResult, type LinkTask, type Outcome, outcomeOf, TaskProgress } from "../src/tasks.js";
import { diskPath } from "./disk-path.js";
import { decodeOperations, type LinkOperation } from "./link-operations.js";
import { IMPLIED_MODE } from "./stored-mode.js";

const PROGRESS_EVERY = 256;

export default (task: LinkTask): Promise<Outcome<LinkResult>> => outcomeOf("Cannot link the root", () => link(task));

function link(task: LinkTask): LinkResult {
  const progress = new TaskProgress(task.progress);
  progress.activity = "working";
  const linker = new Linker(task);
  let done = 0;
  for (const operation of decodeOperations(readRange(task))) {
    linker.apply(operation);
    done += 1;
    if (done % PROGRESS_EVERY === 0) progress.entries = done;
  }
  linker.finish();
  progress.entries = done;
  return linker.result();
}

function readRange({ plan, range }: LinkTask): string {
  const bytes = Buffer.allocUnsafe(range.end - range.start);
  const fd = openSync(plan, "r");
  try {
    for (let at = 0; at < bytes.length; ) {
      const read = readSync(fd, bytes, at, bytes.length - at, range.start + at);
      if (read === 0) throw new Error("the plan is shorter than it was");
      at += read;
    }
  } finally {
    closeSync(fd);
  }
  return bytes.toString("latin1");
}

class Linker {
  readonly #tree: string;
  readonly #layers: readonly string[];
  /** Their times would change with every entry made in them: set last, innermost first. */
  readonly #directories: (LinkOperation & { kind: "directory" })[] = [];
  #files = 0;
  #copied = 0;
  #because: string | undefined;

  constructor(task: LinkTask) {
    this.#tree = `${task.tree}/`;
    this.#layers = task.layers.map((layer) => `${layer}/`);
  }

  apply(operation: LinkOperation): void {
    const path = diskPath(this.#tree, operation.path);
    switch (operation.kind) {
      case "link":
        this.#files += 1;
        this.#link(diskPath(this.#layers[operation.layer] as string, operation.path), path);
        return;
      case "directory":
        mkdirSync(path, IMPLIED_MODE);
        this.#directories.push(operation);
        return;
      case "ensure":
        ensureDirectory(path);
        return;
      case "attributes":
        setAttributes(path, operation);
        return;
      case "empty":
        this.#files += 1;
        createEmpty(path, operation);
        return;
      case "symlink":
        symlinkSync(diskPath("", operation.target), path);
        lutimesSync(path, operation.mtime, operation.mtime);
        return;
    }
  }

  finish(): void {
    for (const directory of this.#directories.reverse()) setAttributes(diskPath(this.#tree, directory.path), directory);
  }

  result(): LinkResult {
    const because = this.#because === undefined ? {} : { because: this.#because };
    return { files: this.#files, copied: this.#copied, ...because };
  }

  #link(from: string | Buffer, to: string | Buffer): void {
    try {
      linkSync(from, to);
    } catch (error) {
      if (systemErrorCode(error) !== "EMLINK") throw error;
      copyFileSync(from, to, constants.COPYFILE_EXCL);
      const { mtime } = statSync(from);
      utimesSync(to, mtime, mtime);
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

function setAttributes(
  path: string | Buffer,
  { mode, mtime }: { readonly mode: number; readonly mtime: number },
): void {
  if (mode !== IMPLIED_MODE) chmodSync(path, mode);
  utimesSync(path, mtime, mtime);
}

function createEmpty(path: string | Buffer, { mode, mtime }: { readonly mode: number; readonly mtime: number }): void {
  const fd = openSync(path, "wx", mode);
  futimesSync(fd, mtime, mtime);
  closeSync(fd);
}
