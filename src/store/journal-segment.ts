/**
 * One segment of the journal as a file: lines that are only ever added at its end, whole or not at all, and read again in bounded
 * memory. Does not know what a line says.
 */
import { type FileHandle, open } from "node:fs/promises";
import { MAX_JOURNAL_LINE_BYTES } from "../limits.js";

/** What a segment needs of its file. */
export type SegmentFile = Pick<FileHandle, "write" | "datasync" | "truncate" | "close">;
export type OpenSegment = (path: string) => Promise<SegmentFile>;

/** Jobs and where their images come from are their owner's business. */
const SEGMENT_MODE = 0o600;

export const openSegment: OpenSegment = async (path) =>
  open(path, "r+").catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
    return open(path, "wx", SEGMENT_MODE);
  });

export class Segment {
  readonly #file: SegmentFile;
  #bytes: number;
  #isSynced: boolean;

  /** `bytes` of the file are whole lines; what stands behind them is cut off by the next append. */
  constructor(file: SegmentFile, bytes: number) {
    this.#file = file;
    this.#bytes = bytes;
    this.#isSynced = false;
  }

  /** Of whole lines. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds whole lines; with `sync` they are on the disk when it returns. Where it throws, nothing is to be added before `cutBack`. */
  async append(lines: string, { sync }: { readonly sync: boolean }): Promise<void> {
    const bytes = Buffer.from(lines);
    for (let done = 0; done < bytes.byteLength; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.byteLength - done, this.#bytes + done);
      done += bytesWritten;
    }
    if (bytes.byteLength > 0) this.#isSynced = false;
    if (sync) await this.sync();
    this.#bytes += bytes.byteLength;
  }

  async sync(): Promise<void> {
    if (this.#isSynced) return;
    await this.#file.datasync();
    this.#isSynced = true;
  }

  /** Takes away what a failed append left behind the whole lines. */
  async cutBack(): Promise<void> {
    await this.#file.truncate(this.#bytes);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

export interface LinesRead {
  /** Of whole lines, with their newlines. */
  readonly bytes: number;
  /** Behind the last newline. */
  readonly tornBytes: number;
  /** Lines beyond MAX_JOURNAL_LINE_BYTES, which `take` did not get. */
  readonly tooLong: number;
}

const CHUNK_BYTES = 256 * 1024;

/** Gives each whole line, without its newline, to `take`, which must not keep it and ends the reading with false. */
export async function readLines(path: string, take: (line: Buffer) => boolean | undefined): Promise<LinesRead> {
  const file = await open(path, "r");
  try {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let rest: Buffer = Buffer.alloc(0);
    /** Of an overlong line, of which no more than this number is kept. */
    let skipped = 0;
    let [bytes, tooLong] = [0, 0];
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES);
      if (bytesRead === 0) return { bytes, tornBytes: skipped + rest.byteLength, tooLong };
      let from = 0;
      for (;;) {
        const end = chunk.subarray(0, bytesRead).indexOf(NEWLINE, from);
        if (end === -1) break;
        const piece = chunk.subarray(from, end);
        const length = skipped + rest.byteLength + piece.byteLength;
        bytes += length + 1;
        from = end + 1;
        if (length > MAX_JOURNAL_LINE_BYTES) tooLong += 1;
        else if (take(rest.byteLength === 0 ? piece : Buffer.concat([rest, piece])) === false)
          return { bytes, tornBytes: 0, tooLong };
        rest = Buffer.alloc(0);
        skipped = 0;
      }
      rest = Buffer.concat([rest, chunk.subarray(from, bytesRead)]);
      if (skipped > 0 || rest.byteLength > MAX_JOURNAL_LINE_BYTES) {
        skipped += rest.byteLength;
        rest = Buffer.alloc(0);
      }
    }
  } finally {
    await file.close();
  }
}

const NEWLINE = 0x0a;
