/** Many values under one key each may have: what is asked of all names is looked up and not searched for. */
export class KeyedSets<Value> {
  readonly #sets = new Map<string, Set<Value>>();

  add(key: string, value: Value): void {
    const set = this.#sets.get(key);
    if (set === undefined) this.#sets.set(key, new Set([value]));
    else set.add(value);
  }

  delete(key: string, value: Value): void {
    const set = this.#sets.get(key);
    set?.delete(value);
    if (set?.size === 0) this.#sets.delete(key);
  }

  /** In the order of arrival; empty where there is none. */
  get(key: string): ReadonlySet<Value> {
    return this.#sets.get(key) ?? NONE;
  }
}

const NONE: ReadonlySet<never> = new Set();
