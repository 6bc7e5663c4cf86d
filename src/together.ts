/**
 * Several pieces of work at once, of which none is wanted when another fails.
 */
import { setMaxListeners } from "node:events";
import { StrataError } from "./errors.js";

/**
 * Runs all, and waits until all have ended: the first that fails aborts the signal of the others, and what it failed with is thrown,
 * not that the others were cancelled.
 */
export async function together<Value>(
  signal: AbortSignal,
  work: readonly ((signal: AbortSignal) => Promise<Value>)[],
): Promise<Value[]> {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  // All of it may listen; Node takes more than ten for a leak.
  setMaxListeners(0, either);
  const ends = await Promise.allSettled(
    work.map(async (run) => {
      try {
        return await run(either);
      } catch (error) {
        failed.abort();
        throw error;
      }
    }),
  );
  const reasons = ends.flatMap((end) => (end.status === "rejected" ? [end.reason as unknown] : []));
  if (reasons.length > 0) throw reasons.find((reason) => !isCancelled(reason)) ?? reasons[0];
  return ends.flatMap((end) => (end.status === "fulfilled" ? [end.value] : []));
}

/** The signal's own reason, too, where work throws that. */
const isCancelled = (reason: unknown): boolean =>
  reason instanceof StrataError ? reason.code === "CANCELLED" : reason instanceof Error && reason.name === "AbortError";
