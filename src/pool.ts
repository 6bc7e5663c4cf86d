/**
 * The worker threads: wraps Piscina, and is the only file that names workers/.
 *
 * A task goes out as data and an outcome comes back as data; what goes wrong with the thread itself (it died, ran out of
 * memory, made no progress) becomes WORKER_CRASHED or WORKER_STALLED, and the pool goes on with a new thread. Knows nothing
 * of what the tasks mean.
 */
import { EventEmitter, once } from "node:events";
import { setFlagsFromString } from "node:v8";
import { MessagePort } from "node:worker_threads";
import type { Piscina } from "piscina";
import { BusyThreads } from "./busy-threads.js";
import { StrataError } from "./errors.js";
import { CANCEL_GRACE_MS } from "./limits.js";
import type { Log } from "./log.js";
import { Once } from "./once.js";
import { Slots } from "./slots.js";
import type { TaskProgress } from "./task-progress.js";
import type { Outcome, Tasks, WorkerName } from "./tasks.js";

export interface PoolOptions {
  readonly threads: number;
  /** A task whose progress stands still this long is ended. */
  readonly stallTimeoutMs: number;
  /** Where a worker's JavaScript heap ends, and with it the worker. */
  readonly heapMb?: number;
  readonly log: Log;
}

export interface RunOptions {
  readonly signal?: AbortSignal;
  /** Larger ones run first among those that wait. */
  readonly weight?: number;
  /** What the stall watch looks at; a task without one is not watched. */
  readonly progress?: TaskProgress;
}

/** A port in a task goes over to the thread. */
const portsOf = (task: object): MessagePort[] => Object.values(task).filter((value) => value instanceof MessagePort);

/** A bound for runaway JavaScript, far above what a task needs: its names are bounded, its Buffers by the workers' queues. */
const HEAP_MB = 2048;
/** What dies young in a thread is dead at once. V8's default is 48 for each thread, and no quicker. */
const YOUNG_MB = 6;
/**
 * V8 may copy functions of so many bytes of bytecode into one that it optimises. Its default, 920, is worth it in what runs for hours: a
 * layer is unpacked before most of that is compiled, and what was copied is compiled anew with each caller that meets another case.
 * Measured: 3 to 6 hundredths of an install. It holds for the main thread too, for no thread has flags of its own: with less, 80, layers
 * are unpacked no quicker, and a tenth fewer installs of what is stored are answered.
 */
const INLINED_BYTES = 300;
const STALL_CHECKS = 4;

