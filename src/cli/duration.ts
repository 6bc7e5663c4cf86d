/**
 * Spans of time as people write and read them: `30s` in a flag, `3.4 s` in a summary, `5 min ago` in a table.
 *
 * Pure; milliseconds inside.
 */
import { StrataError } from "../errors.js";
import { printable } from "../printable.js";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Beyond 2^31-1 ms (24.8 days) a timer of Node fires at once. */
const MAX_DURATION_MS = 24 * DAY;

const units: Readonly<Record<string, number>> = { ms: 1, s: SECOND, "": SECOND, m: MINUTE, min: MINUTE, h: HOUR };

/** `30s`, `5m`, `1.5h`, `250ms`; a bare number is seconds. `what` names the flag in the message. Throws USAGE. */
export function parseDuration(text: string, what: string): number {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)\s?(ms|s|m|min|h|)$/.exec(text.trim());
  const ms = match === null ? Number.NaN : Math.round(Number(match[1]) * (units[match[2] ?? ""] ?? Number.NaN));
  if (ms >= 1 && ms <= MAX_DURATION_MS) return ms;
  const fact = Number.isNaN(ms) ? "is no duration" : "is not between 1 ms and 24 days";
  throw new StrataError("USAGE", `Cannot read ${what}: '${printable(text, 64)}' ${fact}`, {
    hint: "Durations look like 30s, 5m, 1h or 500ms; a bare number is seconds.",
  });
}

/** `34 ms`, `3 s`, `3.4 s`, `34 s`, `3 min 4 s`, `5 h 3 min`, `12 days`. */
export function formatDuration(ms: number): string {
  const span = Math.max(0, Math.round(ms));
  if (span < SECOND) return `${span} ms`;
  const seconds = Math.round(span / SECOND);
  if (span < 9.95 * SECOND) return `${Number((span / SECOND).toFixed(1))} s`;
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days`;
}

/** `just now`, `12 s ago`, `5 min ago`, `3 h ago`, `9 days ago`: the largest unit only. */
export function formatAge(thenIso: string, nowMs: number): string {
  const seconds = Math.floor((nowMs - Date.parse(thenIso)) / SECOND);
  if (!(seconds >= 1)) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / (24 * 3600))} days ago`;
}
