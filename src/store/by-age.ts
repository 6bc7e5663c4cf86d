/**
 * What a store holds many of, by key and from the oldest on: a page of it costs what the page holds, whatever the store does. Who
 * reckons with all of them is told of each that comes and goes.
 */

export interface PageQuery<Key> {
  readonly limit: number;
  /** The last key of the page before. */
  readonly cursor?: Key | undefined;
}

export interface Page<Key, Item> {
  readonly items: readonly Item[];
  /** Absent on the last page. */
  readonly nextCursor?: Key;
}

export interface Watcher<Item> {
  readonly added: (item: Item) => void;
  readonly removed: (item: Item) => void;
}

export class ByAge<Key extends string, Item> {
  readonly #items = new Map<Key, Item>();
  /** Keys, oldest first. Undefined until somebody asks: sorting once is much quicker than inserting a whole store. */
  #order: Key[] | undefined;
  readonly #watchers: Watcher<Item>[] = [];
  readonly #createdAt: (item: Item) => string;

  /** An item says always the same; one of a key says what the one before said. */
  constructor(createdAt: (item: Item) => string) {
    this.#createdAt = createdAt;
  }

  get size(): number {
    return this.#items.size;
  }

  get(key: Key): Item | undefined {
    return this.#items.get(key);
  }

  has(key: Key): boolean {
    return this.#items.has(key);
  }

  values(): MapIterator<Item> {
    return this.#items.values();
  }

  /** An item that takes another's place is the same thing at the same age: nobody is told. */
  set(key: Key, item: Item): void {
    const isNew = !this.#items.has(key);
    this.#items.set(key, item);
    if (!isNew) return;
    this.#order?.splice(this.#placeOf(key), 0, key);
    for (const { added } of this.#watchers) added(item);
  }

  delete(key: Key): void {
    const item = this.#items.get(key);
    if (item === undefined) return;
    this.#order?.splice(this.#placeOf(key), 1);
    this.#items.delete(key);
    for (const { removed } of this.#watchers) removed(item);
  }

  /** Tells of all that are there, and from then on of each that comes and goes. */
  watch(watcher: Watcher<Item>): void {
    for (const item of this.#items.values()) watcher.added(item);
    this.#watchers.push(watcher);
  }

  /** A cursor that names what is gone starts anew: nothing is skipped in silence. */
  page({ limit, cursor }: PageQuery<Key>): Page<Key, Item> {
    const order = this.sort();
    const from = cursor === undefined || !this.#items.has(cursor) ? 0 : this.#placeOf(cursor) + 1;
    const keys = order.slice(from, from + limit);
    const last = keys.at(-1);
    const items = keys.flatMap((key) => this.#items.get(key) ?? []);
    return { items, ...(from + keys.length < order.length && last !== undefined ? { nextCursor: last } : {}) };
  }

  /** The keys in order; a tenth of a second for a hundred thousand, the first time. */
  sort(): readonly Key[] {
    this.#order ??= [...this.#items]
      .map(([key, item]) => ({ key, createdAt: this.#createdAt(item) }))
      .sort((a, b) => older(a, b))
      .map(({ key }) => key);
    return this.#order;
  }

  /** Where the key, whose item is there, stands in the order or would. */
  #placeOf(key: Key): number {
    const order = this.#order ?? [];
    const wanted = this.#aged(key);
    let [low, high] = [0, order.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = order[middle] as Key;
      if (older(this.#aged(other), wanted) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #aged(key: Key): Aged {
    const item = this.#items.get(key);
    return { key, createdAt: item === undefined ? "" : this.#createdAt(item) };
  }
}

interface Aged {
  readonly key: string;
  readonly createdAt: string;
}

/** Of one age, which layers that were unpacked side by side may be: by key. */
const older = (a: Aged, b: Aged): number =>
  a.createdAt < b.createdAt ? -1 : a.createdAt > b.createdAt ? 1 : a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
