/** How many threads of a pool are at work, in memory that all of them have: what one may take besides depends on it. */
export class BusyThreads {
  readonly shared: SharedArrayBuffer;
  readonly #count: Int32Array;

  constructor(shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#count = new Int32Array(shared);
  }

  get count(): number {
    return Atomics.load(this.#count, 0);
  }
  set count(threads: number) {
    Atomics.store(this.#count, 0, threads);
  }
}
