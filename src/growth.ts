/**
 * A file that one thread writes while another reads it: how far it is written, and whether more will come, in shared memory.
 *
 * The writer stores the length after the bytes are in the file, so a reader that sees a length may read that far. One reader at a time
 * says how far it waits for, and sleeps until then. Owns the layout of the shared memory and nothing else.
 */

const LENGTH = 0;
const STATE = 1;
const WANTED = 2;
const GROWING = 0n;
const COMPLETE = 1n;
const FAILED = 2n;

export class GrowthWriter {
  readonly shared = new SharedArrayBuffer(3 * BigInt64Array.BYTES_PER_ELEMENT);
  readonly #cells = new BigInt64Array(this.shared);

  /** `bytes` of the file may be read now; only ever rises. */
  advance(bytes: number): void {
    Atomics.store(this.#cells, LENGTH, BigInt(bytes));
    if (bytes >= Atomics.load(this.#cells, WANTED)) Atomics.notify(this.#cells, LENGTH);
  }

  complete(): void {
    this.#end(COMPLETE);
  }

  fail(): void {
    this.#end(FAILED);
  }

  #end(state: bigint): void {
    Atomics.compareExchange(this.#cells, STATE, GROWING, state);
    Atomics.notify(this.#cells, LENGTH);
  }
}

export type GrowthState = "growing" | "complete" | "failed";

export class GrowthReader {
  readonly #cells: BigInt64Array;

  constructor(shared: SharedArrayBuffer) {
    this.#cells = new BigInt64Array(shared);
  }

  get bytes(): number {
    return Number(Atomics.load(this.#cells, LENGTH));
  }

  get state(): GrowthState {
    const state = Atomics.load(this.#cells, STATE);
    return state === GROWING ? "growing" : state === COMPLETE ? "complete" : "failed";
  }

  /** Resolves when more than `seen` bytes may be read, no more will come, or soon after nobody waits any longer. */
  async beyond(seen: number, isWanted = (): boolean => true): Promise<void> {
    Atomics.store(this.#cells, WANTED, BigInt(seen + 1));
    for (let now = this.bytes; now <= seen && this.state === "growing" && isWanted(); now = this.bytes) {
      const wait = Atomics.waitAsync(this.#cells, LENGTH, BigInt(now), WAKE_MS);
      if (wait.async) await wait.value;
    }
  }
}

/** A missed wake-up (the state changed between the look and the wait), or a waiter who gives up, costs at most this long. */
const WAKE_MS = 50;
