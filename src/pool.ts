/**
 * The worker threads: wraps Piscina, and is the only file that names workers/.
 *
 * A task goes out as data and an outcome comes back as data; what goes wrong with the thread itself (it died, ran out of
 * memory, made no progress) becomes WORKER_CRASHED or WORKER_STALLED, and the pool goes on with a new thread. Knows nothing
 * of what the tasks mean.
 */
import { Piscina, type PiscinaTask, type TaskQueue } from "piscina";
import { StrataError } from "./errors.js";
import type { Log } from "./log.js";
import type { Outcome, TaskProgress, Tasks, WorkerName } from "./tasks.js";

export interface PoolOptions {
  readonly threads: number;
  /** A task whose progress stands still this long is ended. */
  readonly stallTimeoutMs: number;
  readonly log: Log;
}

export interface RunOptions {
  readonly signal?: AbortSignal;
  /** Larger ones run first among those that wait. */
  readonly weight?: number;
  /** What the stall watch looks at; a task without one is not watched. */
  readonly progress?: TaskProgress;
}

const HEAP_MB = 512;
const STALL_CHECKS = 4;

export class Pool {
  readonly #piscina: Piscina;
  readonly #options: PoolOptions;
  #running = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#piscina = new Piscina({
      minThreads: options.threads,
      maxThreads: options.threads,
      idleTimeout: 2 ** 31 - 1,
      // The default wait would stop pending asynchronous work in the thread: inflating ahead.
      atomics: "disabled",
      taskQueue: new WeightedQueue(),
      // A bound for runaway JavaScript; Buffers are not counted, they are bounded by the queues of the workers.
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
  }

  get threads(): number {
    return this.#options.threads;
  }

  get busy(): number {
    return Math.min(this.#running, this.#options.threads);
  }

  get queued(): number {
    return Math.max(0, this.#running - this.#options.threads);
  }

  /** Runs a task to its end. Throws what the worker's outcome says, CANCELLED, WORKER_CRASHED or WORKER_STALLED. */
  async run<Name extends WorkerName>(
    name: Name,
    task: Tasks[Name]["task"],
    options: RunOptions = {},
  ): Promise<Tasks[Name]["result"]> {
    const stalled = new AbortController();
    const stopWatch = this.#watch(options.progress, stalled);
    const signal = AbortSignal.any([stalled.signal, ...(options.signal === undefined ? [] : [options.signal])]);
    this.#running += 1;
    try {
      const outcome: Outcome<Tasks[Name]["result"]> = await this.#piscina.run(weighted(task, options.weight ?? 0), {
        filename: new URL(`../workers/${name}.js`, import.meta.url).href,
        signal,
      });
      if (outcome.ok) return outcome.value;
      throw this.#received(name, outcome.error);
    } catch (thrown) {
      if (thrown instanceof StrataError) throw thrown;
      if (stalled.signal.aborted) {
        throw new StrataError(
          "WORKER_STALLED",
          `Cannot finish ${name}: no progress for ${this.#options.stallTimeoutMs} ms`,
        );
      }
      if (signal.aborted) throw new StrataError("CANCELLED", `Cannot finish ${name}: it was cancelled`);
      this.#options.log.error("worker.crashed", { worker: name, error: thrown });
      throw new StrataError("WORKER_CRASHED", `Cannot finish ${name}: the worker thread ended`, { cause: thrown });
    } finally {
      stopWatch();
      this.#running -= 1;
    }
  }

  async close(): Promise<void> {
    await this.#piscina.destroy();
  }

  /** A stack is for the log, never for a client. */
  #received(name: WorkerName, wire: Extract<Outcome<never>, { ok: false }>["error"]): StrataError {
    if (wire.code !== "INTERNAL") return StrataError.fromWire(wire);
    this.#options.log.error("worker.failed", { worker: name, error: wire });
    const { stack: _stack, ...details } = wire.details ?? {};
    return StrataError.fromWire({ ...wire, details });
  }

  #watch(progress: TaskProgress | undefined, stalled: AbortController): () => void {
    if (progress === undefined) return () => undefined;
    let seen = "";
    let still = 0;
    const timer = setInterval(() => {
      const now = `${progress.bytesRead} ${progress.bytesWritten} ${progress.entries}`;
      still = now === seen && progress.activity === "working" ? still + 1 : 0;
      seen = now;
      if (still >= STALL_CHECKS) stalled.abort();
    }, this.#options.stallTimeoutMs / STALL_CHECKS);
    timer.unref();
    return () => clearInterval(timer);
  }
}

interface Weighted {
  readonly weight: number;
}

/** Piscina hands the queue its own wrapper of the task; the weight travels beside it under Piscina's symbol. */
function weighted<Task extends object>(task: Task, weight: number): Task {
  Object.defineProperty(task, Piscina.queueOptionsSymbol, { value: { weight } satisfies Weighted, configurable: true });
  return task;
}

/** Largest first, in the order of arrival among equals: the longest layer must not start last. */
class WeightedQueue implements TaskQueue {
  readonly #tasks: PiscinaTask[] = [];

  get size(): number {
    return this.#tasks.length;
  }

  push(task: PiscinaTask): void {
    const weight = weightOf(task);
    const before = this.#tasks.findIndex((other) => weightOf(other) < weight);
    this.#tasks.splice(before === -1 ? this.#tasks.length : before, 0, task);
  }

  shift(): PiscinaTask | null {
    return this.#tasks.shift() ?? null;
  }

  remove(task: PiscinaTask): void {
    const at = this.#tasks.indexOf(task);
    if (at !== -1) this.#tasks.splice(at, 1);
  }
}

const weightOf = (task: PiscinaTask): number =>
  (task as unknown as Record<symbol, Weighted | null>)[Piscina.queueOptionsSymbol]?.weight ?? 0;
