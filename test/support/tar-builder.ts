/**
 * Archives of which a test controls every byte: headers with any field right, odd or wrong, PAX and GNU extensions, framing.
 *
 * Nothing is checked and nothing is completed that was not asked for. Strings are bytes (latin1).
 */

export const BLOCK = 512;

/** A field as its number or as the very bytes that stand there. */
type Field = number | string | Buffer;

export interface HeaderFields {
  readonly name?: string;
  readonly mode?: Field;
  readonly uid?: Field;
  readonly gid?: Field;
  readonly size?: Field;
  readonly mtime?: Field;
  /** Absent: the right one. */
  readonly checksum?: Field;
  readonly type?: string;
  readonly linkName?: string;
  readonly magic?: string;
  readonly prefix?: string;
  /** The last bytes of the block, where star has its mark. */
  readonly trailer?: string;
}

export const USTAR_MAGIC = "ustar\x0000";
export const GNU_MAGIC = "ustar  \0";
/** What the builder writes where a test does not care. */
export const MTIME = 1_700_000_000;

export function header(fields: HeaderFields): Buffer {
  const block = Buffer.alloc(BLOCK);
  const put = (at: number, length: number, field: Field): void => {
    const bytes =
      typeof field === "number"
        ? Buffer.from(`${field.toString(8).padStart(length - 1, "0")}\0`)
        : Buffer.from(field as string, "latin1");
    bytes.copy(block, at, 0, length);
  };
  put(0, 100, fields.name ?? "");
  put(100, 8, fields.mode ?? 0o644);
  put(108, 8, fields.uid ?? 0);
  put(116, 8, fields.gid ?? 0);
  put(124, 12, fields.size ?? 0);
  put(136, 12, fields.mtime ?? MTIME);
  put(156, 1, fields.type ?? "0");
  put(157, 100, fields.linkName ?? "");
  put(257, 8, fields.magic ?? USTAR_MAGIC);
  put(345, 155, fields.prefix ?? "");
  put(508, 4, fields.trailer ?? "");
  put(148, 8, "        ");
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(148, 8, fields.checksum ?? `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

/** Bytes padded with zeros to whole blocks. */
export function padded(bytes: Buffer | string): Buffer {
  const body = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes;
  return Buffer.concat([body, Buffer.alloc(-body.length & (BLOCK - 1))]);
}

/** A header and its body; the size is the body's where the fields do not say another. */
export function member(fields: HeaderFields, body: Buffer | string = ""): Buffer {
  return Buffer.concat([header({ size: body.length, ...fields }), padded(body)]);
}

export const file = (name: string, body: Buffer | string = "", fields: HeaderFields = {}): Buffer =>
  member({ name, ...fields }, body);
export const directory = (name: string, fields: HeaderFields = {}): Buffer =>
  member({ name, type: "5", mode: 0o755, ...fields });
export const symlink = (name: string, linkName: string, fields: HeaderFields = {}): Buffer =>
  member({ name, type: "2", mode: 0o777, linkName, ...fields });
export const hardlink = (name: string, linkName: string, fields: HeaderFields = {}): Buffer =>
  member({ name, type: "1", linkName, ...fields });

/** One record, `<length> <key>=<value>\n`, with the length that counts itself. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length;
  while (length !== rest.length + String(length).length) length = rest.length + String(length).length;
  return `${length}${rest}`;
}

/** An extended header of these records, or of this very text. */
export function pax(records: Readonly<Record<string, string>> | string, fields: HeaderFields = {}): Buffer {
  const body =
    typeof records === "string"
      ? records
      : Object.entries(records)
          .map(([key, value]) => paxRecord(key, value))
          .join("");
  return member({ name: "PaxHeaders/x", type: "x", ...fields }, body);
}

/** GNU's long name (`L`) or long link target (`K`) of the entry that follows. */
export const gnuLong = (type: "L" | "K", text: string, fields: HeaderFields = {}): Buffer =>
  member({ name: "././@LongLink", type, magic: GNU_MAGIC, mode: 0, mtime: 0, ...fields }, `${text}\0`);

/** The end marker: two blocks of zeros. */
export const END = Buffer.alloc(2 * BLOCK);

/** These parts and the end marker. */
export const tar = (...parts: readonly Buffer[]): Buffer => Buffer.concat([...parts, END]);

/** GNU's base-256 number for a field of 12 bytes. */
export function base256(value: bigint, first = 0x80): Buffer {
  const bytes = Buffer.alloc(12);
  let left = BigInt.asUintN(88, value);
  for (let at = 11; at > 0; at -= 1) {
    bytes[at] = Number(left & 0xffn);
    left >>= 8n;
  }
  bytes[0] = first;
  return bytes;
}
