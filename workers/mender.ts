/**
 * The hands of a repair: puts what a list says in the place of what was found wrong, by descriptor as the check looked at it
 * (open-directories.ts). Contents come from a tree of the same layer that was just unpacked, or, in a root, from its layers.
 */
import {
  chmodSync,
  closeSync,
  fchmodSync,
  fstatSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  renameSync,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { systemErrorCode } from "../src/errors.js";
import type { MendTask, TreeFinding } from "../src/findings.js";
import { baseName, type FileEntry, parentPath } from "../src/overlap/changeset.js";
import type { DirectoryAttributes } from "../src/root-tasks.js";
import { diskPath, fromHere } from "./disk-path.js";
import { createEmpty } from "./empty-file.js";
import { FileMaker } from "./file-modes.js";
import { type ListedThing, listedThings } from "./listed-things.js";
import { inDirectory, OpenDirectories, openDirectory } from "./open-directories.js";
import { IMPLIED_MODE, storedFileMode } from "./stored-mode.js";

/** What its owner needs to put something into a directory, and to take something out of it. */
const OWN = 0o700;

export class Mender {
  readonly #task: MendTask;
  readonly #aside: string;
  #count = 0;
  /** The errno of the first thing that the last pass could not do. */
  because: string | undefined;

  constructor(task: MendTask) {
    this.#task = task;
    this.#aside = `${fromHere(task.aside)}/`;
  }

  /** What cannot be mended stays as it is. */
  apply(findings: readonly TreeFinding[]): void {
    this.because = undefined;
    this.#mendTop(findings);
    this.#trying(() => {
      const tree = openDirectory(fromHere(this.#task.checked.tree));
      const { fresh } = this.#task;
      const source = fresh === undefined ? undefined : openDirectory(fromHere(fresh));
      const work = new Mending(tree, source, this.#task, {
        next: () => `${this.#aside}${this.#count++}`,
        trying: (action) => this.#trying(action),
      });
      try {
        work.run(findings);
      } finally {
        work.close();
        closeSync(tree);
        if (source !== undefined) closeSync(source);
      }
    });
  }

  /** The tree itself is gone, something else, or closed. */
  #mendTop(findings: readonly TreeFinding[]): void {
    const { tree } = this.#task.checked;
    for (const { path, code } of findings) {
      if (path !== "") continue;
      this.#trying(() => {
        if (code === "CONTENT") renameSync(tree, `${this.#aside}${this.#count++}`);
        if (code === "MODE") chmodSync(tree, IMPLIED_MODE);
        else mkdirSync(tree, IMPLIED_MODE);
      });
    }
  }

  #trying(action: () => void): void {
    try {
      action();
    } catch (error) {
      const errno = systemErrorCode(error);
      if (errno === undefined) throw error;
      this.because ??= errno;
    }
  }
}

interface Tools {
  /** A path in the directory for what is in the way, or is being made: another each time. */
  readonly next: () => string;
  readonly trying: (action: () => void) => void;
}

/** One pass. */
class Mending {
  readonly #task: MendTask;
  readonly #tree: OpenDirectories;
  readonly #other: OpenDirectories;
  readonly #top: number;
  readonly #fresh: OpenDirectories | undefined;
  readonly #tools: Tools;
  readonly #wanted = new Map<string, TreeFinding>();
  /** Their times change with what is put into them. */
  readonly #touched = new Set<string>();

  constructor(tree: number, fresh: number | undefined, task: MendTask, tools: Tools) {
    this.#task = task;
    this.#top = tree;
    this.#tree = new OpenDirectories(tree);
    this.#other = new OpenDirectories(tree);
    this.#fresh = fresh === undefined ? undefined : new OpenDirectories(fresh);
    this.#tools = tools;
  }

