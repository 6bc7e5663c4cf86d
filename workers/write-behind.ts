/**
 * Small files, written by two threads: the reader of the archive writes them itself, straight from the archive, and where it falls
 * behind, batches of them are written behind it by a helper. So both processors work on one layer, and nothing is copied for a
 * helper that is not needed.
 *
 * With small files the kernel's work for each is the cost of a layer; one thread cannot do it while it reads. Knows nothing of archives.
 */
import { resourceLimits, Worker } from "node:worker_threads";
import { type BatchPlace, FileBatch, MAX_BATCHED_BYTES } from "./file-batch.js";
import type { FileWriterData } from "./file-writer.js";
import { OpenDirectories } from "./open-directories.js";
import { type NewFile, type WrittenFile, writeSmallFile } from "./small-file.js";

/** 4 MiB in all: one is filled while the helper has the others before it. */
const BATCHES = 4;
const HEAP_MB = 32;
const NOTHING = Buffer.alloc(0);

/** Called once a file is on the disk. */
export type Written = (file: WrittenFile) => void;

interface Slot {
  readonly batch: FileBatch;
  readonly callbacks: Written[];
}

interface Announced {
  readonly file: NewFile;
  readonly written: Written;
}

interface Place extends BatchPlace {
  readonly directories: OpenDirectories;
  /** Asked for each file: whether the reader is behind, and a processor free for a helper. */
  readonly needsHelp: () => boolean;
}

export class WriteBehind {
  readonly #slots: readonly Slot[] = Array.from({ length: BATCHES }, () => ({ batch: new FileBatch(), callbacks: [] }));
  readonly #bell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  /** Submitted and not collected, oldest first. */
  readonly #submitted: Slot[] = [];
  #filling: Slot = this.#slots[0] as Slot;
  #helper: Worker | undefined;
  #place: Place | undefined;
  /** Nothing of its content has come yet. */
  #announced: Announced | undefined;

  /** From now on files go there; the caller keeps the descriptors open until `flush` or `discard`. */
  open(place: BatchPlace, needsHelp: () => boolean): void {
    this.#place = { ...place, directories: new OpenDirectories(place.tree), needsHelp };
  }

  takes(size: number): boolean {
    return size <= MAX_BATCHED_BYTES;
  }

  /** A file that this takes; its content follows by `append`. Throws the failure of an earlier one. */
  add(file: NewFile, written: Written): void {
    if (file.size === 0) this.#begin({ file, written }, NOTHING);
    else this.#announced = { file, written };
  }

  append(piece: Buffer): void {
    if (this.#announced === undefined) this.#filling.batch.append(piece);
    else this.#begin(this.#announced, piece);
  }

  /** Returns when every file is on the disk. Throws the first failure. */
  flush(): void {
    if (this.#filling.batch.files > 0) this.#submitFilling();
    while (this.#submitted.length > 0) {
      this.#lendAHand();
      this.#collectOldest();
    }
    this.#leave();
  }

  /** After a refusal: nothing is being written any more when this returns, and nothing will be. */
  discard(): void {
    for (const { batch } of this.#submitted) if (!batch.claim()) batch.waitUntilDone();
    this.#submitted.length = 0;
    for (const { batch, callbacks } of this.#slots) {
      batch.clear();
      callbacks.length = 0;
    }
    this.#announced = undefined;
    this.#leave();
  }

  #begin({ file, written }: Announced, piece: Buffer): void {
    const { directories, objects, needsHelp } = this.#place as Place;
    this.#announced = undefined;
    if (piece.length === file.size && (!needsHelp() || this.#isHelperBehind())) {
      written(writeSmallFile(file, { content: piece, directories, objects }));
      return;
    }
    if (!this.#filling.batch.hasRoomFor(file)) this.#submit();
    this.#filling.batch.add(file);
    this.#filling.callbacks.push(written);
    this.#filling.batch.append(piece);
  }

  /** It has all the batches before it that there are. */
  #isHelperBehind(): boolean {
    while (this.#submitted[0]?.batch.isDone) this.#collectOldest();
    return this.#submitted.length === BATCHES - 1;
  }

  #submit(): void {
    this.#submitFilling();
    if (this.#place?.needsHelp()) this.#wakeHelper();
    else this.#lendAHand();
    if (this.#submitted.length === BATCHES) {
      this.#lendAHand();
      this.#collectOldest();
    }
    this.#filling = this.#slots.find((slot) => !this.#submitted.includes(slot)) as Slot;
  }

  #submitFilling(): void {
    this.#filling.batch.submit(this.#place as Place);
    this.#submitted.push(this.#filling);
  }

  #wakeHelper(): void {
    this.#helper ??= this.#startHelper();
    Atomics.add(this.#bell, 0, 1);
    Atomics.notify(this.#bell, 0);
  }

  /** This thread writes a batch itself, the newest, since the helper takes the oldest first. */
  #lendAHand(): void {
    this.#submitted.findLast(({ batch }) => batch.claim())?.batch.write();
  }

  #collectOldest(): void {
    const slot = this.#submitted.shift();
    if (slot === undefined) return;
    slot.batch.waitUntilDone();
    const callbacks = slot.callbacks.splice(0);
    for (const [index, file] of slot.batch.collect().entries()) callbacks[index]?.(file);
  }

  #leave(): void {
    this.#place?.directories.close();
    this.#place = undefined;
  }

  #startHelper(): Worker {
    const workerData: FileWriterData = {
      batches: this.#slots.map(({ batch }) => batch.shared),
      bell: this.#bell.buffer as SharedArrayBuffer,
    };
    const helper = new Worker(new URL("./file-writer.js", import.meta.url), {
      workerData,
      resourceLimits: { ...resourceLimits, maxOldGenerationSizeMb: HEAP_MB },
    });
    helper.unref();
    // A thread that cannot start leaves all batches to this one.
    helper.on("error", () => undefined);
    return helper;
  }
}
