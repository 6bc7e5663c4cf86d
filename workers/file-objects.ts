/**
 * Files that several layers share: `files/` of the store has one more link to the first inode of each content, stored mode and
 * time, and a later layer's equal file is a link to it (README, Files that layers share).
 *
 * An object vouches for nothing. It is used only where it looks like its name and something besides it holds the inode; one that does
 * not is forgotten, which loses no file of any layer. So no sweep, no crash and no hand-edited store can make a layer wrong.
 */
import { linkSync, lstatSync, mkdirSync, renameSync, unlinkSync } from "node:fs";
import { threadId } from "node:worker_threads";
import { inDirectory } from "./open-directories.js";
import { tried } from "./tried.js";

/** What files must have in common to be one inode. */
export interface FileIdentity {
  readonly sha256: string;
  readonly size: number;
  /** As the store has it (stored-mode.ts). */
  readonly mode: number;
  /** Seconds. */
  readonly mtime: number;
}

/** The object itself, the file that is being made, and whoever offered or linked it before. */
const FEWEST_LINKS = 3;
const SETTABLE = 0o7777;

/** Empty files are nobody's to share: roots have each for itself. */
export const isShareable = ({ size }: Pick<FileIdentity, "size">): boolean => size > 0;

const placeOf = ({ sha256, mode, mtime }: FileIdentity): { readonly directory: string; readonly name: string } => ({
  directory: sha256.slice(0, 2),
  name: `${sha256}-${mode.toString(8)}-${mtime}`,
});

export class FileObjects {
  /** Descriptors, which other threads of this process may use while it is open: of `files/`, and of where a link may stand for a moment. */
  readonly directory: number;
  readonly scratch: number;

  /** Both stay the caller's. */
  constructor(directory: number, scratch: number) {
    this.directory = directory;
    this.scratch = scratch;
  }

  /** Creates `to` as a link to what an earlier layer has. False: nothing was created, the caller writes it. */
  link(file: FileIdentity, to: string | Buffer): boolean {
    const object = this.#pathOf(file);
    const failure = tried(() => linkSync(object, to), ["ENOENT", "EPERM", "EMLINK"]);
    if (failure === "EMLINK") this.forget(file);
    if (failure !== undefined) return false;
    if (isAsNamed(to, file)) return true;
    unlinkSync(to);
    this.forget(file);
    return false;
  }

  /**
   * `at` is finished, mode and time too: later layers may link it. Where another was quicker, `at` becomes a link to that one. True
   * where it did.
   */
  offer(file: FileIdentity, at: string | Buffer): boolean {
    const object = this.#pathOf(file);
    const offered = (): string | undefined =>
      tried(() => linkSync(at, object), ["EEXIST", "ENOENT", "EPERM", "EMLINK"]);
    let failure = offered();
    if (failure === "ENOENT") {
      tried(() => mkdirSync(inDirectory(this.directory, placeOf(file).directory), 0o755), ["EEXIST"]);
      failure = offered();
    }
    return failure === "EEXIST" && this.#replace(file, at);
  }

  /** No later layer links it. Whoever mends an inode's content, mode or time elsewhere than in place calls this. */
  forget(file: FileIdentity): void {
    tried(() => unlinkSync(this.#pathOf(file)), ["ENOENT", "EISDIR", "EPERM"]);
  }

  /** By rename, so that `at` is never missing. */
  #replace(file: FileIdentity, at: string | Buffer): boolean {
    const scratch = inDirectory(this.scratch, `object-${threadId}`);
    if (!this.link(file, scratch)) return false;
    renameSync(scratch, at);
    return true;
  }

  #pathOf(file: FileIdentity): string | Buffer {
    const { directory, name } = placeOf(file);
    return inDirectory(this.directory, `${directory}/${name}`);
  }
}

function isAsNamed(path: string | Buffer, { size, mode, mtime }: FileIdentity): boolean {
  const stat = lstatSync(path);
  const isSameTime = Math.abs(stat.mtimeMs - mtime * 1000) < 1;
  const isHeld = stat.nlink >= FEWEST_LINKS;
  return stat.isFile() && stat.size === size && (stat.mode & SETTABLE) === mode && isSameTime && isHeld;
}
