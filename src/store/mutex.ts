/** One at a time, in the order of arrival: for the few changes of the store that must not interleave. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  run<Value>(work: () => Promise<Value>): Promise<Value> {
    const result = this.#tail.then(work);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}
