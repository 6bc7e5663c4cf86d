/**
 * Small files, written behind the reader of the archive: batches that a second thread writes, and the reader itself where that
 * one is behind. So both processors work on one layer, and whoever has time does the next batch.
 *
 * With small files the kernel's work for each is the cost of a layer; one thread cannot do it while it reads. Knows nothing of archives.
 */
import { resourceLimits, Worker } from "node:worker_threads";
import { type BatchPlace, FileBatch, MAX_BATCHED_BYTES, type NewFile, type WrittenFile } from "./file-batch.js";
import type { FileWriterData } from "./file-writer.js";

/** 4 MiB in all; small enough that a reader that lends a hand is soon back at the archive. */
const BATCHES = 4;
const HEAP_MB = 32;

/** Called once a file is on the disk. */
export type Written = (file: WrittenFile) => void;

interface Slot {
  readonly batch: FileBatch;
  readonly callbacks: Written[];
}

export class WriteBehind {
  readonly #slots: readonly Slot[] = Array.from({ length: BATCHES }, () => ({ batch: new FileBatch(), callbacks: [] }));
  readonly #bell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  /** Submitted and not collected, oldest first. */
  readonly #submitted: Slot[] = [];
  #filling: Slot = this.#slots[0] as Slot;
  #helper: Worker | undefined;
  #place: BatchPlace = { tree: -1, objects: undefined };

  /** From now on files go there; the caller keeps the descriptors open until `flush` or `discard`. */
  open(place: BatchPlace): void {
    this.#place = place;
  }

  takes(size: number): boolean {
    return size <= MAX_BATCHED_BYTES;
  }

  /** A file that this takes; its content follows by `append`. Throws the failure of an earlier one. */
  add(file: NewFile, written: Written): void {
    if (!this.#filling.batch.hasRoomFor(file)) this.#submit();
    this.#filling.batch.add(file);
    this.#filling.callbacks.push(written);
  }

  append(piece: Buffer): void {
    this.#filling.batch.append(piece);
  }

  /** Returns when every file is on the disk. Throws the first failure. */
  flush(): void {
    if (this.#filling.batch.files > 0) this.#submitFilling();
    while (this.#submitted.length > 0) {
      this.#lendAHand();
      this.#collectOldest();
    }
  }

  /** After a refusal: nothing is being written any more when this returns, and nothing will be. */
  discard(): void {
    for (const { batch } of this.#submitted) if (!batch.claim()) batch.waitUntilDone();
    this.#submitted.length = 0;
    for (const { batch, callbacks } of this.#slots) {
      batch.clear();
      callbacks.length = 0;
    }
  }

  #submit(): void {
    this.#submitFilling();
    this.#helper ??= this.#startHelper();
    Atomics.add(this.#bell, 0, 1);
    Atomics.notify(this.#bell, 0);
    while (this.#submitted[0]?.batch.isDone) this.#collectOldest();
    if (this.#submitted.length === BATCHES) {
      this.#lendAHand();
      this.#collectOldest();
    }
    this.#filling = this.#slots.find((slot) => !this.#submitted.includes(slot)) as Slot;
  }

  #submitFilling(): void {
    this.#filling.batch.submit(this.#place);
    this.#submitted.push(this.#filling);
  }

  /** The helper is behind: this thread writes a batch itself, the newest, since the helper takes the oldest first. */
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
