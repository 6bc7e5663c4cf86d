/**
 * Reads a blob's bytes from its file, which may still be growing, and hashes them on the way. The file is opened once; reads
 * are synchronous, because a worker has nothing better to do.
 */
import { createHash, type Hash } from "node:crypto";
import { closeSync, fstatSync, readSync } from "node:fs";
import { StrataError, systemErrorCode } from "../src/errors.js";
import { GrowthReader } from "../src/growth.js";
import type { TaskProgress } from "../src/task-progress.js";
import type { UnpackTask } from "../src/tasks.js";
import { openToRead } from "./open-to-read.js";

/** A download shows early what it is; later pieces are few, and large. */
const FIRST_PIECE_BYTES = 4 * 1024;
const PIECE_BYTES = 1024 * 1024;

/** Pieces double until they have their size: where one ends depends on nothing but where it starts. */
const pieceBytes = (at: number): number => Math.min(PIECE_BYTES, Math.max(FIRST_PIECE_BYTES, at));

export class BlobReader {
  readonly #fd: number;
  readonly #blob: UnpackTask["blob"];
  readonly #growth: GrowthReader | undefined;
  readonly #hash: Hash;
  readonly #progress: TaskProgress;
  #read = 0;

  constructor(blob: UnpackTask["blob"], algorithm: string, progress: TaskProgress) {
    this.#blob = blob;
    this.#progress = progress;
    this.#growth = blob.growth === undefined ? undefined : new GrowthReader(blob.growth);
    this.#hash = createHash(algorithm);
    this.#fd = openBlob(blob.path);
    if (!fstatSync(this.#fd).isFile()) {
      closeSync(this.#fd);
      throw notRegular();
    }
  }

  get bytesRead(): number {
    return this.#read;
  }

  /**
   * The next bytes; undefined at the blob's end. The buffer is the caller's. Where one piece ends and the next starts is the
   * blob's alone: a codec that fails has given what it made of the pieces before, and that must not be the network's choice.
   * SIZE_MISMATCH where the file ends early; CANCELLED.
   */
  async next(): Promise<Buffer | undefined> {
    const { offset, length } = this.#blob;
    this.#progress.throwIfCancelled();
    const wanted = Math.min(pieceBytes(this.#read), length - this.#read);
    if (wanted === 0) return undefined;
    if (this.#growth !== undefined) await this.#grown(this.#growth, wanted);
    const chunk = Buffer.allocUnsafeSlow(wanted);
    for (let filled = 0; filled < wanted; ) {
      const bytes = readSync(this.#fd, chunk, filled, wanted - filled, offset + this.#read + filled);
      if (bytes === 0) throw this.#ended("it ends", this.#read + filled);
      filled += bytes;
    }
    this.#read += wanted;
    this.#progress.bytesRead = this.#read;
    this.#hash.update(chunk);
    return chunk;
  }

  async #grown(growth: GrowthReader, wanted: number): Promise<void> {
    this.#progress.activity = "waiting";
    await growth.beyond(this.#read + wanted - 1, () => !this.#progress.isCancelled);
    this.#progress.activity = "working";
    this.#progress.throwIfCancelled();
    if (growth.bytes >= this.#read + wanted) return;
    throw this.#ended(growth.state === "failed" ? "its download failed" : "its download ended", growth.bytes);
  }

  #ended(how: string, bytes: number): StrataError {
    return new StrataError(
      "SIZE_MISMATCH",
      `Cannot read the layer's blob: ${how} after ${bytes} of ${this.#blob.length} bytes`,
    );
  }

  /** The hash of everything read, in hex; once, at the end. */
  digest(): string {
    return this.#hash.digest("hex");
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Between the source's look and ours somebody may have put something else there. */
function openBlob(path: string): number {
  try {
    return openToRead(path);
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === "ELOOP" || errno === "ENXIO") throw notRegular();
    if (errno !== "ENOENT" && errno !== "ENOTDIR") throw error;
    throw new StrataError("BLOB_UNKNOWN", "Cannot read the layer's blob: it is gone");
  }
}

const notRegular = (): StrataError =>
  new StrataError("LAYOUT_INVALID", "Cannot read the layer's blob: it is no regular file");
