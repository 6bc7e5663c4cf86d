/**
 * One look at the disk for all that ask for the same at about the same time. Who asks while a look is under way gets the next one,
 * with all others who do: nobody is told what was there before they asked.
 */

interface Look<Value> {
  readonly over: Promise<void>;
  next: Promise<Value> | undefined;
}

export class SharedLook<Value> {
  /** Those under way. */
  readonly #looks = new Map<string, Look<Value>>();

  /** What `look` finds, which begins after the call. */
  at(key: string, look: () => Promise<Value>): Promise<Value> {
    const before = this.#looks.get(key);
    if (before === undefined) return this.#begin(key, look);
    before.next ??= before.over.then(() => this.#begin(key, look));
    return before.next;
  }

  #begin(key: string, look: () => Promise<Value>): Promise<Value> {
    const found = look();
    const over = found.then(
      () => undefined,
      () => undefined,
    );
    const under: Look<Value> = { over, next: undefined };
    this.#looks.set(key, under);
    void over.then(() => {
      if (under.next === undefined) this.#looks.delete(key);
    });
    return found;
  }
}
