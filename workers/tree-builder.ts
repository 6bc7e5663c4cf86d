/**
 * The other end of tree-thread.ts: starts that thread, gives it a tar piece by piece, and says what became of it.
 */
import { resourceLimits, Worker } from "node:worker_threads";
import { StrataError } from "../src/errors.js";
import type { Outcome } from "../src/tasks.js";
import { FeedWriter } from "./tar-feed.js";
import type { BuiltTree, TreeTask } from "./tree-thread.js";

export class TreeBuilder {
  readonly feed = new FeedWriter();
  #thread: Worker | undefined = this.#start();

  /** Builds the tree of what is put into `feed` until that ends. One at a time; nothing is written any more when it resolves. */
  build(task: Omit<TreeTask, "feed">): Promise<Outcome<BuiltTree>> {
    const thread = this.#thread ?? this.#start();
    this.#thread = thread;
    this.feed.restart();
    return new Promise((resolve) => {
      const over = (outcome: Outcome<BuiltTree>): void => {
        thread.off("message", over).off("error", lost).unref();
        resolve(outcome);
      };
      const lost = (cause: unknown): void => {
        this.feed.readerLost();
        const fact = "Cannot unpack the layer: the thread that writes it ended";
        over({ ok: false, error: new StrataError("WORKER_CRASHED", fact, { cause }).toWire() });
      };
      thread.on("message", over).on("error", lost).ref();
      thread.postMessage({ ...task, feed: this.feed.shared } satisfies TreeTask, [task.topLevel]);
    });
  }

  #start(): Worker {
    // The names of a layer are held there, so it may use what this thread may.
    const thread = new Worker(new URL("./tree-thread.js", import.meta.url), { resourceLimits });
    // Between two tasks nobody else listens, and an error that nobody hears would end this thread too.
    thread.on("error", () => {
      this.#thread = undefined;
    });
    thread.unref();
    return thread;
  }
}
