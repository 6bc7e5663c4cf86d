/**
 * Waiting for what can only be looked at: a file, a process, a state. Events are awaited where there are any.
 */
import { setTimeout as delay } from "node:timers/promises";

const LOOK_MS = 10;

/** Looks until `look` gives something; fails with `what` when the deadline passes, so that no test hangs. */
export async function until<Value>(
  what: string,
  look: () => Promise<Value | undefined | false> | Value | undefined | false,
  deadlineMs = 30_000,
): Promise<Value> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`waited ${deadlineMs} ms in vain: ${what}`);
    await delay(LOOK_MS);
  }
}

/** The promise, or a failure that names what did not come. */
export async function within<Value>(what: string, promise: Promise<Value>, deadlineMs = 30_000): Promise<Value> {
  const timer = new AbortController();
  const late = delay(deadlineMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`waited ${deadlineMs} ms in vain: ${what}`);
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}
