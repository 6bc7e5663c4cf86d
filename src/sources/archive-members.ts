/**
 * The index of an outer archive: where each member's bytes stand, found without reading a body.
 *
 * Headers are decoded by tar-stream, one at a time; positions and sizes are our own reading of the same blocks, and where the
 * two differ the archive is refused. Every refusal is ARCHIVE_LAYOUT. Knows nothing of images.
 */
import type { FileHandle } from "node:fs/promises";
import { posix } from "node:path";
import { extract, type Header } from "tar-stream";
import { StrataError } from "../errors.js";
import { imageLimits, MAX_ARCHIVE_MEMBERS } from "../limits.js";
import { printable } from "../printable.js";
import { readAt } from "./files.js";

export interface Member {
  readonly kind: "file" | "link" | "other";
  readonly offset: number;
  readonly size: number;
  /** The member that a link names, normalised; undefined where it leads out of the archive. */
  readonly target?: string | undefined;
}

/** Members by normalised name. The bytes of `handle` must not change; the caller closes it. */
export async function indexMembers(handle: FileHandle, archiveBytes: number): Promise<ReadonlyMap<string, Member>> {
  const members = new Map<string, Member>();
  let headers: Buffer[] = [];
  let seen = 0;
  for (let position = 0; position < archiveBytes; ) {
    const block = await readAt(handle, BLOCK, position);
    if (block.length < BLOCK) throw refusal(`it ends in the middle of a header at byte ${position}`, hintAt(position));
    if (block.every((byte) => byte === 0)) break;
    seen += 1;
    if (seen > MAX_ARCHIVE_MEMBERS) throw refusal(`it has more than ${MAX_ARCHIVE_MEMBERS} headers`);
    const ownSize = sizeField(block, position);
    const body = position + BLOCK;
    const type = typeOf(block);
    if (EXTENSIONS.includes(type)) {
      if (headers.some((earlier) => typeOf(earlier) === type))
        throw refusal(`two '${type}' headers at byte ${position}`);
      const extension = await extensionBody(handle, { size: ownSize, body, archiveBytes });
      if (type === "g") refuseGlobal(extension);
      else headers.push(Buffer.concat([block, extension]));
      position = body + padded(ownSize);
      continue;
    }
    const header = await decode(Buffer.concat([...headers, block]), position);
    const size = agreedSize(header, ownSize, position);
    if (body + size > archiveBytes) throw refusal(`the member '${printable(header.name)}' goes beyond its end`);
    add(members, header, { offset: body, size });
    headers = [];
    position = body + padded(size);
  }
  if (headers.length > 0) throw refusal("it ends after an extended header");
  return members;
}

/** `./a//b` is `a/b`; undefined for what could lead out. */
export function memberName(name: string): string | undefined {
  const normal = posix.normalize(name.replace(/^\/+/, "")).replace(/\/$/, "");
  return name.split("/").includes("..") || name.includes("\0") || normal === "." ? undefined : normal;
}

/** ARCHIVE_LAYOUT, to be thrown. */
export function refusal(fact: string, hint?: string): StrataError {
  return new StrataError("ARCHIVE_LAYOUT", `Cannot read the archive: ${fact}`, { hint });
}

const BLOCK = 512;
/** PAX, global PAX, GNU long name and long link: each at most once before a member. */
const EXTENSIONS = ["x", "g", "L", "K"];

const padded = (size: number) => Math.ceil(size / BLOCK) * BLOCK;
const typeOf = (block: Buffer) => String.fromCharCode(block[156] ?? 0);

interface Extent {
  readonly size: number;
  readonly body: number;
  readonly archiveBytes: number;
}

async function extensionBody(handle: FileHandle, { size, body, archiveBytes }: Extent): Promise<Buffer> {
  if (size > imageLimits.maxHeaderBytes) throw refusal(`an extended header of ${size} bytes at byte ${body - BLOCK}`);
  if (body + padded(size) > archiveBytes) throw refusal(`it ends in the extended header at byte ${body - BLOCK}`);
  return readAt(handle, padded(size), body);
}

/** A comment is fine; what would rename or resize every later member is not. */
function refuseGlobal(body: Buffer): void {
  if (/ (?:path|linkpath|size)=/.test(body.toString("latin1"))) throw refusal("a global header sets path or size");
}

/** The blocks are an archive of one member without its body: tar-stream shows the header, and is then thrown away. */
function decode(blocks: Buffer, position: number): Promise<Header> {
  return new Promise((resolve, reject) => {
    const parser = extract();
    const refuse = (cause?: unknown) => {
      const hint = hintAt(position);
      reject(
        new StrataError("ARCHIVE_LAYOUT", `Cannot read the archive: no header at byte ${position}`, { cause, hint }),
      );
    };
    parser.on("entry", (header, stream) => {
      stream.on("error", () => {});
      resolve(header);
      parser.destroy();
    });
    parser.on("error", refuse);
    parser.on("close", () => refuse());
    parser.end(blocks);
  });
}

const hintAt = (position: number) => (position === 0 ? "It is not a tar archive, or it is damaged." : undefined);

/** ustar's octal digits, or GNU's base-256 for what they cannot hold. */
function sizeField(block: Buffer, position: number): number {
  const field = block.subarray(124, 136);
  if (field[0] === 0x80 && field.readUInt32BE(0) === 0x80000000 && field.readUInt16BE(4) === 0) {
    return field.readUIntBE(6, 6);
  }
  const text = field.toString("latin1");
  if (!/^ *[0-7]*[ \0]*$/.test(text))
    throw refusal(`the size in the header at byte ${position} is no number`, hintAt(position));
  return Number.parseInt(text.trim().replaceAll("\0", "") || "0", 8);
}

function agreedSize(header: Header, ownSize: number, position: number): number {
  const { size: claimed } = (header.pax ?? {}) as { readonly size?: string };
  const size = claimed === undefined ? ownSize : /^\d{1,15}$/.test(claimed) ? Number(claimed) : Number.NaN;
  if (header.size === size) return size;
  throw refusal(`the size of the member at byte ${position} can be read in two ways`);
}

function add(members: Map<string, Member>, header: Header, place: { offset: number; size: number }): void {
  const name = memberName(header.name);
  const kind = kinds[header.type ?? ""] ?? "other";
  if (kind !== "file" && place.size > 0) throw refusal(`'${printable(header.name)}' is no file and has a body`);
  // Nothing looks up a name that leads out, so it need not be refused.
  if (name === undefined) return;
  const earlier = members.get(name);
  if (earlier !== undefined && (kind !== "other" || earlier.kind !== "other")) {
    throw refusal(`the member '${printable(name)}' is there twice`);
  }
  members.set(name, { ...place, kind, ...(kind === "link" ? { target: targetOf(name, header) } : {}) });
}

const kinds: Readonly<Record<string, Member["kind"]>> = {
  file: "file",
  "contiguous-file": "file",
  symlink: "link",
  link: "link",
};

/** A symlink is relative to its directory, a hard link to the archive. */
function targetOf(name: string, header: Header): string | undefined {
  const link = header.linkname ?? "";
  if (header.type === "link") return memberName(link);
  if (link.startsWith("/")) return undefined;
  const target = posix.join(posix.dirname(name), link);
  return target === ".." || target.startsWith("../") ? undefined : memberName(target);
}
