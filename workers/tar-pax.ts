/**
 * The records of a PAX extended header (POSIX.1-2001, pax): strict, because lenient readers disagree (facts.md, tar-stream).
 * Only the keys that change what is unpacked are kept; others are read and dropped.
 */
import type { Refuse } from "./tar-entry.js";

export interface PaxRecords {
  /** Bytes, latin1; whatever `hdrcharset` says, names are bytes. */
  readonly path?: string;
  readonly linkpath?: string;
  readonly size?: number;
  /** Seconds with their fraction; NaN where it is no number. */
  readonly mtime?: number;
  readonly sparse: boolean;
  readonly xattrs: number;
}

const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;
const ZERO = 0x30;
/** A record's length never needs more digits: the header itself is bounded. */
const MAX_LENGTH_DIGITS = 8;

/** Refuses with TAR_PAX, TAR_SIZE, BAD_NAME or BAD_LINK. */
export function parsePax(body: Buffer, refuse: Refuse): PaxRecords {
  const found: { path?: string; linkpath?: string; size?: number; mtime?: number } = {};
  let sparse = false;
  let xattrs = 0;
  for (let at = 0; at < body.length; ) {
    const { keyStart, end } = frame(body, at, refuse);
    const equals = body.indexOf(EQUALS, keyStart);
    if (equals === -1 || equals >= end || equals === keyStart)
      refuse("TAR_PAX", "an extended header record without a key");
    const key = body.toString("latin1", keyStart, equals);
    // Readers in C take the NUL for the record's end, and leave the header with what they had read.
    if (key.includes("\0")) refuse("TAR_PAX", "a NUL in the key of an extended header record");
    const value = body.toString("latin1", equals + 1, end - 1);
    at = end;
    if (key === "path" || key === "linkpath") {
      if (found[key] !== undefined) refuse("TAR_PAX", `${key} twice in one extended header`);
      if (value === "") refuse("TAR_PAX", `an empty ${key} in an extended header`);
      if (value.includes("\0"))
        refuse(key === "path" ? "BAD_NAME" : "BAD_LINK", `a NUL in the ${key} of an extended header`);
      found[key] = value;
    } else if (key === "size") {
      if (found.size !== undefined) refuse("TAR_PAX", "size twice in one extended header");
      found.size = parseSize(value, refuse);
    } else if (key === "mtime") {
      found.mtime = Number(value);
    } else if (isOfSparse(key)) {
      sparse = true;
    } else if (key.startsWith("SCHILY.xattr.") || key.startsWith("LIBARCHIVE.xattr.")) {
      xattrs += 1;
    }
  }
  return { ...found, sparse, xattrs };
}

/** Of GNU tar, star and Solaris; bsdtar obeys all of them, and GNU tar and Python only the first. */
const isOfSparse = (key: string): boolean =>
  key.startsWith("GNU.sparse.") || key === "SCHILY.realsize" || key === "SUN.holesdata";

/** One record is `<length> <key>=<value>\n`, where the decimal length counts the whole record. */
function frame(body: Buffer, at: number, refuse: Refuse): { keyStart: number; end: number } {
  let length = 0;
  let i = at;
  for (; i < body.length && body[i] !== SPACE; i += 1) {
    const digit = (body[i] as number) - ZERO;
    if (digit < 0 || digit > 9 || i - at >= MAX_LENGTH_DIGITS)
      refuse("TAR_PAX", "an extended header record with a bad length");
    length = length * 10 + digit;
  }
  const end = at + length;
  // Beyond the body there is no newline; a length that ends before the key leaves none.
  if (body[end - 1] !== NEWLINE) refuse("TAR_PAX", "an extended header record whose length is wrong");
  return { keyStart: i + 1, end };
}

function parseSize(value: string, refuse: Refuse): number {
  const size = /^[0-9]{1,16}$/.test(value) ? Number(value) : Number.NaN;
  return Number.isSafeInteger(size) ? size : refuse("TAR_SIZE", "a size that is no number in an extended header");
}
