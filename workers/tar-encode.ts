/**
 * Headers of a tar, the same bytes for the same entry on every machine: ustar, and a PAX header before it for what ustar cannot hold.
 *
 * Owners are 0 without a name. Names are bytes (latin1), also in PAX records: what cannot be UTF-8 stays as it is. Pure.
 */
import { BLOCK } from "./tar-header.js";

const NAME_BYTES = 100;
const MAX_USTAR_SIZE = 0o77777777777;

const types = { file: "0", hardlink: "1", symlink: "2", dir: "5", pax: "x" } as const;

export interface HeaderFields {
  readonly type: keyof typeof types;
  /** A directory's ends with a slash. */
  readonly name: string;
  readonly mode: number;
  /** Seconds, from 0 to 2^33 - 1; a fraction is kept to the nanosecond. */
  readonly mtime: number;
  readonly size?: number;
  readonly linkName?: string;
}

/** Whole blocks. */
export function tarHeader(fields: HeaderFields): Buffer {
  const records = paxRecords(fields);
  if (records.length === 0) return ustar(fields);
  const body = Buffer.from(records.join(""), "latin1");
  const extension = ustar({ type: "pax", name: "PaxHeaders", mode: 0o644, mtime: 0, size: body.length });
  return Buffer.concat([extension, body, padding(body.length), ustar(fields)]);
}

/** What fills the last block of a body of so many bytes. */
export const padding = (bytes: number): Buffer => ZEROS.subarray(0, -bytes & (BLOCK - 1));

const ZEROS = Buffer.alloc(2 * BLOCK);
export const END_OF_TAR = ZEROS;

function paxRecords({ name, linkName = "", mtime, size = 0 }: HeaderFields): string[] {
  const needed: (readonly [key: string, value: string, isNeeded: boolean])[] = [
    ["path", name, name.length > NAME_BYTES],
    ["linkpath", linkName, linkName.length > NAME_BYTES],
    ["size", String(size), size > MAX_USTAR_SIZE],
    ["mtime", mtime.toFixed(9).replace(/\.?0+$/, ""), !Number.isInteger(mtime)],
  ];
  return needed.flatMap(([key, value, isNeeded]) => (isNeeded ? [paxRecord(key, value)] : []));
}

/** `<length> <key>=<value>\n`, with the length that counts itself. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return `${length}${rest}`;
}

/** What does not fit is cut: a PAX record has it whole. */
function ustar({ type, name, mode, mtime, size = 0, linkName = "" }: HeaderFields): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void => {
    block.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
  };
  block.write(name.slice(0, NAME_BYTES), 0, "latin1");
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size > MAX_USTAR_SIZE ? 0 : size, 124, 12);
  octal(Math.floor(mtime), 136, 12);
  block.write(" ".repeat(8), 148, "latin1");
  block.write(types[type], 156, "latin1");
  block.write(linkName.slice(0, NAME_BYTES), 157, "latin1");
  block.write("ustar\x0000", 257, "latin1");
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}
