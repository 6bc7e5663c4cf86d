/**
 * The files of an outer tar archive: one open file, its members found by name among the members only.
 *
 * The archive must not be compressed: its members are used where they stand, at an offset. Refusals are ARCHIVE_LAYOUT.
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { StrataError, systemErrorCode } from "../errors.js";
import { MAX_DOCUMENT_BYTES } from "../limits.js";
import { printable } from "../printable.js";
import { indexMembers, type Member, memberName, refusal } from "./archive-members.js";
import { documentTooBig } from "./checked-document.js";
import { compressionOf, MAGIC_BYTES } from "./compression.js";
import { type Files, readAt, unreadable } from "./files.js";

/** `real` is `path` without symlinks. The caller closes what it gets. */
export async function archiveFiles(path: string, real: string): Promise<Files> {
  const handle = await openArchive(real);
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw refusal(`${printable(path)} is not a regular file`);
    await refuseCompressed(handle, stat.size);
    const members = await indexMembers(handle, stat.size);
    return filesOf(handle, members, { path, real });
  } catch (error) {
    await handle.close();
    throw error instanceof StrataError ? error.with({ archive: printable(path) }) : error;
  }
}

function filesOf(
  handle: FileHandle,
  members: ReadonlyMap<string, Member>,
  { path, real }: { readonly path: string; readonly real: string },
): Files {
  return {
    path,
    read: async (name) => {
      const member = fileMember(members, name);
      if (member === undefined) return undefined;
      if (member.size > MAX_DOCUMENT_BYTES) throw documentTooBig(name, `it has ${member.size} bytes`);
      return readAt(handle, member.size, member.offset);
    },
    start: async (name, bytes) => {
      const member = fileMember(members, name);
      return member === undefined ? undefined : readAt(handle, Math.min(bytes, member.size), member.offset);
    },
    locate: async (name) => {
      const member = fileMember(members, name);
      return member === undefined ? undefined : { path: real, offset: member.offset, length: member.size };
    },
    close: () => handle.close(),
  };
}

/** Older `docker save` writes a repeated layer as a link to the first: one hop, to a file. */
function fileMember(members: ReadonlyMap<string, Member>, name: string): Member | undefined {
  const normal = memberName(name);
  const member = normal === undefined ? undefined : members.get(normal);
  if (member === undefined || member.kind === "file") return member;
  const target = member.target === undefined ? undefined : members.get(member.target);
  if (target?.kind === "file") return target;
  throw refusal(`the member '${printable(name)}' is neither a file nor one link to a file in the archive`);
}

/** A FIFO would block open(2) for ever. */
async function openArchive(real: string): Promise<FileHandle> {
  try {
    return await open(real, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    const errno = systemErrorCode(error);
    if (errno !== "EACCES") throw refusal(`${printable(real)}: ${errno ?? "it does not open"}`);
    throw unreadable(real);
  }
}

/** No further than the size: a file of the kernel's has none, and may wait for what to say. */
async function refuseCompressed(handle: FileHandle, size: number): Promise<void> {
  const compression = compressionOf(await readAt(handle, Math.min(MAGIC_BYTES, size), 0));
  if (compression === "none") return;
  throw refusal(`it is compressed with ${compression}`, "Decompress the archive first; its layers may be compressed.");
}
