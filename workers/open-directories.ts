/**
 * The directories of one tree, opened one below the other and never through a symlink. What is made in them is named by descriptor:
 * `/proc/self/fd/N/name` is what Linux has for openat(2) where a program only has paths.
 *
 * So whatever somebody puts in a directory's place while the tree is being written, nothing is made outside of it.
 */
import { closeSync, constants, openSync } from "node:fs";
import { diskPath } from "./disk-path.js";

const OPEN = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** The caller closes it. ENOTDIR where it is a symlink. */
export const openDirectory = (path: string | Buffer): number => openSync(path, OPEN);

/** What the fs functions call `name` (bytes, latin1) in the directory of that descriptor. */
export const inDirectory = (descriptor: number, name: string): string | Buffer =>
  diskPath(`/proc/self/fd/${descriptor}/`, name);

interface OpenDirectory {
  readonly path: string;
  readonly descriptor: number;
}

export class OpenDirectories {
  readonly #top: number;
  /** From the outermost to the one that was asked for last: an archive goes on where it was, or near. */
  readonly #open: OpenDirectory[] = [];

  /** `top` is the tree's own descriptor; it stays the caller's. */
  constructor(top: number) {
    this.#top = top;
  }

  /** What the fs functions call `path` (bytes, latin1); its directory is there. Valid until the next call. */
  at(path: string): string | Buffer {
    const slash = path.lastIndexOf("/");
    if (slash === -1) return inDirectory(this.#top, path);
    return inDirectory(this.descriptorOf(path.slice(0, slash)), path.slice(slash + 1));
  }

  /** The directory itself. Valid until the next call. */
  descriptorOf(path: string): number {
    let last = this.#open.at(-1);
    while (last !== undefined && last.path !== path && !path.startsWith(`${last.path}/`)) {
      this.#open.pop();
      closeSync(last.descriptor);
      last = this.#open.at(-1);
    }
    let descriptor = last?.descriptor ?? this.#top;
    for (let at = last?.path.length ?? -1; at < path.length; ) {
      const slash = path.indexOf("/", at + 1);
      const end = slash === -1 ? path.length : slash;
      descriptor = openDirectory(inDirectory(descriptor, path.slice(at + 1, end)));
      this.#open.push({ path: path.slice(0, end), descriptor });
      at = end;
    }
    return descriptor;
  }

  close(): void {
    for (const { descriptor } of this.#open.splice(0)) closeSync(descriptor);
  }
}
