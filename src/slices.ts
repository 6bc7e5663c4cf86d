/**
 * Long reckoning on the main thread in short slices: a generator says between two steps that it may be interrupted, and everything
 * else has its turn when a slice is over.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { StrataError } from "./errors.js";
import { SLICE_MS } from "./limits.js";

export type Steps<Value> = Generator<void, Value, void>;

/** The end of this turn's slice, which all that reckon share: many side by side hold the thread no longer than one. */
let sliceEndsAt: number | undefined;

function sliceEnd(): number {
  if (sliceEndsAt === undefined) {
    sliceEndsAt = performance.now() + SLICE_MS;
    // Before whoever waits for the next turn: they asked later.
    setImmediate(() => {
      sliceEndsAt = undefined;
    });
  }
  return sliceEndsAt;
}

/** A step at least in each turn. CANCELLED between two slices where `signal` is aborted. */
export async function inSlices<Value>(steps: Steps<Value>, signal?: AbortSignal): Promise<Value> {
  for (;;) {
    if (signal?.aborted) throw new StrataError("CANCELLED", "Cannot finish the reckoning: it was cancelled");
    const end = sliceEnd();
    do {
      const step = steps.next();
      if (step.done) return step.value;
    } while (performance.now() < end);
    await nextTurn();
  }
}

const RUN = 512;

/** As `toSorted`, stable, by numbers that `keyOf` gives. */
export function sortedBy<Item>(items: readonly Item[], keyOf: (item: Item) => number): Steps<Item[]> {
  return sortedWith(items, (a, b) => keyOf(a) - keyOf(b));
}

type Compare<Item> = (a: Item, b: Item) => number;

/** As `toSorted`, stable: runs that are short enough to sort in one step, then merged. */
export function* sortedWith<Item>(items: readonly Item[], compare: Compare<Item>): Steps<Item[]> {
  let runs: Item[][] = [];
  for (let at = 0; at < items.length; at += RUN) {
    runs.push(items.slice(at, at + RUN).sort(compare));
    yield;
  }
  while (runs.length > 1) {
    const merged: Item[][] = [];
    for (let at = 0; at < runs.length; at += 2) merged.push(yield* merge(runs[at] ?? [], runs[at + 1] ?? [], compare));
    runs = merged;
  }
  return runs[0] ?? [];
}

function* merge<Item>(left: readonly Item[], right: readonly Item[], compare: Compare<Item>): Steps<Item[]> {
  const merged: Item[] = [];
  for (let l = 0, r = 0; l < left.length || r < right.length; ) {
    const isLeft = r >= right.length || (l < left.length && compare(left[l] as Item, right[r] as Item) <= 0);
    merged.push((isLeft ? left[l++] : right[r++]) as Item);
    if (merged.length % RUN === 0) yield;
  }
  return merged;
}
