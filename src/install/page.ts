/** One page of a list whose items have keys; the cursor is the key of the last item given. */

export interface PageQuery<Item, View> {
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly keyOf: (item: Item) => string;
  readonly view: (item: Item) => View;
}

/** An item that the cursor names and that is gone since starts the list anew: nothing is skipped in silence. */
export function pageOf<Item, View>(items: readonly Item[], { limit, cursor, keyOf, view }: PageQuery<Item, View>) {
  const from = cursor === undefined ? 0 : items.findIndex((item) => keyOf(item) === cursor) + 1;
  const page = items.slice(from, from + limit);
  const last = page.at(-1);
  const more = from + page.length < items.length && last !== undefined;
  return { items: page.map(view), ...(more ? { nextCursor: keyOf(last) } : {}) };
}
