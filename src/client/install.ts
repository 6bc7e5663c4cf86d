/**
 * One install as its caller sees it: the job at each change, until it is over.
 *
 * The job lives in the daemon. A request key makes a repeated start find it again after a lost connection; a daemon that
 * forgot it makes it anew. The job is state: a slow reader sees the latest, and always the last. Does not cancel
 * the job unless told.
 */
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { StrataError, toStrataError } from "../errors.js";
import type { Job } from "../messages/job.js";
import { isOver } from "../messages/job-over.js";
import type { Params } from "../messages/methods.js";
import { type Connection, cancelled } from "./connection.js";
import type { ReconnectingConnection } from "./reconnecting.js";

export type InstallParams = Omit<Params<"install/start">, "workDoneToken">;

export class Install implements AsyncIterable<Job> {
  /** The job as the daemon took it; rejects with the error that it was refused with. */
  readonly started: Promise<Job>;
  /** The job in its terminal state, also when that is `failed` or `cancelled`; rejects when it cannot be known. */
  readonly finished: Promise<Job>;
  readonly #connections: ReconnectingConnection;
  readonly #params: InstallParams & { readonly requestKey: string };
  readonly #signal: AbortSignal | undefined;
  readonly #changed = new Set<() => void>();
  #job: Job | undefined;
  #failure: StrataError | undefined;

  /** The signal ends the following of the job (REQUEST_CANCELLED), never the job. */
  constructor(connections: ReconnectingConnection, params: InstallParams, signal?: AbortSignal) {
    this.#connections = connections;
    this.#params = { ...params, requestKey: params.requestKey ?? randomUUID() };
    this.#signal = signal;
    this.started = this.#when(() => this.#job);
    this.finished = this.#when(() => (this.#isOver ? this.#job : undefined));
    // Who does not look at a promise gets no unhandled rejection from it.
    this.started.catch(() => undefined);
    this.finished.catch(() => undefined);
    signal?.addEventListener("abort", this.#abort, { once: true });
    this.#run()
      .catch((thrown: unknown) => this.#fail(toStrataError(thrown, "Cannot follow the install")))
      .finally(() => signal?.removeEventListener("abort", this.#abort));
  }

  /** The job as last seen. */
  get job(): Job | undefined {
    return this.#job;
  }

  /** Withdraws this client's interest in the job; who else wants it keeps it. Answers with the job as it then stands. */
  async cancel(): Promise<Job> {
    const { jobId } = this.#job ?? (await this.started);
    const job = await this.#connections.request("install/cancel", { jobId });
    this.#take(job);
    return job;
  }

  /** Yields the job as it stands, then at each change, and ends behind the terminal one; throws what `finished` rejects with. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Job, void, undefined> {
    let seen: Job | undefined;
    for (;;) {
      const last = seen;
      const job = await this.#when(() => (this.#job === last ? undefined : this.#job));
      seen = job;
      yield job;
      if (isOver(job)) return;
    }
  }

  async #run(): Promise<void> {
    if (this.#signal?.aborted) this.#abort();
    while (!this.#isOver && this.#failure === undefined) {
      const connection = await this.#connections.connection();
      try {
        await this.#follow(connection);
      } catch (thrown) {
        if (connection.isOpen || !isLoss(thrown)) throw thrown;
      }
    }
  }

  /** Until the job is over, nobody looks any more, or the connection is lost. */
  async #follow(connection: Connection): Promise<void> {
    const token = randomUUID();
    const stopProgress = connection.onProgress(token, ({ job }) => this.#take(job));
    try {
      const params = { ...this.#params, workDoneToken: token };
      const accept = (job: Job) => this.#take(job);
      await connection.request("install/start", params, { accept, signal: this.#signal });
      await new Promise<void>((resolve) => {
        const stopWatching = connection.onClosed(resolve);
        this.finished.then(stopWatching, stopWatching).finally(resolve);
      });
    } catch (thrown) {
      await this.#waitInstead(connection, thrown);
    } finally {
      stopProgress();
    }
  }

  /** A daemon that is too busy or stopping takes no start, not even of a job it has: that one can be waited for. */
  async #waitInstead(connection: Connection, refusal: unknown): Promise<void> {
    if (this.#job === undefined || !(refusal instanceof StrataError) || !refusal.retryable) throw refusal;
    const { jobId } = this.#job;
    this.#take(await connection.request("install/wait", { jobId }, { signal: this.#signal }));
  }

  get #isOver(): boolean {
    return this.#job !== undefined && isOver(this.#job);
  }

  #take(job: Job | undefined): void {
    if (job === undefined || this.#isOver || isDeepStrictEqual(job, this.#job)) return;
    this.#job = job;
    this.#tell();
  }

  readonly #abort = () => this.#fail(cancelled("follow the install"));

  #fail(error: StrataError): void {
    if (this.#isOver) return;
    this.#failure ??= error;
    this.#tell();
  }

  #tell(): void {
    for (const run of this.#changed) run();
  }

  /** The first value that `read` gives, now or at a change; rejects with the failure. */
  #when(read: () => Job | undefined): Promise<Job> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const job = read();
        if (job === undefined && this.#failure === undefined) return;
        this.#changed.delete(look);
        if (job !== undefined) resolve(job);
        else reject(this.#failure);
      };
      this.#changed.add(look);
      look();
    });
  }
}

function isLoss(thrown: unknown): boolean {
  return thrown instanceof StrataError && thrown.code === "DAEMON_UNREACHABLE";
}
