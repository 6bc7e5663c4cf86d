/**
 * How a root gets a file of a layer: a hard link to it, or a copy that is the root's own.
 *
 * Nothing is done instead of what was asked for in silence: a file that has no link left gets a second inode, which later roots link
 * (store.md, spill), counted with the errno; a file system that cannot share blocks is refused.
 */
import { createHash } from "node:crypto";
import { chmodSync, constants, copyFileSync, linkSync, mkdirSync, rmSync, utimesSync } from "node:fs";
import { StrataError, systemErrorCode } from "../src/errors.js";
import type { FileEntry } from "../src/overlap/changeset.js";
import type { FileMode, LinkedLayer } from "../src/tasks.js";
import { copyInode } from "./copy-inode.js";
import { diskPath, fromHere } from "./disk-path.js";
import { storedFileMode } from "./stored-mode.js";

export interface Source {
  readonly layer: LinkedLayer;
  /** Bytes, latin1. */
  readonly from: string;
}

export class FileMaker {
  readonly #mode: FileMode;
  copied = 0;
  copiedBytes = 0;
  because: string | undefined;

  constructor(mode: FileMode) {
    this.#mode = mode;
  }

  /** What a file gets of its archive's permissions: those that others share are nobody's to write. */
  modeOf({ mode }: FileEntry): number {
    return this.#mode === "hardlink" ? storedFileMode(mode) : mode;
  }

  /** Creates `to`. NO_REFLINK. */
  make(source: Source, to: string | Buffer, entry: FileEntry | undefined): void {
    const from = diskPath(`${fromHere(source.layer.tree)}/`, source.from);
    if (this.#mode === "hardlink") this.#link(source, from, to);
    else if (entry !== undefined) this.#copy(from, to, entry);
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

  #link(source: Source, from: string | Buffer, to: string | Buffer): void {
    try {
      linkSync(from, to);
    } catch (error) {
      if (systemErrorCode(error) !== "EMLINK") throw error;
      this.because ??= "EMLINK";
      this.#linkSpilled(source, from, to);
    }
  }

  /** A further inode is a file of its own until it is linked into the spill: whoever comes first there has made the next one for all. */
  #linkSpilled({ layer, from: name }: Source, from: string | Buffer, to: string | Buffer): void {
    const spill = fromHere(layer.spill);
    mkdirSync(spill, { recursive: true });
    const key = createHash("sha256").update(name, "latin1").digest("hex").slice(0, 32);
    for (let n = 0; ; n += 1) {
      const further = `${spill}/${key}-${n}`;
      const linked = tried(() => linkSync(further, to));
      if (linked === undefined) return;
      if (linked === "EMLINK") continue;
      if (linked !== "ENOENT")
        throw new StrataError("STORE_IO", `Cannot link the root: ${linked}`, { details: { errno: linked } });
      copyInode(from, to);
      const kept = tried(() => linkSync(to, further));
      if (kept === undefined) {
        this.copied += 1;
        return;
      }
      rmSync(to);
      n -= 1; // another root was quicker: that one's
    }
  }
}

const CANNOT_CLONE: ReadonlySet<string> = new Set(["ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EXDEV", "ENOTTY"]);

/** The errno of what was tried; undefined where it went well. */
function tried(action: () => void): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === undefined) throw error;
    return errno;
  }
}
