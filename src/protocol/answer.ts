/**
 * The frame of a result, checked by its schema and written in steps: a snapshot of a large store is more than the main thread may do
 * in one. What does not fit does not leave. Knows no method and no session.
 */
import { z } from "zod";
import { MAX_ANSWER_BYTES } from "../limits.js";
import type { RequestId } from "../messages/frames.js";
import type { Steps } from "../slices.js";
import { firstIssues } from "./frames.js";

/** Text, or the bytes of a long one. */
export type Frame = string | Buffer;

export type Answer = { readonly ok: true; readonly frame: Frame } | { readonly ok: false; readonly issues: string[] };

export function* writeAnswer(id: RequestId, schema: z.ZodType, result: unknown): Steps<Answer> {
  const text = new LongText();
  text.add(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":`);
  const whole: Part = { schema, value: result, path: [] };
  const issues = isSmall(result) ? writeWhole(whole, text) : yield* write(whole, text);
  text.add("}");
  return issues === undefined ? { ok: true, frame: text.end() } : { ok: false, issues };
}

/** Checked and written at once; step by step a small answer would take three times as long. */
const MAX_VALUES_AT_ONCE = 512;
/** A text counts as one value for each of so many characters. */
const CHARACTERS_A_VALUE = 256;

const isSmall = (value: unknown): boolean => valuesLeft(value, MAX_VALUES_AT_ONCE) >= 0;

/** Of so many, when those of `value` are counted; stops below zero. */
function valuesLeft(value: unknown, left: number): number {
  if (typeof value === "string") return left - 1 - Math.floor(value.length / CHARACTERS_A_VALUE);
  if (typeof value !== "object" || value === null) return left - 1;
  let rest = left - 1;
  for (const member of Array.isArray(value) ? value : Object.values(value)) {
    if (rest < 0) break;
    rest = valuesLeft(member, rest);
  }
  return rest;
}

interface Part {
  readonly schema: z.ZodType;
  readonly value: unknown;
  readonly path: readonly (string | number)[];
}

/** What is wrong with it, if anything; then the text is none. Objects go member by member, their lists item by item, an item as a whole. */
function* write({ schema, value, path }: Part, text: LongText): Steps<string[] | undefined> {
  const present = schema instanceof z.ZodOptional && value !== undefined ? schema.unwrap() : schema;
  if (present instanceof z.ZodObject && isPlain(present) && isRecord(value)) {
    let behind = "{";
    for (const [key, member] of Object.entries(present.shape)) {
      if (value[key] === undefined && isLeftOut(member as z.ZodType)) continue;
      text.add(`${behind}${JSON.stringify(key)}:`);
      behind = ",";
      const issues = yield* write({ schema: member as z.ZodType, value: value[key], path: [...path, key] }, text);
      if (issues !== undefined) return issues;
    }
    text.add(behind === "{" ? "{}" : "}");
    return undefined;
  }
  if (!(present instanceof z.ZodArray && isPlain(present) && Array.isArray(value)))
    return writeWhole({ schema: present as z.ZodType, value, path }, text);
  text.add("[");
  for (const [index, item] of value.entries()) {
    if (index > 0) text.add(",");
    const issues = writeWhole({ schema: present.element as z.ZodType, value: item, path: [...path, index] }, text);
    if (issues !== undefined) return issues;
    if (text.length > MAX_ANSWER_BYTES) return [`it has more than ${MAX_ANSWER_BYTES} characters`];
    yield;
  }
  text.add("]");
  return undefined;
}

function writeWhole({ schema, value, path }: Part, text: LongText): string[] | undefined {
  const checked = schema.safeParse(value);
  if (!checked.success) {
    const issues = checked.error.issues.map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
    return firstIssues(new z.ZodError(issues));
  }
  text.add(JSON.stringify(checked.data) ?? "null");
  return undefined;
}

function isLeftOut(schema: z.ZodType): boolean {
  const { success, data } = schema.safeParse(undefined);
  return success && data === undefined;
}

/** Its parts are all that it checks; members that it does not name are left out. */
function isPlain({ def }: z.ZodObject | z.ZodArray): boolean {
  const { checks = [], catchall } = def as { checks?: readonly unknown[]; catchall?: unknown };
  return checks.length === 0 && catchall === undefined;
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** So much text becomes bytes in well under a millisecond. */
const PIECE_LENGTH = 64 * 1024;

/** Text that grows: to join and encode megabytes at the end would take longer than a slice. */
class LongText {
  #pieces: string[] = [];
  #pieceLength = 0;
  readonly #written: Buffer[] = [];
  length = 0;

  add(text: string): void {
    this.#pieces.push(text);
    this.#pieceLength += text.length;
    this.length += text.length;
    if (this.#pieceLength >= PIECE_LENGTH) this.#encode();
  }

  end(): Frame {
    if (this.#written.length === 0) return this.#pieces.join("");
    this.#encode();
    return Buffer.concat(this.#written);
  }

  #encode(): void {
    this.#written.push(Buffer.from(this.#pieces.join("")));
    this.#pieces = [];
    this.#pieceLength = 0;
  }
}
