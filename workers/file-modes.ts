/**
 * How a root gets a file of a layer: a hard link to it, or a copy that is the root's own.
 *
 * Nothing is done instead of what was asked for in silence: a file that has no link left gets a second inode, which later roots link
 * (store.md, spill), counted with the errno; a file system that cannot share blocks is refused.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  rmSync,
  utimesSync,
} from "node:fs";
import { StrataError, systemErrorCode } from "../src/errors.js";
import { MAX_FURTHER_INODES } from "../src/limits.js";
import type { FileEntry } from "../src/overlap/changeset.js";
import type { PlannedEntry } from "../src/overlap/plan-root.js";
import type { FileMode, LinkedLayer } from "../src/root-tasks.js";
import { copyInode } from "./copy-inode.js";
import { diskPath, fromHere } from "./disk-path.js";
import { storedFileMode } from "./stored-mode.js";
import { tried } from "./tried.js";

/** Which layer has the file, and where in its tree (bytes, latin1). */
export type Origin = Pick<PlannedEntry, "layer" | "from">;

export class FileMaker {
  readonly #mode: FileMode;
  readonly #trees: readonly string[];
  readonly #spills: readonly string[];
  copied = 0;
  copiedBytes = 0;
  because: string | undefined;

  constructor(mode: FileMode, layers: readonly LinkedLayer[]) {
    this.#mode = mode;
    this.#trees = layers.map(({ tree }) => `${fromHere(tree)}/`);
    this.#spills = layers.map(({ spill }) => fromHere(spill));
  }

  /** What a file gets of its archive's permissions: those that others share are nobody's to write. */
  modeOf({ mode }: FileEntry): number {
    return this.#mode === "hardlink" ? storedFileMode(mode) : mode;
  }

  /** Creates `to` from what the layer has there, a link to it or a copy with the entry's attributes. NO_REFLINK. */
  makeFile(origin: Origin, to: string | Buffer, entry: FileEntry): void {
    if (this.#mode === "hardlink") this.link(origin, to, () => origin.from);
    else this.#copy(this.#pathOf(origin), to, entry);
  }

  /** Creates `to` as a link; `first` names the file among its names, so that all are one inode also where they are a further one. */
  link(origin: Origin, to: string | Buffer, first: () => string): void {
    const path = this.#pathOf(origin);
    if (tried(() => linkSync(path, to), ["EMLINK"]) === "EMLINK")
      this.#linkSpilled({ layer: origin.layer, from: first() }, path, to);
  }

  #pathOf({ layer, from }: Origin): string | Buffer {
    return diskPath(this.#trees[layer] as string, from);
  }

  #copy(from: string | Buffer, to: string | Buffer, entry: FileEntry): void {
    const clone = this.#mode === "reflink" ? constants.COPYFILE_FICLONE_FORCE : 0;
    try {
      copyFileSync(from, to, constants.COPYFILE_EXCL | clone);
    } catch (error) {
      if (this.#mode !== "reflink" || !CANNOT_CLONE.has(systemErrorCode(error) ?? "")) throw error;
      throw new StrataError("NO_REFLINK", "Cannot link the root: its file system does not share blocks between files");
    }
    chmodSync(to, this.modeOf(entry));
    utimesSync(to, entry.mtime, entry.mtime);
    this.copied += 1;
    this.copiedBytes += entry.size;
  }

  /** STORE_IO where there is no end to it. A further inode is a file of its own until it is linked into the spill: whoever comes first there has made the next one for all. */
  #linkSpilled({ layer, from: name }: Origin, from: string | Buffer, to: string | Buffer): void {
    this.because ??= "EMLINK";
    const spill = this.#spills[layer] as string;
    tried(() => mkdirSync(spill), ["EEXIST"]);
    const key = spillKey(name);
    for (let n = 0; n < MAX_FURTHER_INODES; ) {
      const further = `${spill}/${key}-${n}`;
      const linked = tried(() => linkSync(further, to), ["ENOENT", "EMLINK"]);
      if (linked === undefined) return;
      if (linked === "EMLINK") {
        n += 1;
        continue;
      }
      copyInode(from, to);
      // On the disk before it has the name that others link: nobody compares it with anything after a power cut.
      syncFile(to);
      const kept = tried(() => linkSync(to, further), ["EEXIST", "EMLINK"]);
      if (kept === undefined) {
        this.copied += 1;
        return;
      }
      rmSync(to); // another root was quicker: that one's
      if (kept === "EMLINK") break;
    }
    const fact = "its file system gives a file no further name (EMLINK)";
    throw new StrataError("STORE_IO", `Cannot link the root: ${fact}`, { details: { errno: "EMLINK" } });
  }
}

/** What the further inodes of a file are called, before their number. */
export const spillKey = (name: string): string =>
  createHash("sha256").update(name, "latin1").digest("hex").slice(0, 32);

function syncFile(path: string | Buffer): void {
  const descriptor = openSync(path, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

const CANNOT_CLONE: ReadonlySet<string> = new Set(["ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EXDEV", "ENOTTY"]);
