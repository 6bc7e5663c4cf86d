/**
 * A file that is too large for a batch (write-behind.ts), written as it is read. Created as those are: exclusively, never through a
 * link.
 */
import { createHash } from "node:crypto";
import { closeSync, futimesSync, openSync, writeSync } from "node:fs";
import type { FileObjects } from "./file-objects.js";
import { CREATE, type NewFile, type WrittenFile } from "./small-file.js";

export class LargeFile {
  readonly #file: NewFile;
  readonly #descriptor: number;
  readonly #hash = createHash("sha256");

  /** Created at `onDisk`. The caller calls `finish` or `abandon`. */
  constructor(onDisk: string | Buffer, file: NewFile) {
    this.#file = file;
    this.#descriptor = openSync(onDisk, CREATE, file.mode);
  }

  append(piece: Buffer): void {
    this.#hash.update(piece);
    for (let at = 0; at < piece.length; ) at += writeSync(this.#descriptor, piece, at);
  }

  /** All of it was given. What other layers have is only found now, so a shared file spares its bytes and no time. */
  finish(onDisk: string | Buffer, objects: FileObjects | undefined): WrittenFile {
    const { mtime } = this.#file;
    try {
      futimesSync(this.#descriptor, mtime, mtime);
    } finally {
      closeSync(this.#descriptor);
    }
    const sha256 = this.#hash.digest("hex");
    return { sha256, isShared: objects?.offer({ ...this.#file, sha256 }, onDisk) === true };
  }

  abandon(): void {
    closeSync(this.#descriptor);
  }
}
