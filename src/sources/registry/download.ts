/**
 * A blob on its way from a registry into a file that somebody already reads.
 *
 * The file only ever grows and what is written stays: a broken connection goes on where it stopped, by a range or, where the
 * registry ignores ranges, by reading again and skipping. Whether the bytes are right is the reader's to check.
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { toStrataError } from "../../errors.js";
import { free } from "../../freed-chunk.js";
import { GrowthWriter } from "../../growth.js";
import type { Descriptor } from "../../oci/documents.js";
import { sizeMismatch } from "../checked-document.js";
import type { Blob } from "../source.js";
import { type RegistryClient, refuseOtherLength } from "./client.js";
import type { Answer } from "./exchange.js";
import { cancelled, TransientError } from "./failures.js";
import { withRetries } from "./retry.js";
import type { RegistryTimings } from "./timings.js";

export interface DownloadOptions {
  readonly client: RegistryClient;
  readonly timings: RegistryTimings;
  readonly signal: AbortSignal;
}

/** Resolves when the first byte is in the file (or the empty blob is complete); see ImageSource.blob. */
export async function download(descriptor: Descriptor, path: string, options: DownloadOptions): Promise<Blob> {
  const growth = new GrowthWriter();
  let begun: () => void = () => {};
  const firstByte = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const advance = (bytes: number) => {
    growth.advance(bytes);
    begun();
  };
  const done = fill(descriptor, path, { ...options, advance }).then(
    () => growth.complete(),
    (error: unknown) => {
      growth.fail();
      throw toStrataError(error, "Cannot write the blob");
    },
  );
  await Promise.race([firstByte, done]);
  // The caller may look at `done` only later, or never.
  done.catch(() => {});
  return { path, offset: 0, length: descriptor.size, digestIsOfBytes: true, growth: growth.shared, done };
}

interface Filling extends DownloadOptions {
  readonly advance: (bytes: number) => void;
}

/** Each write is a trip to libuv's pool, and wakes two threads: a chunk of the network is a quarter of that. */
const GATHERED_BYTES = 256 * 1024;
/** What has come is in the file after this long, and at once where nothing was written for as long. */
const GATHERED_MS = 50;

const FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

async function fill(descriptor: Descriptor, path: string, filling: Filling): Promise<void> {
  const handle = await open(path, FLAGS, 0o600);
  try {
    const file = new GrowingFile(handle, descriptor, filling.advance);
    const { client, timings, signal } = filling;
    await withRetries(
      async () => file.append(await client.blob(descriptor.digest, file.bytes, signal), signal),
      timings,
      signal,
    );
  } finally {
    await handle.close();
  }
}

/** How far one blob has come, over all tries. */
class GrowingFile {
  readonly #handle: FileHandle;
  readonly #descriptor: Descriptor;
  readonly #advance: (bytes: number) => void;
  /** In the file. */
  bytes = 0;
  /** In the file, or on the way there. */
  #taken = 0;
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  #lastWrite = Number.NEGATIVE_INFINITY;
  #late: NodeJS.Timeout | undefined;
  /** One after another; once one has failed, all do. */
  #writing = Promise.resolve();

  constructor(handle: FileHandle, descriptor: Descriptor, advance: (bytes: number) => void) {
    this.#handle = handle;
    this.#descriptor = descriptor;
    this.#advance = advance;
  }

  /**
   * Reads no further than the first chunk that is too much. SIZE_MISMATCH: final where there is too much or the answer announces
   * another length, transient where it ends too early.
   */
  async append(answer: Answer, signal: AbortSignal): Promise<void> {
    const { size } = this.#descriptor;
    let position = answer.status === 206 ? this.bytes : 0;
    refuseOtherLength(answer, this.#descriptor, size - position);
    try {
      for await (const chunk of answer.body) {
        if (signal.aborted) throw cancelled();
        const end = position + chunk.byteLength;
        if (end > size) throw sizeMismatch(this.#descriptor, end);
        if (end > this.#taken) await this.#gather(chunk.subarray(Math.max(0, this.#taken - position)));
        position = end;
      }
    } finally {
      await this.#write();
    }
    if (position === size) return;
    const { code, message, options } = sizeMismatch(this.#descriptor, position);
    throw new TransientError(code, message, options);
  }

  async #gather(bytes: Uint8Array): Promise<void> {
    this.#gathered.push(bytes);
    this.#gatheredBytes += bytes.byteLength;
    this.#taken += bytes.byteLength;
    const isSlow = performance.now() - this.#lastWrite > GATHERED_MS;
    if (isSlow || this.#gatheredBytes >= GATHERED_BYTES) await this.#write();
    // A failure is told by the next write, which there is before this ends.
    else this.#late ??= setTimeout(() => this.#write().catch(() => undefined), GATHERED_MS);
  }

  #write(): Promise<void> {
    clearTimeout(this.#late);
    this.#late = undefined;
    this.#writing = this.#writing.then(() => this.#writeGathered());
    return this.#writing;
  }

  async #writeGathered(): Promise<void> {
    if (this.#gatheredBytes === 0) return;
    const chunks = this.#gathered;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    for (let left: readonly Uint8Array[] = chunks; left.length > 0; ) {
      const { bytesWritten } = await this.#handle.writev(left, this.bytes);
      this.bytes += bytesWritten;
      left = behind(left, bytesWritten);
    }
    for (const chunk of chunks) free(chunk);
    this.#lastWrite = performance.now();
    this.#advance(this.bytes);
  }
}

/** What is left of the chunks when so many bytes of them are gone. */
function behind(chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let gone = bytes;
  return chunks.flatMap((chunk) => {
    const left = chunk.subarray(Math.min(gone, chunk.byteLength));
    gone -= chunk.byteLength - left.byteLength;
    return left.byteLength === 0 ? [] : [left];
  });
}
