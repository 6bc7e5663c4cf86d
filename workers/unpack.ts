/**
 * Worker entry: one blob into one layer, in the staging directory that the caller made.
 *
 * blob → hash → inflate, and on another thread hash → guard → second reader → tree and changeset (tree-thread.ts); then
 * layer.json, synced. A plain tar is its blob: where one algorithm names both, it is hashed once. Nothing here commits anything;
 * whatever fails comes back as an outcome, and the caller removes the staging directory.
 */
import { closeSync } from "node:fs";
import { StrataError } from "../src/errors.js";
import type { DiffId, Digest } from "../src/oci/digest.js";
import { digestAlgorithm, parseDiffId, parseDigest } from "../src/oci/digest.js";
import { TaskProgress } from "../src/task-progress.js";
import { type LayerDocument, type Outcome, outcomeOf, type UnpackResult, type UnpackTask } from "../src/tasks.js";
import { BlobReader } from "./blob-reader.js";
import { fromHere } from "./disk-path.js";
import { inflate } from "./inflate.js";
import { atSite, type Site } from "./layer-site.js";
import { inDirectory, openDirectory } from "./open-directories.js";
import { writeSynced } from "./synced-file.js";
import { TreeBuilder } from "./tree-builder.js";
import type { BuiltTree } from "./tree-thread.js";
import { Windows } from "./windows.js";

/** One for the thread: its memory and its helpers are kept from task to task. */
const builder = new TreeBuilder();

export default (task: UnpackTask): Promise<Outcome<UnpackResult>> =>
  // Where it went on to the thread that builds the tree, closing it is a no-op.
  outcomeOf("Cannot unpack the layer", () => unpack(task)).finally(() => task.topLevel.close());

async function unpack(task: UnpackTask): Promise<UnpackResult> {
  const { expected } = task;
  const progress = new TaskProgress(task.progress);
  progress.activity = "working";
  const promise = promiseOf(task);
  const reader = new BlobReader(task.blob, algorithmOf(promise?.digest), progress);
  const windows = new Windows(task.limits, task.wideWindow, progress);
  try {
    const { tree, decoder } = await atSite(task, (site) => buildTree(task, reader, { site, promise, windows }));
    const digest = blobDigest(reader, promise);
    const { diffId = parseDiffId(digest) } = tree;
    if (expected.diffId !== undefined && expected.diffId !== diffId) {
      throw new StrataError(
        "DIFF_ID_MISMATCH",
        `Cannot unpack the layer: its diffID is ${diffId}, the config says ${expected.diffId}`,
      );
    }
    const layer: LayerDocument = { schema: 1, ...tree, diffId, decoder, createdAt: new Date().toISOString() };
    writeLayerDocument(task.staging, layer);
    return { digest, layer };
  } finally {
    windows.close();
    reader.close();
  }
}

function writeLayerDocument(path: string, layer: LayerDocument): void {
  const staging = openDirectory(fromHere(path));
  try {
    writeSynced(inDirectory(staging, "layer.json"), [Buffer.from(`${JSON.stringify(layer)}\n`)]);
  } finally {
    closeSync(staging);
  }
}

/** What the bytes of the blob are known to hash to, and what it is called where they do not. */
interface Promised {
  readonly digest: Digest | DiffId;
  readonly code: "DIGEST_MISMATCH" | "DIFF_ID_MISMATCH";
}

/** A plain tar that only its config names is its diffID's: then that is what damage breaks. */
function promiseOf({ codec, expected: { digest, diffId } }: UnpackTask): Promised | undefined {
  if (digest !== undefined) return { digest, code: "DIGEST_MISMATCH" };
  return codec === "none" && diffId !== undefined ? { digest: diffId, code: "DIFF_ID_MISMATCH" } : undefined;
}

interface Building {
  readonly site: Site;
  readonly promise: Promised | undefined;
  readonly windows: Windows;
}

async function buildTree(
  { blob, limits, folding, progress, busy, topLevel, codec, decoders, expected }: UnpackTask,
  reader: BlobReader,
  { site, promise, windows }: Building,
): Promise<{ tree: NonNullable<BuiltTree>; decoder: string }> {
  const algorithm = algorithmOf(expected.diffId);
  const isHashedHere = codec === "none" && algorithm === algorithmOf(promise?.digest);
  const hashing = isHashedHere ? undefined : algorithm;
  builder.start({ site, algorithm: hashing, limits, folding, progress, busy, topLevel });
  const told = new TaskProgress(progress);
  let decoder = "";
  let failure: unknown;
  try {
    const inflated = await inflate(codec, () => reader.next(), {
      blobBytes: blob.length,
      limits,
      decoders,
      windows,
      room: () => builder.room(),
    });
    decoder = inflated.decoder;
    for await (const chunk of inflated.chunks) {
      told.throwIfCancelled();
      if (!(await builder.write(chunk))) break;
    }
  } catch (thrown) {
    failure = thrown;
  }
  const built = await builder.end(failure === undefined ? "whole" : "cut");
  // What the tree was refused for lies before whatever ended the codec: it is the first thing wrong with the blob.
  if (!built.ok) throw await blameTheBlob(StrataError.fromWire(built.error), reader, promise);
  if (built.value === undefined) throw await blameTheBlob(failure, reader, promise);
  return { tree: built.value, decoder };
}

/**
 * A damaged blob may fail anywhere in the codec or the tar. Where its digest is known, that is the truth to tell: the rest
 * is read, and a mismatch outranks what the damage looked like. The same bytes so give the same code.
 */
async function blameTheBlob(thrown: unknown, reader: BlobReader, promise: Promised | undefined): Promise<unknown> {
  if (!(thrown instanceof StrataError) || promise === undefined || isFinal.has(thrown.code)) return thrown;
  try {
    while ((await reader.next()) !== undefined);
    blobDigest(reader, promise);
    return thrown;
  } catch (blame) {
    return blame;
  }
}

/** The blob is not there to be blamed, or nobody wants to know. */
const isFinal: ReadonlySet<string> = new Set(["SIZE_MISMATCH", "CANCELLED"]);

const algorithmOf = (expected: Digest | DiffId | undefined): string =>
  expected === undefined ? "sha256" : digestAlgorithm(expected);

function blobDigest(reader: BlobReader, promise: Promised | undefined): Digest {
  const digest = parseDigest(`${algorithmOf(promise?.digest)}:${reader.digest()}`);
  if (promise === undefined || promise.digest === (digest as string)) return digest;
  const what = promise.code === "DIGEST_MISMATCH" ? "the blob's digest" : "its diffID";
  throw new StrataError(promise.code, `Cannot unpack the layer: ${what} is ${digest}, not ${promise.digest}`);
}
