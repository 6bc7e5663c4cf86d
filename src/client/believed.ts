/**
 * What a daemon says, taken as it comes: for one of this very release, which has checked all of it by the schemas of messages/ before it
 * left (protocol/answer.ts, events.ts, progress.ts). To load them once more would be a fifth of a warm install. Pure.
 */
import { StrataError, type WireError } from "../errors.js";
import type { EventParams } from "../messages/events.js";
import type { MethodName } from "../messages/methods.js";
import type { ProgressParams } from "../messages/notifications.js";

type Answered = { readonly result: unknown } | { readonly error: StrataError };

/** A result, or the daemon's error. */
export function answerOf(
  _method: MethodName,
  frame: { readonly result?: unknown; readonly error?: unknown },
): Answered {
  if (frame.error === undefined) return { result: frame.result };
  return { error: StrataError.fromWire((frame.error as { readonly data: WireError }).data) };
}

export const eventOf = (params: unknown): EventParams | undefined => params as EventParams;
export const progressOf = (params: unknown): ProgressParams | undefined => params as ProgressParams;
