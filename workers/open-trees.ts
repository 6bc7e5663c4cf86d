/**
 * The trees of several layers, each opened when it is first read from. Some stay open at a time: an image may have hundreds of layers, and a
 * process has a thousand descriptors.
 */
import { closeSync } from "node:fs";
import { fromHere } from "./disk-path.js";
import { OpenDirectories, openDirectory } from "./open-directories.js";

/** A path has up to 128 directories, and each thread has trees of its own; neighbours in a tree are mostly of a few layers. */
const MAX_OPEN_TREES = 8;

interface OpenTree {
  readonly descriptor: number;
  readonly directories: OpenDirectories;
}

export class OpenTrees {
  readonly #paths: readonly string[];
  /** What was opened first stands first. */
  readonly #open = new Map<number, OpenTree>();

  constructor(paths: readonly string[]) {
    this.#paths = paths;
  }

  /** The directories of one tree; valid until the next call. */
  of(tree: number): OpenDirectories {
    const open = this.#open.get(tree) ?? this.#opened(tree);
    return open.directories;
  }

  close(): void {
    for (const tree of [...this.#open.keys()]) this.#close(tree);
  }

  #opened(tree: number): OpenTree {
    const [first] = this.#open.keys();
    if (first !== undefined && this.#open.size === MAX_OPEN_TREES) this.#close(first);
    const path = this.#paths[tree];
    if (path === undefined) throw new Error(`there is no tree ${tree}`);
    const descriptor = openDirectory(fromHere(path));
    const open = { descriptor, directories: new OpenDirectories(descriptor) };
    this.#open.set(tree, open);
    return open;
  }

  #close(tree: number): void {
    const open = this.#open.get(tree);
    this.#open.delete(tree);
    open?.directories.close();
    if (open !== undefined) closeSync(open.descriptor);
  }
}
