/**
 * Makes untrusted text safe to show: in a log line, a message, an event or a terminal (invariant 10).
 *
 * Control characters, invalid UTF-8, bidirectional controls and line separators become `\xHH` or `\u{H}`; a backslash is
 * doubled so that the result is unambiguous. Knows nothing of who shows it.
 */

const UNSAFE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it removes
  /[\u0000-\u001f\u007f-\u009f\\\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\p{Cs}|\p{Co}|\p{Cn}/gu;

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
  if (Buffer.byteLength(text) <= maxBytes) return text;
  let end = Math.min(text.length, maxBytes);
  while (end > 0 && Buffer.byteLength(text.slice(0, end)) > maxBytes - 3) end -= 1;
  return `${text.slice(0, end)}…`;
}
