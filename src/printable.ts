/**
 * Makes untrusted text safe to show: in a log line, a message, an event or a terminal (invariant 10).
 *
 * Control characters, invalid UTF-8, bidirectional controls and line separators become `\xHH` or `\u{H}`; a backslash is
 * doubled so that the result is unambiguous. Knows nothing of who shows it.
 */

/** Control, invisible, private and unassigned characters, lone surrogates, line separators; and the backslash itself. */
const UNSAFE = /[\\\p{C}\p{Zl}\p{Zp}]/gu;

/** `maxBytes` bounds the UTF-8 length of the result; what is cut ends in `…`. */
export function printable(text: string, maxBytes = 256): string {
  return cut(text.slice(0, maxBytes + 1).replace(UNSAFE, escapeCharacter), maxBytes);
}

/** The same for a name whose bytes stand one in each character (latin1), as archives' names do; they are shown as UTF-8 where they are. */
export function printableName(latin1: string, maxBytes = 256): string {
  const bytes = Buffer.from(latin1, "latin1");
  const text = bytes.toString("utf8");
  if (!text.includes("\ufffd")) return printable(text, maxBytes);
  return cut(
    latin1.replace(/[^\x20-\x5b\x5d-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`),
    maxBytes,
  );
}

function escapeCharacter(character: string): string {
  if (character === "\\") return "\\\\";
  const point = character.codePointAt(0) ?? 0;
  return point < 0x100 ? `\\x${point.toString(16).padStart(2, "0")}` : `\\u{${point.toString(16)}}`;
}

function cut(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  // As a stream that goes on: a character that is not complete is left out.
  return `${new TextDecoder().decode(bytes.subarray(0, maxBytes - 3), { stream: true })}…`;
}
