/**
 * The building blocks of document schemas for what strangers wrote: deaf to unknown fields, and done at the first thing wrong.
 *
 * A list of zod's own collects an issue for each item: two million of them are seconds of the main thread and gigabytes. And
 * readers in Go, most of this field's, take `Layers` for `layers`: a key that only they would know is refused.
 */
import { z } from "zod";
import { printable } from "../printable.js";

/** An object with these fields and any others, but for those that differ from one of `also` or of these in case only. */
export function shape<Fields extends z.ZodRawShape>(fields: Fields, also: readonly string[] = []) {
  const names = new Map([...Object.keys(fields), ...also].map((name) => [folded(name), name]));
  return z.preprocess((value, context) => {
    const twin = twinIn(value, names);
    if (twin !== undefined) {
      const message = `has a key '${printable(twin)}', which other readers take for '${names.get(folded(twin))}'`;
      context.addIssue({ code: "custom", message });
    }
    return value;
  }, z.object(fields));
}

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === "string";

/** The caller looks at the items. */
export const list = z.custom<readonly unknown[]>((value) => Array.isArray(value), "expected a list");
export const object = z.custom<object>(isObject, "expected an object");
export const texts = z.custom<readonly string[]>(
  (value) => Array.isArray(value) && value.every(isText),
  "expected a list of texts",
);
export const textMap = z.custom<Readonly<Record<string, string>>>(
  (value) => isObject(value) && Object.values(value).every(isText),
  "expected an object of texts",
);

function twinIn(value: unknown, names: ReadonlyMap<string, string>): string | undefined {
  if (!isObject(value)) return undefined;
  return Object.keys(value).find((key) => {
    const name = key.length > MAX_NAME ? undefined : names.get(folded(key));
    return name !== undefined && name !== key;
  });
}

/** No field's name is longer. */
const MAX_NAME = 32;

/** As Go's encoding/json compares: `ſ` is an s and the Kelvin sign a k. */
const folded = (key: string): string => key.toUpperCase().toLowerCase();
