/**
 * Worker entry: a stored layer, or entries of several, into a blob that an image may have, compressed or not.
 */
import { createHash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import { parseDiffId, parseDigest } from "../src/oci/digest.js";
import { TaskProgress } from "../src/task-progress.js";
import { type Outcome, outcomeOf, type PackResult, type PackTask } from "../src/tasks.js";
import { codersOf, type StartCoder } from "./coders.js";
import { fromHere } from "./disk-path.js";
import { type StoredEntries, withEntries } from "./entries-file.js";
import { LayerTar, type SourcedEntry } from "./layer-tar.js";
import { OpenTrees } from "./open-trees.js";

/** Headers are small: hashes and codec are given so much at once. */
const CHUNK_BYTES = 256 * 1024;

export default (task: PackTask): Promise<Outcome<PackResult>> =>
  outcomeOf("Cannot pack the layer", async () => {
    const start = await codersOf(task.codec);
    const trees = new OpenTrees(task.trees);
    try {
      return withEntries(task.entries, (entries) => {
        const sourced = task.entries.kind === "plan" ? () => entries.part(0, 1) : () => fromItself(entries);
        return pack(task, start, new LayerTar(sourced, trees).pieces());
      });
    } finally {
      trees.close();
    }
  });

/** A layer as it stands: whiteouts and unresolved links too. */
function* fromItself(entries: StoredEntries): Generator<SourcedEntry> {
  for (const entry of entries.unplanned()) yield { layer: 0, from: entry.path, entry };
}

function pack({ file, progress }: PackTask, start: StartCoder, tar: Iterable<Buffer>): PackResult {
  const told = new TaskProgress(progress);
  told.activity = "working";
  const [tarHash, blobHash] = [createHash("sha256"), createHash("sha256")];
  const descriptor = openSync(fromHere(file), "wx", 0o644);
  let [tarBytes, size] = [0, 0];
  try {
    const out = (bytes: Uint8Array): void => {
      blobHash.update(bytes);
      size += bytes.length;
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
    };
    const coder = start(out);
    for (const chunk of chunksOf(tar)) {
      told.throwIfCancelled();
      tarHash.update(chunk);
      coder.push(chunk);
      tarBytes += chunk.length;
      told.bytesWritten = tarBytes;
    }
    coder.end();
  } finally {
    closeSync(descriptor);
  }
  const [diffId, digest] = [tarHash, blobHash].map((hash) => `sha256:${hash.digest("hex")}`) as [string, string];
  return { diffId: parseDiffId(diffId), digest: parseDigest(digest), size, tarBytes };
}

/** Each is only valid until the next. */
function* chunksOf(pieces: Iterable<Buffer>): Generator<Buffer> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  let filled = 0;
  for (const piece of pieces)
    for (let at = 0; at < piece.length; ) {
      const bytes = piece.copy(chunk, filled, at);
      at += bytes;
      filled += bytes;
      if (filled < CHUNK_BYTES) continue;
      yield chunk;
      filled = 0;
    }
  yield chunk.subarray(0, filled);
}
