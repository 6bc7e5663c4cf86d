/**
 * Worker entry: one blob into one layer, in the staging directory that the caller made.
 *
 * blob → hash → inflate → hash → guard → second reader → tree; then the changeset and layer.json, both synced. Nothing here
 * commits anything; whatever fails comes back as an outcome, and the caller removes the staging directory.
 */
import { createHash, hash } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from "node:fs";
import { StrataError } from "../src/errors.js";
import type { DiffId, Digest } from "../src/oci/digest.js";
import { digestAlgorithm, parseDiffId, parseDigest } from "../src/oci/digest.js";
import { encodeChangeset } from "../src/overlap/changeset.js";
import {
  type LayerDocument,
  type Outcome,
  outcomeOf,
  TaskProgress,
  type UnpackResult,
  type UnpackTask,
} from "../src/tasks.js";
import { BlobReader } from "./blob-reader.js";
import { inflate } from "./inflate.js";
import { SecondReader } from "./tar-entries.js";
import { TarGuard } from "./tar-guard.js";
import { TreeWriter } from "./tree-writer.js";
import { WriteBehind } from "./write-behind.js";

/** One for the thread: its memory and its helper are kept from task to task. */
const behind = new WriteBehind();

export default (task: UnpackTask): Promise<Outcome<UnpackResult>> =>
  outcomeOf("Cannot unpack the layer", () => unpack(task));

async function unpack(task: UnpackTask): Promise<UnpackResult> {
  const { expected } = task;
  const progress = new TaskProgress(task.progress);
  progress.activity = "working";
  const reader = new BlobReader(task.blob, algorithmOf(expected.digest), progress);
  try {
    const { writer, diffId, tarBytes, decoder } = await writeTree(task, reader, progress);
    const digest = blobDigest(reader, expected.digest);
    if (expected.diffId !== undefined && expected.diffId !== diffId) {
      throw new StrataError(
        "DIFF_ID_MISMATCH",
        `Cannot unpack the layer: its diffID is ${diffId}, the config says ${expected.diffId}`,
      );
    }
    const changesetSha256 = writeChangeset(task.staging, writer);
    const layer: LayerDocument = {
      schema: 1,
      diffId,
      tarBytes,
      ...writer.counts,
      topLevel: writer.index.topLevel(),
      decoder,
      changesetSha256,
      createdAt: new Date().toISOString(),
    };
    writeSynced(`${task.staging}/layer.json`, [`${JSON.stringify(layer)}\n`]);
    return { digest, layer };
  } finally {
    reader.close();
  }
}

interface Written {
  readonly writer: TreeWriter;
  readonly diffId: DiffId;
  readonly tarBytes: number;
  readonly decoder: string;
}

async function writeTree(task: UnpackTask, reader: BlobReader, progress: TaskProgress): Promise<Written> {
  const algorithm = algorithmOf(task.expected.diffId);
  const tree = `${task.staging}/tree`;
  mkdirSync(tree, 0o755);
  const writer = new TreeWriter(tree, task.limits, behind);
  const second = new SecondReader(writer);
  const guard = new TarGuard(second, task.limits);
  const tarHash = createHash(algorithm);
  let tarBytes = 0;
  try {
    const { decoder, chunks } = await inflate(task.codec, () => reader.next(), task.limits);
    for await (const chunk of chunks) {
      tarHash.update(chunk);
      tarBytes += chunk.length;
      guard.push(chunk);
      await second.settle();
      progress.bytesWritten = tarBytes;
      progress.entries = guard.entries;
    }
    guard.finish();
    await second.finish();
    writer.finish();
    return { writer, diffId: parseDiffId(`${algorithm}:${tarHash.digest("hex")}`), tarBytes, decoder };
  } catch (thrown) {
    writer.abandon();
    second.abandon();
    throw await blameTheBlob(thrown, reader, task);
  }
}

/**
 * A damaged blob may fail anywhere in the codec or the tar. Where its digest is known, that is the truth to tell: the rest
 * is read, and a mismatch outranks what the damage looked like. The same bytes so give the same code.
 */
async function blameTheBlob(thrown: unknown, reader: BlobReader, task: UnpackTask): Promise<unknown> {
  if (!(thrown instanceof StrataError) || task.expected.digest === undefined || thrown.code === "SIZE_MISMATCH")
    return thrown;
  try {
    while ((await reader.next()) !== undefined);
    blobDigest(reader, task.expected.digest);
    return thrown;
  } catch (blame) {
    return blame;
  }
}

const algorithmOf = (expected: Digest | DiffId | undefined): string =>
  expected === undefined ? "sha256" : digestAlgorithm(expected);

function blobDigest(reader: BlobReader, expected: Digest | undefined): Digest {
  const digest = parseDigest(`${algorithmOf(expected)}:${reader.digest()}`);
  if (expected !== undefined && digest !== expected) {
    throw new StrataError(
      "DIGEST_MISMATCH",
      `Cannot unpack the layer: the blob's digest is ${digest}, not ${expected}`,
    );
  }
  return digest;
}

function writeChangeset(staging: string, writer: TreeWriter): string {
  const pieces = Array.from(encodeChangeset(writer.index.changeset()), (piece) => Buffer.from(piece, "latin1"));
  writeSynced(`${staging}/changeset`, pieces);
  return hash("sha256", Buffer.concat(pieces), "hex");
}

/** Synced before the rename makes it visible: a committed layer's documents are never empty after a power cut. */
function writeSynced(path: string, pieces: readonly (Buffer | string)[]): void {
  const fd = openSync(path, "wx", 0o644);
  try {
    for (const piece of pieces) {
      const bytes = typeof piece === "string" ? Buffer.from(piece) : piece;
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
