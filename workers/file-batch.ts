/**
 * A batch of small files in shared memory: one thread fills it, any thread writes it to the disk, the first one reads the
 * hashes back. Owns the layout of that memory.
 */
import { systemErrorCode } from "../src/errors.js";
import { copyBytes } from "./copy-bytes.js";
import { FileObjects } from "./file-objects.js";
import { OpenDirectories } from "./open-directories.js";
import { type NewFile, type WrittenFile, writeSmallFile } from "./small-file.js";

const BATCH_BYTES = 1024 * 1024;
/** One is filled while the others are written. */
const BATCHES = 4;
/** Larger files gain nothing from a second thread and would only be copied. */
export const MAX_BATCHED_BYTES = 512 * 1024;

/** Whose turn a batch is: its owner fills it and collects it; in between, whoever claims it first writes it. */
const STATE = { filling: 0, ready: 1, taken: 2, done: 3 } as const;

/** Control words at the start of the memory, then the errno of a failure, then the records. */
const WORD = { state: 0, files: 1, failed: 2, tree: 3, objects: 4, scratch: 5 } as const;
const ERRNO_AT = 24;
const ERRNO_BYTES = 32;
const NONE = -1;
const RECORDS_AT = 64;

/** A record: path length, size, mode, whether it is shared (uint32), mtime (double), SHA-256 of the content; then the path's bytes and the content. */
const FIELD = { pathBytes: 0, size: 4, mode: 8, isShared: 12, mtime: 16, sha256: 24 } as const;
const HEAD_BYTES = 56;
const HASH_BYTES = 32;

/** Where the files of a batch go, by descriptors that are open until it is done. */
export interface BatchPlace {
  readonly tree: number;
  /** What other layers have of them; absent: each file is written. */
  readonly objects: FileObjects | undefined;
}

/** Those of one thread that fills them. */
export const newBatches = (): FileBatch[] => Array.from({ length: BATCHES }, () => new FileBatch());

export class FileBatch {
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Buffer;
  #end = RECORDS_AT;
  #content = 0;

  constructor(shared = new SharedArrayBuffer(BATCH_BYTES)) {
    this.shared = shared;
    this.#words = new Int32Array(shared, 0, RECORDS_AT / Int32Array.BYTES_PER_ELEMENT);
    this.#bytes = Buffer.from(shared);
  }

  // The owner's side.

  hasRoomFor({ path, size }: NewFile): boolean {
    return this.#end + HEAD_BYTES + path.length + size <= BATCH_BYTES;
  }

  get files(): number {
    return this.#words[WORD.files] as number;
  }

  /** The file's content follows by `append`, exactly `size` bytes of it. */
  add({ path, mode, mtime, size }: NewFile): void {
    const at = this.#end;
    const pathAt = at + HEAD_BYTES;
    this.#bytes.writeUInt32LE(path.length, at + FIELD.pathBytes);
    this.#bytes.writeUInt32LE(size, at + FIELD.size);
    this.#bytes.writeUInt32LE(mode, at + FIELD.mode);
    this.#bytes.writeUInt32LE(0, at + FIELD.isShared);
    this.#bytes.writeDoubleLE(mtime, at + FIELD.mtime);
    this.#bytes.write(path, pathAt, "latin1");
    this.#content = pathAt + path.length;
    this.#end = this.#content + size;
    this.#words[WORD.files] = this.files + 1;
  }

