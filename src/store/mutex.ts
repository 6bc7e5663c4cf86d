/** One at a time, in the order of arrival: for the few changes of the store that must not interleave. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  run<Value>(work: () => Promise<Value>): Promise<Value> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

/** One at a time for each key; other keys do not wait. */
export class KeyedMutex<Key> {
  readonly #tails = new Map<Key, Promise<unknown>>();

  run<Value>(key: Key, work: () => Promise<Value>): Promise<Value> {
    const result = (this.#tails.get(key) ?? Promise.resolve()).then(work);
    const tail: Promise<unknown> = result
      .catch(() => undefined)
      .then(() => {
        if (this.#tails.get(key) === tail) this.#tails.delete(key);
      });
    this.#tails.set(key, tail);
    return result;
  }
}
