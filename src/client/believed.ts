/**
 * What a daemon says, taken as it comes: for one of this very release, which has checked all of it by the schemas of messages/ before it
 * left (protocol/answer.ts, events.ts, progress.ts; the percentage of an export excepted). To load them once more would be a fifth of a warm
 * install. What is nothing of the kind is refused all the same. Pure.
 */
import { isErrorCode, StrataError, type WireError } from "../errors.js";
import type { EventParams } from "../messages/events.js";
import type { MethodName } from "../messages/methods.js";
import type { ProgressParams } from "../messages/notifications.js";

export type Answered = { readonly result: unknown } | { readonly error: StrataError };

/** A result, the daemon's error, or UNSUPPORTED_VERSION. */
export function answerOf(
  method: MethodName,
  { result, error }: { readonly result?: unknown; readonly error?: unknown },
): Answered {
  if (isObject(result)) return { result };
  const data = isObject(error) ? (error as { readonly data?: unknown }).data : undefined;
  return { error: isWireError(data) ? StrataError.fromWire(data) : unreadable(method) };
}

export const eventOf = (params: unknown): EventParams | undefined =>
  isObject(params) ? (params as EventParams) : undefined;

export const progressOf = (params: unknown): ProgressParams | undefined =>
  isObject(params) && isObject((params as { readonly value?: unknown }).value) ? (params as ProgressParams) : undefined;

export function unreadable(method: MethodName): StrataError {
  return new StrataError(
    "UNSUPPORTED_VERSION",
    `Cannot read the daemon's answer to ${method}: it does not fit the schema`,
  );
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

function isWireError(data: unknown): data is WireError {
  const code = isObject(data) ? (data as { readonly code?: unknown }).code : undefined;
  return typeof code === "string" && isErrorCode(code);
}
