/**
 * The same again, after a while: full jitter, doubled each time, or as long as the registry asks for.
 *
 * Only a TransientError is tried again. A Retry-After beyond the limit is an answer for the user and not a wait.
 */
import { StrataError } from "../../errors.js";
import { cancelled, TransientError } from "./failures.js";
import type { RegistryTimings } from "./timings.js";

/** The last failure is what is thrown, as a plain StrataError; CANCELLED once the signal aborts. */
export async function withRetries<T>(
  attempt: () => Promise<T>,
  timings: RegistryTimings,
  signal: AbortSignal,
): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    if (signal.aborted) throw cancelled();
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted) throw cancelled();
      if (!(error instanceof TransientError)) throw error;
      const asked = error.options.retryAfterMs ?? 0;
      if (tried >= timings.tries || asked > timings.retryAfterMaxMs) throw plain(error);
      const jitter = Math.random() * Math.min(timings.backoffMaxMs, timings.backoffMs * 2 ** (tried - 1));
      await timings.wait(Math.max(asked, jitter), signal).catch(() => Promise.reject(cancelled()));
    }
  }
}

function plain(error: TransientError): StrataError {
  return new StrataError(error.code, error.message, error.options);
}
