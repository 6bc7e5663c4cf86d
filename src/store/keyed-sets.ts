/**
 * Many values under one key each may have: what is asked of all names is looked up and not searched for. Most keys of a large store have one
 * value, which stands there without a set.
 */
export class KeyedSets<Value extends string> {
  readonly #values = new Map<string, Value | Set<Value>>();

  add(key: string, value: Value): void {
    const known = this.#values.get(key);
    if (known === undefined) this.#values.set(key, value);
    else if (typeof known !== "string") known.add(value);
    else if (known !== value) this.#values.set(key, new Set([known, value]));
  }

  delete(key: string, value: Value): void {
    const known = this.#values.get(key);
    if (known === value) this.#values.delete(key);
    else if (typeof known === "object" && known.delete(value) && known.size === 0) this.#values.delete(key);
  }

  /** In the order of arrival; empty where there is none. */
  get(key: string): ReadonlySet<Value> {
    const known = this.#values.get(key);
    return known === undefined ? NONE : typeof known === "string" ? new Set([known]) : known;
  }

  count(key: string): number {
    const known = this.#values.get(key);
    return known === undefined ? 0 : typeof known === "string" ? 1 : known.size;
  }
}

const NONE: ReadonlySet<never> = new Set();
