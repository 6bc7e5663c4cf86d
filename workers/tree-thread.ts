/**
 * The thread that turns a tar into a layer's tree and changeset, beside the one that inflates it (unpack.ts): hash → guard → second
 * reader → tree. It lives as long as its pool thread, and sleeps when there is nothing to build.
 */
import { createHash } from "node:crypto";
import { availableParallelism } from "node:os";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { BusyThreads } from "../src/busy-threads.js";
import { type ImageLimits, MAX_TOP_LEVEL_TOLD } from "../src/limits.js";
import { type DiffId, parseDiffId } from "../src/oci/digest.js";
import { encodeChangeset } from "../src/overlap/changeset.js";
import type { Folding } from "../src/overlap/name-folding.js";
import type { TopLevelName } from "../src/root-tasks.js";
import { TaskProgress } from "../src/task-progress.js";
import { type LayerDocument, type Outcome, outcomeOf } from "../src/tasks.js";
import { FileBatch } from "./file-batch.js";
import { FileObjects } from "./file-objects.js";
import type { Site } from "./layer-site.js";
import { inDirectory } from "./open-directories.js";
import { Pace } from "./pace.js";
import { writeSyncedText } from "./synced-file.js";
import { SecondReader } from "./tar-entries.js";
import { FeedReader } from "./tar-feed.js";
import { TarGuard } from "./tar-guard.js";
import { TreeWriter } from "./tree-writer.js";
import { WriteBehind } from "./write-behind.js";

export interface TreeThreadData {
  /** Of small files, for whichever thread has time. */
  readonly batches: readonly SharedArrayBuffer[];
}

export interface TreeTask {
  readonly site: Site;
  /** Of the diffID; undefined where whoever gives the tar hashes it. */
  readonly algorithm: string | undefined;
  readonly limits: ImageLimits;
  readonly folding: Folding | undefined;
  readonly progress: SharedArrayBuffer;
  /** The pool's BusyThreads. */
  readonly busy: SharedArrayBuffer;
  readonly feed: SharedArrayBuffer;
  readonly topLevel: MessagePort;
}

/** What layer.json says of the tar and its tree, with what was hashed here; undefined where the feed was cut before it was whole. */
export type BuiltTree =
  | (Omit<LayerDocument, "schema" | "diffId" | "decoder" | "createdAt"> & { readonly diffId: DiffId | undefined })
  | undefined;

/** One for the thread: its helper is kept from task to task. */
const behind = new WriteBehind((workerData as TreeThreadData).batches.map((memory) => new FileBatch(memory)));

parentPort?.on("message", async (task: TreeTask) => {
  const feed = new FeedReader(task.feed);
  const outcome: Outcome<BuiltTree> = await outcomeOf("Cannot unpack the layer", () => build(task, feed));
  task.topLevel.close();
  feed.leave();
  parentPort?.postMessage(outcome);
});

async function build(
  { site: { staging, tree, files }, algorithm, limits, folding, progress, busy, topLevel }: TreeTask,
  feed: FeedReader,
): Promise<BuiltTree> {
  const objects = files === undefined ? undefined : new FileObjects(files, staging);
  const told = new TaskProgress(progress);
  const threads = new BusyThreads(busy);
  const tick = (): void => {
    told.steps += 1;
  };
  const pace = new Pace(availableParallelism());
  behind.open(
    { tree, objects },
    {
      isReaderBehind: () => feed.isBehind,
      needsHelper: () => pace.needsHelper(threads.count),
      call: () => feed.callWriter(),
    },
  );
  const writer = new TreeWriter(tree, { limits, folding, behind, objects, tick });
  writer.index.onTopLevel(teller(topLevel));
  const tar = await write(feed, writer, { algorithm, limits, progress: told, pace });
  if (tar === undefined) return undefined;
  const changeset = encodeChangeset(writer.index.changeset());
  return {
    ...tar,
    ...writer.counts,
    topLevel: writer.index.topLevel(),
    changesetSha256: writeSyncedText(inDirectory(staging, "changeset"), changeset, tick),
  };
}

function teller(port: MessagePort): (name: TopLevelName) => void {
  let told = 0;
  return (name) => {
    if (told < MAX_TOP_LEVEL_TOLD) port.postMessage(name);
    told += 1;
  };
}

interface Writing extends Pick<TreeTask, "algorithm" | "limits"> {
  readonly progress: TaskProgress;
  readonly pace: Pace;
}

/** Everything of the feed through the guard into the tree. Undefined where it was cut before it was whole. */
async function write(
  feed: FeedReader,
  writer: TreeWriter,
  { algorithm, limits, progress, pace }: Writing,
): Promise<Pick<NonNullable<BuiltTree>, "diffId" | "tarBytes"> | undefined> {
  const hash = algorithm === undefined ? undefined : createHash(algorithm);
  let tarBytes = 0;
  const second = new SecondReader(writer);
  const guard = new TarGuard(second, limits);
  let isWritten = false;
  try {
    for (let piece = feed.next(); piece !== undefined; piece = feed.next()) {
      hash?.update(piece);
      tarBytes += piece.length;
      guard.push(piece);
      await second.settle();
      pace.wrote(piece.length, feed.isBehind);
      progress.bytesWritten += piece.length;
      progress.entries = guard.entries;
    }
    if (!feed.isWhole) return undefined;
    guard.finish();
    await second.finish();
    writer.finish();
    isWritten = true;
    return { diffId: hash && parseDiffId(`${algorithm}:${hash.digest("hex")}`), tarBytes };
  } finally {
    if (!isWritten) {
      writer.abandon();
      second.abandon();
    }
  }
}