  run(findings: readonly TreeFinding[]): void {
    for (const finding of findings) {
      if (finding.spill !== undefined) this.#tools.trying(() => this.#takeSpill(finding.spill ?? ""));
      else if (finding.code === "EXTRA") this.#tools.trying(() => this.#take(finding.path));
      else if (finding.code !== "DOCUMENT" && finding.path !== "") this.#wanted.set(finding.path, finding);
    }
    for (const thing of listedThings(this.#task.checked, new Set(this.#wanted.keys()))) {
      const finding = this.#wanted.get(thing.path);
      if (finding !== undefined) this.#tools.trying(() => this.#mend(thing, finding));
    }
    const attributes: DirectoryAttributes[] = [];
    for (const { path, directory } of listedThings(this.#task.checked, this.#touched))
      if (directory !== undefined) attributes.push({ ...directory, path });
    for (const directory of attributes.reverse()) this.#tools.trying(() => this.#settle(directory));
  }

  close(): void {
    this.#tree.close();
    this.#other.close();
    this.#fresh?.close();
  }

  #mend(thing: ListedThing, { code }: TreeFinding): void {
    const { path, directory, file, symlink } = thing;
    if (directory !== undefined) {
      if (code !== "MODE") this.#makeDirectory(path);
      this.#touched.add(path);
    } else if (symlink !== undefined) {
      if (code === "MODE") lutimesSync(this.#tree.at(path), symlink.mtime ?? 0, symlink.mtime ?? 0);
      else this.#put(path, (to) => makeSymlink(to, symlink));
    } else if (file !== undefined) {
      if (code === "MODE") this.#attribute(path, file);
      else if (file.size === 0) this.#put(path, (to) => createEmpty(to, storedFileMode(file.mode), file.mtime));
      else this.#putFile(thing);
    }
  }

  #putFile(thing: ListedThing): void {
    const { path, origin, target } = thing;
    const { checked } = this.#task;
    if (checked.kind === "root") {
      const { layers, index, from, first } = origin as NonNullable<ListedThing["origin"]>;
      this.#put(path, (to) => new FileMaker("hardlink", layers).link({ layer: index, from }, to, first));
    } else if (target !== undefined && !this.#wanted.has(target)) {
      this.#put(path, (to) => linkSync(this.#other.at(target), to));
    } else if (this.#fresh !== undefined) {
      const fresh = this.#fresh;
      own(fresh.descriptorOf(parentPath(path)));
      this.#put(path, (to) => renameSync(fresh.at(path), to));
    }
  }

  /** In the place of whatever is there, by one rename where that is no directory. */
  #put(path: string, make: (to: string) => void): void {
    const to = this.#tools.next();
    make(to);
    if (lstatSync(this.#at(path), { throwIfNoEntry: false })?.isDirectory()) this.#take(path);
    renameSync(to, this.#at(path));
  }

  #makeDirectory(path: string): void {
    if (lstatSync(this.#at(path), { throwIfNoEntry: false }) !== undefined) this.#take(path);
    mkdirSync(this.#at(path), IMPLIED_MODE);
  }

  #take(path: string): void {
    const at = this.#at(path);
    if (lstatSync(at).isDirectory()) chmodSync(at, OWN); // its `..` changes, which its own permissions may forbid
    renameSync(at, this.#tools.next());
  }

  #takeSpill(name: string): void {
    const { checked } = this.#task;
    if (checked.kind !== "layer") return;
    renameSync(diskPath(`${fromHere(checked.spill)}/`, name), this.#tools.next());
  }

  #attribute(path: string, { mode, mtime }: FileEntry): void {
    const at = this.#tree.at(path);
    chmodSync(at, storedFileMode(mode));
    utimesSync(at, mtime, mtime);
  }

  #settle({ path, mode, mtime }: DirectoryAttributes): void {
    // Nothing may be opened in a directory that is closed.
    const at = this.#tree.at(path);
    const descriptor = lstatSync(at).isDirectory() ? this.#opened(path) : undefined;
    if (descriptor === undefined) return;
    fchmodSync(descriptor, mode);
    utimesSync(`/proc/self/fd/${descriptor}`, mtime, mtime);
  }

  /** What the fs functions call `path`; its directory takes it. */
  #at(path: string): string | Buffer {
    const parent = parentPath(path);
    const descriptor = parent === "" ? this.#top : this.#opened(parent);
    own(descriptor);
    if (parent !== "") this.#touched.add(parent);
    return inDirectory(descriptor, baseName(path));
  }

  /** Also where its permissions keep its owner out. */
  #opened(path: string): number {
    try {
      return this.#tree.descriptorOf(path);
    } catch (error) {
      if (systemErrorCode(error) !== "EACCES") throw error;
      chmodSync(this.#tree.at(path), OWN);
      this.#touched.add(path);
      return this.#tree.descriptorOf(path);
    }
  }
}

function own(descriptor: number): void {
  const mode = fstatSync(descriptor).mode & 0o7777;
  if ((mode & OWN) !== OWN) fchmodSync(descriptor, mode | OWN);
}

function makeSymlink(to: string, { target, mtime }: NonNullable<ListedThing["symlink"]>): void {
  symlinkSync(diskPath("", target), to);
  if (mtime !== undefined) lutimesSync(to, mtime, mtime);
}
