/**
 * An eStargz blob (stargz-snapshotter, docs/estargz.md) of a tar: a gzip member begins at the top, at the content of each file and at
 * each further chunk of it, at the table of contents and at the footer.
 */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { END, file } from "../support/tar-builder.js";

/** An entry of the tar, with the properties that the table of contents has of it. */
export interface StargzEntry {
  readonly name: string;
  readonly type: "reg" | "dir" | "symlink" | "hardlink";
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly linkName: string;
  readonly size: number;
  /** Where its content begins in the tar. */
  readonly at: number;
}

interface TocEntry extends Partial<Omit<StargzEntry, "type">> {
  readonly type: StargzEntry["type"] | "chunk";
  /** Of the gzip member in the blob. */
  readonly offset?: number;
  readonly chunkOffset?: number;
  readonly chunkSize?: number;
  readonly chunkDigest?: string;
}

const CHUNK_BYTES = 64 * 1024;
export const FOOTER_BYTES = 51;

/** `tar` ends before its end marker. A `legacy` footer is that of stargz, whose extra field has no subfield. */
export function estargz(tar: Buffer, entries: readonly StargzEntry[], { legacy = false } = {}): Buffer {
  const members: Buffer[] = [];
  const toc: TocEntry[] = [];
  let [from, written] = [0, 0];
  const memberUntil = (end: number): void => {
    const member = gzipSync(tar.subarray(from, end));
    members.push(member);
    written += member.length;
    from = end;
  };
  for (const { at, ...entry } of entries) {
    if (entry.type !== "reg" || entry.size === 0) toc.push(entry);
    else
      for (let chunkOffset = 0; chunkOffset < entry.size; chunkOffset += CHUNK_BYTES) {
        memberUntil(at + chunkOffset);
        const isLast = chunkOffset + CHUNK_BYTES >= entry.size;
        const chunk = tar.subarray(from, isLast ? at + entry.size : from + CHUNK_BYTES);
        const chunkDigest = `sha256:${createHash("sha256").update(chunk).digest("hex")}`;
        const { name } = entry;
        const what = chunkOffset === 0 ? entry : { name, type: "chunk" as const };
        toc.push({ ...what, offset: written, chunkOffset, chunkSize: isLast ? 0 : CHUNK_BYTES, chunkDigest });
      }
  }
  memberUntil(tar.length);
  const index = file("stargz.index.json", JSON.stringify({ version: 1, entries: toc }, undefined, "\t"));
  return Buffer.concat([...members, gzipSync(Buffer.concat([index, END])), footer(written, legacy)]);
}

/** An empty member, stored, whose extra field says where the table is; CRC and length of nothing are 0. */
function footer(tocOffset: number, legacy: boolean): Buffer {
  const place = Buffer.from(`${tocOffset.toString(16).padStart(16, "0")}STARGZ`);
  const subfield = legacy ? Buffer.alloc(0) : Buffer.from([0x53, 0x47, place.length, 0]);
  return Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255]),
    Buffer.from([subfield.length + place.length, 0]),
    subfield,
    place,
    Buffer.from([1, 0, 0, 0xff, 0xff]),
    Buffer.alloc(8),
  ]);
}
