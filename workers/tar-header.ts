/**
 * One 512-byte header block: ustar (POSIX.1-1988) or GNU, its checksum and its numbers. What the fields mean together is the
 * guard's business.
 */
import type { Refuse } from "./tar-entry.js";

export const BLOCK = 512;

export interface RawHeader {
  readonly name: string;
  readonly mode: number;
  readonly owned: boolean;
  readonly size: number;
  readonly mtime: number;
  readonly typeflag: string;
  readonly linkName: string;
  /**
   * A prefix that is one to some readers only. In a GNU header GNU tar reads times there, Go and Python a part of the name; with
   * another version than "00" Go reads an old header, that has none; with star's mark it is 131 bytes long to GNU tar and Go.
   */
  readonly oddPrefix: boolean;
  /** Every reader of tar reads these fields alike: ASCII names, octal numbers, a type of POSIX. */
  readonly plain: boolean;
}

const NUL = 0;
const SPACE = 0x20;
const ZERO = 0x30;
const BINARY = 0x80;

/** The block at `at`, which is not all zeros. Refuses with TAR_CHECKSUM, TAR_FORMAT or TAR_SIZE. */
export function parseHeader(block: Buffer, at: number, refuse: Refuse): RawHeader {
  if (checksum(block, at) !== octal(block, at + 148, 8)) refuse("TAR_CHECKSUM", "a header with a wrong checksum");
  const gnu = isGnu(block, at);
  if (!gnu && !isUstar(block, at)) refuse("TAR_FORMAT", "a header that is neither ustar nor GNU");
  const own = text(block, at, 100);
  const prefix = gnu ? "" : text(block, at + 345, 155);
  const name = prefix === "" ? own : `${prefix}/${own}`;
  const linkName = text(block, at + 157, 100);
  const size = number(block, at + 124, 12);
  if (size === undefined || size < 0 || !Number.isSafeInteger(size))
    return refuse("TAR_SIZE", "a size that is no number");
  const mode = octal(block, at + 100, 8);
  if (mode === undefined) return refuse("TAR_FORMAT", "a mode that is no number");
  const typeflag = String.fromCharCode(block[at + 156] ?? 0);
  return {
    name,
    mode,
    owned: (number(block, at + 108, 8) ?? 0) !== 0 || (number(block, at + 116, 8) ?? 0) !== 0,
    size,
    mtime: number(block, at + 136, 12) ?? 0,
    typeflag,
    linkName,
    oddPrefix: gnu ? !isZeroBlock(block, at + 345, at + 500) : prefix !== "" && !isCommonPrefix(block, at, prefix),
    plain: isPlain(block, at, typeflag) && isAscii(name) && isAscii(linkName),
  };
}

export function isZeroBlock(block: Buffer, from: number, to: number): boolean {
  for (let i = from; i < to; i += 1) if (block[i] !== NUL) return false;
  return true;
}

/** The sum of all bytes, with the checksum's own field counted as spaces. */
function checksum(block: Buffer, at: number): number {
  let sum = 8 * SPACE;
  for (let i = at; i < at + 148; i += 1) sum += block[i] as number;
  for (let i = at + 156; i < at + BLOCK; i += 1) sum += block[i] as number;
  return sum;
}

const USTAR = Buffer.from("ustar\0");
const GNU = Buffer.from("ustar  \0");
const MAGIC = 257;

function isUstar(block: Buffer, at: number): boolean {
  return block.compare(USTAR, 0, USTAR.length, at + MAGIC, at + MAGIC + USTAR.length) === 0;
}

function isGnu(block: Buffer, at: number): boolean {
  return block.compare(GNU, 0, GNU.length, at + MAGIC, at + MAGIC + GNU.length) === 0;
}

const VERSION = Buffer.from("00");
const STAR = Buffer.from("tar\0");
const STAR_PREFIX_BYTES = 131;

function isCommonPrefix(block: Buffer, at: number, prefix: string): boolean {
  const hasVersion = block.compare(VERSION, 0, VERSION.length, at + 263, at + 265) === 0;
  const isStar = block.compare(STAR, 0, STAR.length, at + 508, at + BLOCK) === 0;
  return hasVersion && (prefix.length <= STAR_PREFIX_BYTES || !isStar);
}

function text(block: Buffer, at: number, length: number): string {
  let end = at;
  const limit = at + length;
  while (end < limit && block[end] !== NUL) end += 1;
  return end === at ? "" : block.toString("latin1", at, end);
}

/** Octal digits after spaces and before spaces or NULs, or GNU's base 256; undefined for anything else. Empty is 0. */
function number(block: Buffer, at: number, length: number): number | undefined {
  return ((block[at] as number) & BINARY) === 0 ? octal(block, at, length) : base256(block, at, length);
}

function octal(block: Buffer, at: number, length: number): number | undefined {
  const limit = at + length;
  let i = at;
  while (i < limit && block[i] === SPACE) i += 1;
  let value = 0;
  for (; i < limit; i += 1) {
    const digit = (block[i] as number) - ZERO;
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  for (; i < limit; i += 1) if (block[i] !== NUL && block[i] !== SPACE) return undefined;
  return value;
}

/** GNU: 0x80 starts a positive, 0xff a negative big-endian number; other first bytes are read differently by readers. */
function base256(block: Buffer, at: number, length: number): number | undefined {
  const first = block[at] as number;
  if (first !== 0x80 && first !== 0xff) return undefined;
  let value = first === 0xff ? -1n : 0n;
  for (let i = at + 1; i < at + length; i += 1) value = value * 256n + BigInt(block[i] as number);
  return Number(value);
}

/** Canonical numbers and a POSIX type; the odd spellings are for the second reader to confirm. */
function isPlain(block: Buffer, at: number, typeflag: string): boolean {
  return (
    (typeflag === "0" || typeflag === "5" || typeflag === "2" || typeflag === "1") &&
    ((block[at + 124] as number) & BINARY) === 0
  );
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII as a whole
const NOT_ASCII = /[^\x00-\x7f]/;
const isAscii = (name: string): boolean => !NOT_ASCII.test(name);
