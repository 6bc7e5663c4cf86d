/**
 * An error for people: the message with its code, the details that help to find the place, and what to do next.
 *
 * Pure; every line escaped. Knows the shape of the details of LAYER_OVERLAP (overlap.md); other details are shown as they
 * come, a bounded number of them.
 */
import type { WireError } from "../errors.js";
import { formatDuration } from "./duration.js";
import { paint, plural, shown } from "./text.js";

/** More of them stand in the JSON document. */
const MAX_DETAIL_LINES = 16;

/** `about` names the reference where there are several. */
export function errorLines(error: WireError, options: { color: boolean; about?: string | undefined }): string[] {
  const { color, about } = options;
  const subject = about === undefined ? "" : `${shown(about, 512)}: `;
  const retry = error.retryAfterMs === undefined ? [] : [`  retry after: ${formatDuration(error.retryAfterMs)}`];
  return [
    `${paint("error:", "red", color)} ${subject}${shown(error.message)} [${error.code}]`,
    ...detailLines(error.details ?? {}),
    ...retry,
    ...(error.hint === undefined ? [] : [`${paint("hint:", "yellow", color)} ${shown(error.hint)}`]),
  ];
}

/** Details that repeat what the line above says, or that only a program wants. */
const untold = new Set([
  "errno",
  "complete",
  "total",
  "policy",
  "conflicts",
  "hints",
  "how",
  "startTime",
  "bootId",
  "available",
]);

function detailLines(details: Readonly<Record<string, unknown>>): string[] {
  const plain = Object.entries(details).flatMap(([key, value]) => {
    const text = untold.has(key) ? undefined : plainText(value);
    return text === undefined ? [] : [`  ${shown(key, 64)}: ${text}`];
  });
  return [...overlapLines(details), ...plain.slice(0, MAX_DETAIL_LINES)];
}

function plainText(value: unknown): string | undefined {
  if (typeof value === "string") return shown(value, 1024);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (!Array.isArray(value) || value.length === 0 || !value.every((item) => typeof item === "string")) return undefined;
  const listed = value.slice(0, MAX_DETAIL_LINES).map((item) => shown(item, 256));
  return listed.join(", ") + (value.length > listed.length ? ", …" : "");
}

function overlapLines(details: Readonly<Record<string, unknown>>): string[] {
  const { conflicts, total, complete } = details;
  if (!Array.isArray(conflicts)) return [];
  const known = typeof total === "number" ? total : conflicts.length;
  const lines = conflictLines(conflicts, known);
  const mayBeMore = complete === false && known <= conflicts.length;
  return mayBeMore ? [...lines, "  … and perhaps more: the install stopped at the first that it saw"] : lines;
}

/** A line for each of them, and how many more than these there are. */
export function conflictLines(conflicts: readonly unknown[], total: number): string[] {
  const lines = conflicts.map(conflictLine).filter((line) => line !== undefined);
  const more = total - conflicts.length;
  return more > 0 ? [...lines, `  … and ${plural(more, "conflict")} more`] : lines;
}

/** `  bin: layer 0 sha256:… (dir), layer 2 sha256:… (file)`. */
function conflictLine(conflict: unknown): string | undefined {
  if (!isRecord(conflict) || typeof conflict.path !== "string") return undefined;
  const sides = Array.isArray(conflict.sides) ? conflict.sides.filter(isRecord) : [];
  const told = sides.map(({ layer, digest, type }) => {
    const parts = [
      typeof layer === "number" || typeof layer === "string" ? `layer ${shown(String(layer), 128)}` : "layer",
    ];
    if (typeof digest === "string") parts.push(shown(digest, 19));
    if (typeof type === "string") parts.push(`(${shown(type, 32)})`);
    return parts.join(" ");
  });
  return `  ${shown(conflict.path, 2048)}${told.length === 0 ? "" : `: ${told.join(", ")}`}`;
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
