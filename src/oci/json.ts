/**
 * JSON as it comes from strangers: strict UTF-8, no key twice, no tower of brackets.
 *
 * What two parsers would read differently is refused. A scan without recursion looks at nesting and keys first; JSON.parse
 * then judges the grammar. Knows nothing of what the document means.
 */
import { StrataError } from "../errors.js";
import { MAX_DOCUMENT_BYTES, MAX_JSON_CONTAINERS, MAX_JSON_DEPTH, MAX_JSON_KEYS } from "../limits.js";
import { printable } from "../printable.js";

/**
 * `what` names the document in messages (`the manifest`). MANIFEST_TOO_BIG over MAX_DOCUMENT_BYTES, MANIFEST_INVALID for
 * everything else: not UTF-8, a byte order mark, not JSON, a key twice in one object, a key `__proto__`, deeper or larger than the MAX_JSON_
 * limits.
 */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  if (bytes.byteLength > MAX_DOCUMENT_BYTES) {
    throw new StrataError("MANIFEST_TOO_BIG", `Cannot read ${what}: it has ${bytes.byteLength} bytes`);
  }
  const text = decode(bytes, what);
  scan(text, what);
  try {
    return JSON.parse(text);
  } catch (cause) {
    return refuse(what, "it is not JSON", cause);
  }
}

function decode(bytes: Uint8Array, what: string): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    return refuse(what, "it is not UTF-8", cause);
  }
  return text.startsWith("\ufeff") ? refuse(what, "it starts with a byte order mark") : text;
}

/** One open bracket: the keys of an object so far, or undefined for an array. */
interface Open {
  readonly keys: Set<string> | undefined;
  keyIsNext: boolean;
}

/** Looks at brackets, commas and strings; everything between is JSON.parse's business. Linear also in malformed text. */
function scan(text: string, what: string): void {
  const stack: Open[] = [];
  let containers = 0;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    const top = stack.at(-1);
    if (character === "{" || character === "[") {
      containers += 1;
      if (containers > MAX_JSON_CONTAINERS) refuse(what, `it has more than ${MAX_JSON_CONTAINERS} objects and lists`);
      if (stack.length === MAX_JSON_DEPTH) refuse(what, `it nests deeper than ${MAX_JSON_DEPTH} levels`);
      stack.push(character === "{" ? { keys: new Set(), keyIsNext: true } : { keys: undefined, keyIsNext: false });
    } else if (character === "}" || character === "]") {
      stack.pop();
    } else if (character === "," && top?.keys !== undefined) {
      top.keyIsNext = true;
    } else if (character === '"') {
      const end = closingQuote(text, at) ?? refuse(what, "it is not JSON");
      if (top?.keys !== undefined && top.keyIsNext) {
        top.keyIsNext = false;
        addKey(top.keys, text.slice(at, end + 1), what);
      }
      at = end;
    }
  }
}

function closingQuote(text: string, opening: number): number | undefined {
  for (let at = opening + 1; at < text.length; at += 1) {
    if (text[at] === "\\") at += 1;
    else if (text[at] === '"') return at;
  }
  return undefined;
}

function addKey(keys: Set<string>, token: string, what: string): void {
  const key = unescaped(token, what);
  // Assigned, as object mappers do, it would set a prototype instead of a field.
  if (key === "__proto__") refuse(what, "it has a key '__proto__'");
  if (keys.has(key)) refuse(what, `the key '${printable(key)}' stands twice in one object`);
  keys.add(key);
  if (keys.size > MAX_JSON_KEYS) refuse(what, `an object of it has more than ${MAX_JSON_KEYS} keys`);
}

/** `"layers"` and `"\u006cayers"` are one key. */
function unescaped(token: string, what: string): string {
  if (!token.includes("\\")) return token.slice(1, -1);
  try {
    return JSON.parse(token);
  } catch (cause) {
    return refuse(what, "it is not JSON", cause);
  }
}

function refuse(what: string, fact: string, cause?: unknown): never {
  throw new StrataError("MANIFEST_INVALID", `Cannot read ${what}: ${fact}`, { cause });
}
