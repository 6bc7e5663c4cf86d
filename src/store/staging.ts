/**
 * Unfinished things: one directory for this process, one below it for each piece of work. The main thread makes, commits and
 * removes them (invariant 2); everything under staging/ that is not of this process is a predecessor's and is swept at start.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readdir, rmdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { ensureDirectory } from "../ensure-directory.js";
import { systemErrorCode } from "../errors.js";
import type { Log } from "../log.js";
import { succeeds } from "../succeeds.js";
import type { StagingPaths, StoreLayout } from "./layout.js";

const STAGING_MODE = 0o700;

/** Removes a directory with all it holds, off the main thread. */
export type RemoveTree = (path: string) => Promise<void>;

export class Staging {
  readonly #layout: StoreLayout;
  readonly #process: string;
  readonly #removeTree: RemoveTree;
  readonly #log: Log;
  #count = 0;
  /** Pieces of work that have a directory, or are about to. */
  #active = 0;
  #removing: Promise<void> = Promise.resolve();
  /** What could not be removed. */
  readonly #left = new Set<string>();

  constructor(
    layout: StoreLayout,
    options: { readonly bootId: string; readonly removeTree: RemoveTree; readonly log: Log },
  ) {
    this.#layout = layout;
    this.#process = `${options.bootId}-${process.pid}-${randomBytes(6).toString("hex")}`;
    this.#removeTree = options.removeTree;
    this.#log = options.log;
  }

  /** Removes what other processes left; under the store's lock there is no other live one. */
  async sweep(): Promise<number> {
    const left = await readdir(this.#layout.staging, { withFileTypes: true });
    for (const entry of left) {
      const path = join(this.#layout.staging, entry.name);
      if (entry.isDirectory()) await this.discard(path);
      else await unlink(path).catch((error: unknown) => this.#log.warn("staging.left", { path, error }));
    }
    return left.length;
  }

  /** Runs `work` with a new directory (0700) and removes what is left of it afterwards, however it ends. */
  async with<Value>(work: (paths: StagingPaths) => Promise<Value>, removeTree = this.#removeTree): Promise<Value> {
    this.#active += 1;
    try {
      const paths = await this.#create();
      try {
        return await work(paths);
      } finally {
        await this.discard(paths.directory, removeTree);
      }
    } finally {
      this.#active -= 1;
      if (this.#active === 0) await this.#removeOwn();
    }
  }

  /**
   * Something was renamed into staging to be removed: never fails, because nothing depends on it any more. What could not be removed
   * is tried again with the next, one each time: a disk that refuses must not make all work slow.
   */
  async discard(path: string, removeTree = this.#removeTree): Promise<void> {
    const [left] = this.#left;
    if (left !== undefined) this.#left.delete(left);
    for (const tried of left === undefined ? [path] : [path, left]) {
      try {
        // What was made there has left it, nearly always: no thread is wanted for that.
        if (!(await removedEmpty(tried))) await removeTree(tried);
      } catch (error) {
        this.#left.add(tried);
        this.#log.warn("staging.left", { path: tried, error });
      }
    }
  }

  /** Nothing is under way: staging is empty, as anybody who looks expects. */
  async #removeOwn(): Promise<void> {
    this.#removing = rmdir(join(this.#layout.staging, this.#process)).catch((error: unknown) => {
      const errno = systemErrorCode(error);
      if (errno !== "ENOENT" && errno !== "ENOTEMPTY") this.#log.warn("staging.left", { path: this.#process, error });
    });
    await this.#removing;
  }

  async #create(): Promise<StagingPaths> {
    await this.#removing;
    this.#count += 1;
    const paths = this.#layout.stagingPaths(this.#process, this.#count);
    await ensureDirectory(join(this.#layout.staging, this.#process), STAGING_MODE);
    await mkdir(paths.directory, STAGING_MODE);
    return paths;
  }
}

/** False where it is not empty, or anything else keeps it there. */
const removedEmpty = (path: string): Promise<boolean> => succeeds(rmdir(path));
