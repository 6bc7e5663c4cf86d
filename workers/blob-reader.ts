/**
 * Reads a blob's bytes from its file, which may still be growing, and hashes them on the way. The file is opened once; reads
 * are synchronous, because a worker has nothing better to do and the codec's own threads do not wait for them.
 */
import { createHash, type Hash } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { StrataError, systemErrorCode } from "../src/errors.js";
import { GrowthReader } from "../src/growth.js";
import type { TaskProgress, UnpackTask } from "../src/tasks.js";

const CHUNK_BYTES = 256 * 1024;
const OPEN = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

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

  /** The next bytes; undefined at the blob's end. The buffer is the caller's. SIZE_MISMATCH where the file ends early; CANCELLED. */
  async next(): Promise<Buffer | undefined> {
    const { offset, length } = this.#blob;
    this.#progress.throwIfCancelled();
    if (this.#read >= length) return undefined;
    const available = this.#growth === undefined ? length : Math.min(length, await this.#grown(this.#growth));
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, available - this.#read));
    const bytes = readSync(this.#fd, buffer, 0, buffer.length, offset + this.#read);
    if (bytes === 0)
      throw new StrataError(
        "SIZE_MISMATCH",
        `Cannot read the layer's blob: it ends after ${this.#read} of ${length} bytes`,
      );
    this.#read += bytes;
    this.#progress.bytesRead = this.#read;
    const chunk = buffer.subarray(0, bytes);
    this.#hash.update(chunk);
    return chunk;
  }

  async #grown(growth: GrowthReader): Promise<number> {
    this.#progress.activity = "waiting";
    await growth.beyond(this.#read, () => !this.#progress.isCancelled);
    this.#progress.activity = "working";
    this.#progress.throwIfCancelled();
    if (growth.bytes > this.#read) return growth.bytes;
    const how = growth.state === "failed" ? "its download failed" : "its download ended";
    throw new StrataError(
      "SIZE_MISMATCH",
      `Cannot read the layer's blob: ${how} after ${this.#read} of ${this.#blob.length} bytes`,
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
    return openSync(path, OPEN);
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno === "ELOOP" || errno === "ENXIO") throw notRegular();
    if (errno !== "ENOENT" && errno !== "ENOTDIR") throw error;
    throw new StrataError("BLOB_UNKNOWN", "Cannot read the layer's blob: it is gone");
  }
}

const notRegular = (): StrataError =>
  new StrataError("LAYOUT_INVALID", "Cannot read the layer's blob: it is no regular file");
