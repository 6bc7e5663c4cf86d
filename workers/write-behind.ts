/**
 * Small files, written by several threads: the reader of the archive writes them itself, straight from the archive, and where it falls
 * behind it leaves batches of them to others: to the thread that inflates the archive, which has nothing to do then, and to a helper
 * where there are processors for one. So both processors work on one layer, and nothing is copied for a help that is not needed.
 *
 * With small files the kernel's work for each is the cost of a layer; one thread cannot do it while it reads. Knows nothing of archives.
 */
import { resourceLimits, Worker } from "node:worker_threads";
import { type BatchPlace, type FileBatch, MAX_BATCHED_BYTES } from "./file-batch.js";
import type { FileWriterData } from "./file-writer.js";
import { OpenDirectories } from "./open-directories.js";
import { type NewFile, type WrittenFile, writeSmallFile } from "./small-file.js";

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

/** Who else is there to write. */
export interface Others {
  /** Asked for each file. */
  readonly isReaderBehind: () => boolean;
  readonly needsHelper: () => boolean;
  /** A batch waits for whoever has time. */
  readonly call: () => void;
}

interface Place extends BatchPlace {
  readonly directories: OpenDirectories;
  readonly others: Others;
}

export class WriteBehind {
  readonly #slots: readonly Slot[];
  readonly #bell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  /** Submitted and not collected, oldest first. */
  readonly #submitted: Slot[] = [];
  #filling: Slot;
  #helper: Worker | undefined;
  #place: Place | undefined;
  /** Nothing of its content has come yet. */
  #announced: Announced | undefined;

  constructor(batches: readonly FileBatch[]) {
    this.#slots = batches.map((batch) => ({ batch, callbacks: [] }));
    this.#filling = this.#slots[0] as Slot;
  }

  /** From now on files go there; the caller keeps the descriptors open until `flush` or `discard`. */
  open(place: BatchPlace, others: Others): void {
    this.#place = { ...place, directories: new OpenDirectories(place.tree), others };
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
    const { directories, objects, others } = this.#place as Place;
    this.#announced = undefined;
    if (piece.length === file.size && (!others.isReaderBehind() || this.#areOthersBehind())) {
      written(writeSmallFile(file, { content: piece, directories, objects }));
      return;
    }
    if (!this.#filling.batch.hasRoomFor(file)) this.#submit();
    this.#filling.batch.add(file);
    this.#filling.callbacks.push(written);
    this.#filling.batch.append(piece);
  }

  /** They have all the batches before them that there are. */
  #areOthersBehind(): boolean {
    while (this.#submitted[0]?.batch.isDone) this.#collectOldest();
    return this.#submitted.length === this.#slots.length - 1;
  }

  #submit(): void {
    const { others } = this.#place as Place;
    this.#submitFilling();
    if (others.isReaderBehind()) others.call();
    else this.#lendAHand();
    if (others.needsHelper()) this.#wakeHelper();
    if (this.#submitted.length === this.#slots.length) {
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

  /** This thread writes a batch itself, the newest, since others take the oldest first. */
  #lendAHand(): void {
    this.#submitted.findLast(({ batch }) => batch.claim())?.batch.write();
  }

  #collectOldest(): void {
    const slot = this.#submitted.shift();
    if (slot === undefined) return;
    if (slot.batch.claim()) slot.batch.write();
    else slot.batch.waitUntilDone();
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
