/**
 * The other end of tree-thread.ts: starts that thread, gives it a tar piece by piece, and says what became of it. Where that thread has
 * more to write than this one gives, this one writes some of it.
 */
import { resourceLimits, Worker } from "node:worker_threads";
import { StrataError } from "../src/errors.js";
import type { Outcome } from "../src/tasks.js";
import { type FileBatch, newBatches } from "./file-batch.js";
import { FeedWriter } from "./tar-feed.js";
import type { BuiltTree, TreeTask, TreeThreadData } from "./tree-thread.js";

interface TreeThread {
  readonly worker: Worker;
  readonly batches: readonly FileBatch[];
}

export class TreeBuilder {
  readonly #feed = new FeedWriter(() => this.#lendAHand());
  #thread: TreeThread | undefined = this.#newThread();
  #built: Promise<Outcome<BuiltTree>> | undefined;

  /** From now on the thread builds the tree of what is written here, until the end. One tar at a time. */
  start(task: Omit<TreeTask, "feed">): void {
    this.#thread ??= this.#newThread();
    const { worker } = this.#thread;
    this.#feed.restart();
    this.#built = new Promise((resolve) => {
      const over = (outcome: Outcome<BuiltTree>): void => {
        worker.off("message", over).off("error", lost).unref();
        resolve(outcome);
      };
      // Behind its exit its helper has ended too.
      const lost = (cause: unknown): unknown =>
        worker.once("exit", () => {
          this.#feed.readerLost();
          const fact = "Cannot unpack the layer: the thread that writes it ended";
          over({ ok: false, error: new StrataError("WORKER_CRASHED", fact, { cause }).toWire() });
        });
      worker.on("message", over).on("error", lost).ref();
      worker.postMessage({ ...task, feed: this.#feed.shared } satisfies TreeTask, [task.topLevel]);
    });
  }

  /** Memory for what is written next. */
  room(): Promise<Buffer> {
    return this.#feed.room();
  }

  /** Resolves when the thread has them all: true, or false where it wants no more. */
  write(bytes: Buffer): Promise<boolean> {
    return this.#feed.write(bytes);
  }

  /** After the last byte: whether it was the tar's. Nothing is written any more when it resolves. */
  async end(how: "whole" | "cut"): Promise<Outcome<BuiltTree>> {
    this.#feed.end(how);
    await this.#feed.left();
    return this.#built as Promise<Outcome<BuiltTree>>;
  }

  #lendAHand(): boolean {
    const waiting = this.#thread?.batches.find((batch) => batch.claim());
    waiting?.write();
    return waiting !== undefined;
  }

  #newThread(): TreeThread {
    const batches = newBatches();
    const workerData: TreeThreadData = { batches: batches.map(({ shared }) => shared) };
    // The names of a layer are held there, so it may use what this thread may.
    const worker = new Worker(new URL("./tree-thread.js", import.meta.url), { workerData, resourceLimits });
    // Between two tasks nobody else listens, and an error that nobody hears would end this thread too.
    worker.on("error", () => {
      this.#thread = undefined;
    });
    worker.unref();
    return { worker, batches };
  }
}