  append(piece: Buffer): void {
    copyBytes(piece, this.#bytes, this.#content);
    this.#content += piece.length;
  }

  /** From now on anybody may claim it. */
  submit({ tree, objects }: BatchPlace): void {
    this.#words[WORD.tree] = tree;
    this.#words[WORD.objects] = objects?.directory ?? NONE;
    this.#words[WORD.scratch] = objects?.scratch ?? NONE;
    Atomics.store(this.#words, WORD.state, STATE.ready);
  }

  get isDone(): boolean {
    return Atomics.load(this.#words, WORD.state) === STATE.done;
  }

  /** Blocks this thread until the one that claimed the batch has written it. */
  waitUntilDone(): void {
    for (;;) {
      const state = Atomics.load(this.#words, WORD.state);
      if (state === STATE.done) return;
      Atomics.wait(this.#words, WORD.state, state);
    }
  }

  /** What became of the files, in order; then the batch is empty. Throws the failure of a system call. */
  collect(): WrittenFile[] {
    const files: WrittenFile[] = [];
    for (const at of this.#records()) {
      const sha256 = this.#bytes.toString("hex", at + FIELD.sha256, at + FIELD.sha256 + HASH_BYTES);
      files.push({ sha256, isShared: this.#bytes.readUInt32LE(at + FIELD.isShared) === 1 });
    }
    const failure = Atomics.load(this.#words, WORD.failed) === 0 ? undefined : this.#failure();
    this.clear();
    if (failure !== undefined) throw failure;
    return files;
  }

  clear(): void {
    this.#words.fill(0);
    this.#end = RECORDS_AT;
  }

  // Whoever writes it.

  /** True for the one thread that is to write it. */
  claim(): boolean {
    return Atomics.compareExchange(this.#words, WORD.state, STATE.ready, STATE.taken) === STATE.ready;
  }

  /** After a claim. Never throws: the owner learns of a failure when it collects. */
  write(): void {
    const directories = new OpenDirectories(this.#words[WORD.tree] as number);
    try {
      const objects = this.#objects();
      for (const at of this.#records()) this.#writeFile(at, directories, objects);
    } catch (error) {
      this.#bytes.fill(0, ERRNO_AT, ERRNO_AT + ERRNO_BYTES);
      this.#bytes.write(systemErrorCode(error) ?? String(error), ERRNO_AT, ERRNO_BYTES - 1, "latin1");
      Atomics.store(this.#words, WORD.failed, 1);
    } finally {
      directories.close();
    }
    Atomics.store(this.#words, WORD.state, STATE.done);
    Atomics.notify(this.#words, WORD.state);
  }

  #objects(): FileObjects | undefined {
    const directory = this.#words[WORD.objects] as number;
    return directory === NONE ? undefined : new FileObjects(directory, this.#words[WORD.scratch] as number);
  }

  #writeFile(at: number, directories: OpenDirectories, objects: FileObjects | undefined): void {
    const size = this.#bytes.readUInt32LE(at + FIELD.size);
    const mtime = this.#bytes.readDoubleLE(at + FIELD.mtime);
    const pathAt = at + HEAD_BYTES;
    const contentAt = pathAt + this.#bytes.readUInt32LE(at + FIELD.pathBytes);
    const content = this.#bytes.subarray(contentAt, contentAt + size);
    const path = this.#bytes.toString("latin1", pathAt, contentAt);
    const mode = this.#bytes.readUInt32LE(at + FIELD.mode);
    const written = writeSmallFile({ path, mode, mtime, size }, { content, directories, objects });
    this.#bytes.write(written.sha256, at + FIELD.sha256, "hex");
    if (written.isShared) this.#bytes.writeUInt32LE(1, at + FIELD.isShared);
  }

  *#records(): Generator<number> {
    let at = RECORDS_AT;
    for (let left = this.files; left > 0; left -= 1) {
      yield at;
      at += HEAD_BYTES + this.#bytes.readUInt32LE(at + FIELD.pathBytes) + this.#bytes.readUInt32LE(at + FIELD.size);
    }
  }

  /** Looks like what the fs functions throw, so that it is told as the system's error that it is. */
  #failure(): Error {
    const errno = this.#bytes.toString("latin1", ERRNO_AT, ERRNO_AT + ERRNO_BYTES).replace(/\0.*$/s, "");
    return Object.assign(new Error(`${errno}, while writing a file`), { code: errno, errno: -1 });
  }
}