export class Pool {
  readonly #piscina: Once<Piscina>;
  /** Piscina gets a task when a thread is free: its own queue would reorder those that can be cancelled. */
  readonly #threads: Slots;
  readonly #options: PoolOptions;
  /** Running and waiting. */
  #tasks = 0;
  readonly #busy = new BusyThreads();
  readonly #becameIdle = new EventEmitter();

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#threads = new Slots(options.threads);
    this.#piscina = new Once(() => threadsOf(options));
  }

  /** Starts the first thread before there is a task for it: that takes about as long as all else of a daemon's start. */
  start(): void {
    this.#piscina.get().catch((error: unknown) => this.#options.log.error("worker.crashed", { error }));
  }

  get threads(): number {
    return this.#options.threads;
  }

  get busy(): number {
    return this.#busy.count;
  }

  /** For tasks that ask: a BusyThreads. */
  get sharedBusy(): SharedArrayBuffer {
    return this.#busy.shared;
  }

  get queued(): number {
    return this.#tasks - this.busy;
  }

  /**
   * Runs a task to its end. Throws what the worker's outcome says, CANCELLED, WORKER_CRASHED or WORKER_STALLED. Once a task that has
   * begun rejects, its worker does nothing for it any more.
   */
  async run<Name extends WorkerName>(
    name: Name,
    task: Tasks[Name]["task"],
    options: RunOptions = {},
  ): Promise<Tasks[Name]["result"]> {
    const ending = new Ending(options, this.#options.stallTimeoutMs);
    this.#count(1);
    try {
      const outcome: Outcome<Tasks[Name]["result"]> = await this.#threads.run(
        options.weight ?? 0,
        ending.asked,
        async () => (await this.#piscina.get()).run(task, { name, signal: ending.forced, transferList: portsOf(task) }),
      );
      if (ending.asked.aborted) throw ending.reason(name);
      if (outcome.ok) return outcome.value;
      throw this.#received(name, outcome.error);
    } catch (thrown) {
      if (thrown instanceof StrataError) throw thrown;
      if (ending.asked.aborted) throw ending.reason(name);
      this.#options.log.error("worker.crashed", { worker: name, error: thrown });
      throw new StrataError("WORKER_CRASHED", `Cannot finish ${name}: the worker thread ended`, { cause: thrown });
    } finally {
      ending.over();
      this.#count(-1);
      if (this.#tasks === 0) this.#becameIdle.emit("idle");
    }
  }

  #count(change: 1 | -1): void {
    this.#tasks += change;
    this.#busy.count = Math.min(this.#tasks, this.#options.threads);
  }

  /** Resolves when no task runs or waits. Rejects with the signal's reason. */
  async whenIdle(signal: AbortSignal): Promise<void> {
    while (this.#tasks > 0) await once(this.#becameIdle, "idle", { signal });
    signal.throwIfAborted();
  }

  async close(): Promise<void> {
    await (await this.#piscina.asked())?.destroy();
  }

  /** A stack is for the log, never for a client. */
  #received(name: WorkerName, wire: Extract<Outcome<never>, { ok: false }>["error"]): StrataError {
    if (wire.code !== "INTERNAL") return StrataError.fromWire(wire);
    this.#options.log.error("worker.failed", { worker: name, error: wire });
    const { stack: _stack, ...details } = wire.details ?? {};
    return StrataError.fromWire({ ...wire, details });
  }
}

/** Piscina is loaded only here: a daemon that has nothing to read is ready without threads. */
async function threadsOf({ threads, heapMb = HEAP_MB, log }: PoolOptions): Promise<Piscina> {
  setFlagsFromString(`--max-inlined-bytecode-size-cumulative=${INLINED_BYTES}`);
  const { Piscina } = await import("piscina");
  const piscina = new Piscina({
    filename: new URL("../workers/entry.js", import.meta.url).href,
    // The others start when they are first wanted: on a machine of many processors they would be most of the daemon's start.
    minThreads: 1,
    maxThreads: threads,
    idleTimeout: 2 ** 31 - 1,
    // The default wait would stop a thread's own asynchronous work: it would not hear that its second thread has ended.
    atomics: "disabled",
    resourceLimits: { maxOldGenerationSizeMb: heapMb, maxYoungGenerationSizeMb: YOUNG_MB },
  });
  // A thread that ends between two tasks fails nobody: an error event that nobody hears would end the daemon.
  piscina.on("error", (error) => log.error("worker.crashed", { error }));
  return piscina;
}

/**
 * How one task ends before its time: its signal fires, or its progress stands still. It is asked first, and its thread is ended when
 * that does not help: a thread that dies while it makes a zlib stream takes the whole process along (node aborts, "close
 * before init"). A task without progress cannot be asked; none of those inflates anything.
 */
class Ending {
  readonly #options: RunOptions;
  readonly #stallTimeoutMs: number;
  readonly #asked = new AbortController();
  readonly #forced = new AbortController();
  readonly #signal: AbortSignal;
  readonly #watch: NodeJS.Timeout | undefined;
  readonly #onAbort = () => this.#ask();
  #grace: NodeJS.Timeout | undefined;
  #stalled = false;

  constructor(options: RunOptions, stallTimeoutMs: number) {
    this.#options = options;
    this.#stallTimeoutMs = stallTimeoutMs;
    const { signal, progress } = options;
    // One of its own: hundreds of tasks may share one signal, and Node takes more than ten listeners for a leak.
    this.#signal = AbortSignal.any(signal === undefined ? [] : [signal]);
    if (this.#signal.aborted) this.#ask();
    else this.#signal.addEventListener("abort", this.#onAbort, { once: true });
    if (progress !== undefined) this.#watch = this.#watchFor(progress);
  }

  /** Fires when the task shall end. */
  get asked(): AbortSignal {
    return this.#asked.signal;
  }

  /** Fires when its thread shall. */
  get forced(): AbortSignal {
    return this.#forced.signal;
  }

  reason(name: WorkerName): StrataError {
    if (!this.#stalled) return new StrataError("CANCELLED", `Cannot finish ${name}: it was cancelled`);
    return new StrataError("WORKER_STALLED", `Cannot finish ${name}: no progress for ${this.#stallTimeoutMs} ms`);
  }

  over(): void {
    clearInterval(this.#watch);
    clearTimeout(this.#grace);
    this.#signal.removeEventListener("abort", this.#onAbort);
  }

  #ask(): void {
    if (this.#asked.signal.aborted) return;
    this.#asked.abort();
    const { progress } = this.#options;
    progress?.cancel();
    if (progress === undefined) this.#forced.abort();
    else this.#grace = setTimeout(() => this.#forced.abort(), CANCEL_GRACE_MS);
  }

  #watchFor(progress: TaskProgress): NodeJS.Timeout {
    let seen = "";
    let still = 0;
    const timer = setInterval(() => {
      const now = `${progress.bytesRead} ${progress.bytesWritten} ${progress.entries} ${progress.steps}`;
      still = now === seen && progress.activity === "working" ? still + 1 : 0;
      seen = now;
      if (still < STALL_CHECKS || this.#asked.signal.aborted) return;
      this.#stalled = true;
      this.#ask();
    }, this.#stallTimeoutMs / STALL_CHECKS);
    return timer.unref();
  }
}
