/**
 * Worker entry: files and texts into an outer tar, in the order given: what makes an oci-archive of blobs and documents.
 *
 * Synced when it is whole; the caller gives it its name, or removes it.
 */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { TaskProgress } from "../src/task-progress.js";
import { type ArchiveMember, type ArchiveTask, type Outcome, outcomeOf } from "../src/tasks.js";
import { fromHere } from "./disk-path.js";
import { END_OF_TAR, padding, tarHeader } from "./tar-encode.js";

const PIECE_BYTES = 1024 * 1024;

export default (task: ArchiveTask): Promise<Outcome<{ bytes: number }>> =>
  outcomeOf("Cannot write the archive", () => {
    const descriptor = openSync(task.file, "r+");
    try {
      return { bytes: write(task, descriptor) };
    } finally {
      closeSync(descriptor);
    }
  });

function write({ members, progress }: ArchiveTask, descriptor: number): number {
  const told = new TaskProgress(progress);
  told.activity = "working";
  let bytes = 0;
  const out = (piece: Buffer): void => {
    for (let at = 0; at < piece.length; ) at += writeSync(descriptor, piece, at);
    bytes += piece.length;
    told.bytesWritten = bytes;
    told.throwIfCancelled();
  };
  for (const member of members) for (const piece of piecesOf(member)) out(piece);
  out(END_OF_TAR);
  fsyncSync(descriptor);
  return bytes;
}

function* piecesOf(member: ArchiveMember): Generator<Buffer> {
  const header = (size: number): Buffer => tarHeader({ type: "file", name: member.name, mode: 0o644, mtime: 0, size });
  if ("text" in member) {
    const body = Buffer.from(member.text);
    yield* [header(body.length), body, padding(body.length)];
    return;
  }
  const descriptor = openSync(fromHere(member.path), "r");
  try {
    const { size } = fstatSync(descriptor);
    yield header(size);
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, size));
    for (let left = size; left > 0; ) {
      const bytes = readSync(descriptor, piece, 0, Math.min(left, piece.length), null);
      if (bytes === 0) throw new Error(`${member.name} became shorter`);
      yield piece.subarray(0, bytes);
      left -= bytes;
    }
    yield padding(size);
  } finally {
    closeSync(descriptor);
  }
}
