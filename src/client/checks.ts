/**
 * What a daemon says, checked by the schemas of messages/ before anybody gets it.
 *
 * Most of what a client weighs: connection.ts loads it for a daemon that it does not take at its word. Pure.
 */
import { StrataError } from "../errors.js";
import { EventParams } from "../messages/events.js";
import { ResponseFrame } from "../messages/frames.js";
import { type MethodName, methods } from "../messages/methods.js";
import { ProgressParams } from "../messages/notifications.js";
import { type Answered, unreadable } from "./believed.js";

/** A result that fits its schema, or why there is none: the daemon's error, or UNSUPPORTED_VERSION. */
export function answerOf(method: MethodName, frame: object): Answered {
  const response = ResponseFrame.safeParse(frame);
  const error = response.data?.error?.data;
  if (error !== undefined) return { error: StrataError.fromWire(error) };
  const result = methods[method].result.safeParse(response.data?.result);
  return result.success ? { result: result.data } : { error: unreadable(method) };
}

/** Undefined where it does not fit. */
export const eventOf = (params: unknown): EventParams | undefined => EventParams.safeParse(params).data;
export const progressOf = (params: unknown): ProgressParams | undefined => ProgressParams.safeParse(params).data;

export const onlyReads = (method: MethodName): boolean => methods[method].scope === "read";
