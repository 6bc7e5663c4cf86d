/**
 * A tar on its way from the thread that inflates it to the thread that writes its tree: a ring of bytes in shared memory.
 *
 * The reader has nothing else to do and blocks; the writer may do something meanwhile, and then waits without blocking. Owns the layout
 * of that memory; knows nothing of tars.
 */

import { copyBytes } from "./copy-bytes.js";

/** What one side may be ahead of the other: enough to ride out a slow write to the disk. A power of two, for the counters wrap. */
const RING_BYTES = 4 * 1024 * 1024;
/** The reader gives its room back piece by piece. */
const PIECE_BYTES = 256 * 1024;
/** A writer that found too little room waits for so much: to wake a thread for each piece costs more than to copy it. */
const ROOM_BYTES = RING_BYTES / 4;

/** `bell` rises with everything that the other side may wait for. */
const WORD = { written: 0, taken: 1, end: 2, bell: 3, isLeft: 4 } as const;
const WORDS_BYTES = 64;

/** `cut`: no more can be had, although the tar is not over. `refused`: the reader wants no more. */
const END = { open: 0, whole: 1, cut: 2, refused: 3 } as const;

class Ring {
  readonly words: Int32Array;
  readonly bytes: Buffer;

  constructor(shared: SharedArrayBuffer) {
    this.words = new Int32Array(shared, 0, WORDS_BYTES / Int32Array.BYTES_PER_ELEMENT);
    this.bytes = Buffer.from(shared, WORDS_BYTES, RING_BYTES);
  }

  load(word: number): number {
    return Atomics.load(this.words, word);
  }

  get filled(): number {
    return (this.load(WORD.written) - this.load(WORD.taken)) | 0;
  }

  get room(): number {
    return RING_BYTES - this.filled;
  }

  /** Where the next byte is written. */
  get at(): number {
    return this.load(WORD.written) & (RING_BYTES - 1);
  }

  /** The first end counts. */
  end(how: number): void {
    Atomics.compareExchange(this.words, WORD.end, END.open, how);
    this.ring();
  }

  /** The reader takes no more. */
  leave(): void {
    Atomics.store(this.words, WORD.isLeft, 1);
    this.end(END.refused);
  }

  ring(): void {
    Atomics.add(this.words, WORD.bell, 1);
    Atomics.notify(this.words, WORD.bell);
  }
}

export class FeedWriter {
  readonly shared = new SharedArrayBuffer(WORDS_BYTES + RING_BYTES);
  readonly #ring = new Ring(this.shared);
  readonly #meanwhile: () => boolean;

  /** `meanwhile` does a bit of something else where this would wait, and says whether there was any. */
  constructor(meanwhile: () => boolean = () => false) {
    this.#meanwhile = meanwhile;
  }

  /** Empties it for the next tar; the reader must be done with the last. */
  restart(): void {
    this.#ring.words.fill(0);
  }

  /** Memory in the ring, for bytes that are written next: they need not be copied. Resolves when there is much of it. */
  async room(): Promise<Buffer> {
    for (;;) {
      const bell = this.#ring.load(WORD.bell);
      const { room, at } = this.#ring;
      // Behind an end nobody reads any more, so that any memory does.
      if (room >= ROOM_BYTES || this.#ring.load(WORD.end) !== END.open)
        return this.#ring.bytes.subarray(at, Math.min(at + ROOM_BYTES, RING_BYTES));
      await this.#wait(bell);
    }
  }

  /** Resolves when all bytes are in the ring, those at the start of the last `room` as they stand: true, or false where the reader wants no more. */
  async write(bytes: Buffer): Promise<boolean> {
    for (let done = 0; done < bytes.length; ) {
      const bell = this.#ring.load(WORD.bell);
      if (this.#ring.load(WORD.end) !== END.open) return false;
      if (bytes.buffer === this.shared || this.#ring.room >= Math.min(bytes.length - done, ROOM_BYTES)) {
        done += this.#put(bytes, done);
        this.#ring.ring();
      } else await this.#wait(bell);
    }
    return true;
  }

  /** Until the bell rings again; not at all where there was something else to do. */
  async #wait(bell: number): Promise<void> {
    if (this.#meanwhile()) return;
    const rung = Atomics.waitAsync(this.#ring.words, WORD.bell, bell);
    if (rung.async) await rung.value;
  }

  /** As much of it as there is room for, around the ring's border. */
  #put(bytes: Buffer, from: number): number {
    const { bytes: memory, room, at } = this.#ring;
    const end = Math.min(bytes.length, from + room);
    if (bytes.buffer !== this.shared) {
      const border = Math.min(end, from + RING_BYTES - at);
      copyBytes(bytes.subarray(from, border), memory, at);
      copyBytes(bytes.subarray(border, end), memory, 0);
    }
    Atomics.add(this.#ring.words, WORD.written, end - from);
    return end - from;
  }

  /** After the last byte: the reader learns whether it was the tar's. */
  end(how: "whole" | "cut"): void {
    this.#ring.end(END[how]);
  }

  /** Resolves when the reader has left. */
  async left(): Promise<void> {
    for (;;) {
      const bell = this.#ring.load(WORD.bell);
      if (this.#ring.load(WORD.isLeft) === 1) return;
      await this.#wait(bell);
    }
  }

  /** The reader's thread has ended: it has left. */
  readerLost(): void {
    this.#ring.leave();
  }
}

export class FeedReader {
  readonly #ring: Ring;
  #held = 0;
  #isBehind = false;

  constructor(shared: SharedArrayBuffer) {
    this.#ring = new Ring(shared);
  }

  /** The next piece, valid until the next call; undefined at the end. Blocks this thread. */
  next(): Buffer | undefined {
    this.#giveBack();
    for (;;) {
      const bell = this.#ring.load(WORD.bell);
      const isOver = this.#ring.load(WORD.end) !== END.open;
      const at = this.#ring.load(WORD.taken) & (RING_BYTES - 1);
      const { filled } = this.#ring;
      this.#held = Math.min(filled, RING_BYTES - at, PIECE_BYTES);
      this.#isBehind = filled >= RING_BYTES / 2;
      if (this.#held > 0) return this.#ring.bytes.subarray(at, at + this.#held);
      if (isOver) return undefined;
      Atomics.wait(this.#ring.words, WORD.bell, bell);
    }
  }

  /** Whether the last piece came out of a ring that was half full or more. */
  get isBehind(): boolean {
    return this.#isBehind;
  }

  #giveBack(): void {
    if (this.#held === 0) return;
    Atomics.add(this.#ring.words, WORD.taken, this.#held);
    this.#held = 0;
    if (this.#ring.room >= ROOM_BYTES) this.#ring.ring();
  }

  /** After `next` has returned undefined. */
  get isWhole(): boolean {
    return this.#ring.load(WORD.end) === END.whole;
  }

  /** A writer that waits looks whether there is something for it meanwhile. */
  callWriter(): void {
    this.#ring.ring();
  }

  /** No more is taken: the writer stops. */
  leave(): void {
    this.#ring.leave();
  }
}
