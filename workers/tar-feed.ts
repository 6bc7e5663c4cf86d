/**
 * A tar on its way from the thread that inflates it to the thread that writes its tree: a ring of bytes in shared memory.
 *
 * The writer waits without blocking, because codecs inflate while it does; the reader has nothing else to do and blocks. Owns
 * the layout of that memory; knows nothing of tars.
 */

import { copyBytes } from "./copy-bytes.js";

/** What one side may be ahead of the other: enough to ride out a slow write to the disk. A power of two, for the counters wrap. */
const RING_BYTES = 4 * 1024 * 1024;
/** The reader gives its room back piece by piece. */
const PIECE_BYTES = 256 * 1024;
/** The writer waits for so much room, or for as much as it needs: to wake a thread for each piece costs more than to copy it. */
const ROOM_BYTES = RING_BYTES / 4;

/** `bell` rises with everything that the other side may wait for; `wanted` is the room that the writer waits for. */
const WORD = { written: 0, taken: 1, end: 2, bell: 3, wanted: 4 } as const;
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

  /** The first end counts. */
  end(how: number): void {
    Atomics.compareExchange(this.words, WORD.end, END.open, how);
    this.ring();
  }

  ring(): void {
    Atomics.add(this.words, WORD.bell, 1);
    Atomics.notify(this.words, WORD.bell);
  }
}

export class FeedWriter {
  readonly shared = new SharedArrayBuffer(WORDS_BYTES + RING_BYTES);
  readonly #ring = new Ring(this.shared);

  /** Empties it for the next tar; the reader must be done with the last. */
  restart(): void {
    this.#ring.words.fill(0);
  }

  /** Resolves when all bytes are in the ring: true, or false where the reader wants no more of them. */
  async write(bytes: Buffer): Promise<boolean> {
    const { words } = this.#ring;
    for (let done = 0; done < bytes.length; ) {
      const bell = this.#ring.load(WORD.bell);
      if (this.#ring.load(WORD.end) !== END.open) return false;
      const wanted = Math.min(bytes.length - done, ROOM_BYTES);
      Atomics.store(words, WORD.wanted, wanted);
      if (this.#ring.room < wanted) {
        const rung = Atomics.waitAsync(words, WORD.bell, bell);
        if (rung.async) await rung.value;
      } else {
        done += this.#put(bytes, done);
        this.#ring.ring();
      }
    }
    return true;
  }

  /** As much of it as there is room for, around the ring's border. */
  #put(bytes: Buffer, from: number): number {
    const { bytes: memory, room } = this.#ring;
    const end = Math.min(bytes.length, from + room);
    const at = this.#ring.load(WORD.written) & (RING_BYTES - 1);
    const border = Math.min(end, from + RING_BYTES - at);
    copyBytes(bytes.subarray(from, border), memory, at);
    copyBytes(bytes.subarray(border, end), memory, 0);
    Atomics.add(this.#ring.words, WORD.written, end - from);
    return end - from;
  }

  /** After the last byte: the reader learns whether it was the tar's. */
  end(how: "whole" | "cut"): void {
    this.#ring.end(END[how]);
  }

  /** The reader is gone: as if it had refused. */
  readerLost(): void {
    this.#ring.end(END.refused);
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
    if (this.#ring.room >= this.#ring.load(WORD.wanted)) this.#ring.ring();
  }

  /** After `next` has returned undefined. */
  get isWhole(): boolean {
    return this.#ring.load(WORD.end) === END.whole;
  }

  /** No more is wanted: the writer stops. */
  refuse(): void {
    this.#ring.end(END.refused);
  }
}
