/**
 * All jobs: made, found again by their request key, listed, cancelled, forgotten a week after their end; and taken up again where
 * an earlier daemon left them. Starts each one when there is room, in the order of priority. Says what happens to them as events
 * and to the journal; knows no session but by its id.
 */

import type { Priority } from "../choices.js";
import { StrataError } from "../errors.js";
import {
  MAX_ACTIVE_JOBS,
  MAX_JOB_STARTS,
  MAX_RUNNING_INSTALLS,
  MAX_RUNNING_JOBS_PER_SESSION,
  MAX_WAIT_MS,
} from "../limits.js";
import type { DaemonEvent } from "../messages/events.js";
import type { JobState, Job as JobView } from "../messages/job.js";
import type { InstallRequest, JobLog } from "../messages/methods.js";
import { SharedSlots } from "../slots.js";
import type { Installer } from "./installer.js";
import { Job } from "./job.js";
import type { RememberedJob } from "./job-history.js";
import type { JobJournal } from "./job-journal.js";
import { acceptanceOf, isSameRequest, type Policies, readRequest, specOf } from "./job-spec.js";
import { type KnownJob, KnownJobs } from "./known-jobs.js";
import { type PastJob, untakenJob } from "./past-job.js";

const priorities: Readonly<Record<Priority, number>> = { interactive: 2, normal: 1, background: 0 };

/** Somebody who is told BUSY comes back after about one install. */
const BUSY_RETRY_MS = 1000;

export interface JobsOptions {
  readonly installer: Pick<Installer, "run" | "runStanding">;
  readonly policies: Policies;
  readonly journal: JobJournal;
  readonly emit: (event: DaemonEvent) => void;
}

export class Jobs {
  readonly #options: JobsOptions;
  readonly #known: KnownJobs;
  readonly #slots = new SharedSlots(MAX_RUNNING_INSTALLS, { share: MAX_RUNNING_JOBS_PER_SESSION });
  /** Of earlier daemons, until `resume`. */
  readonly #left: Job[] = [];
  #active = 0;
  #draining = false;
  #idle: (() => void)[] = [];

  constructor(options: JobsOptions) {
    this.#options = options;
    this.#known = new KnownJobs(options.journal);
  }

  /** Remembers what earlier daemons left. */
  async restore(): Promise<void> {
    const remembered = await this.#options.journal.restore(this.#known.past);
    for (const job of remembered) this.#remember(job);
  }

  /** Goes on with what was restored, each job with the priority it had, in the order of acceptance. */
  resume(): void {
    for (const job of this.#left.splice(0)) {
      if (!job.signal.aborted) this.#options.journal.resumed(job.jobId);
      // They were several sessions' once: none of them holds up the others.
      void this.#run(job, job.jobId);
    }
  }

  /** INVALID_REFERENCE, INVALID_NAME, INVALID_PARAMS, NOT_ALLOWED, BUSY, SHUTTING_DOWN. */
  start(asked: InstallRequest, sessionId: string): JobView {
    const { request, requestKey } = acceptanceOf(asked);
    const known = this.#known.withKey(requestKey);
    if (known !== undefined && !isSameRequest(known.request, request)) {
      throw new StrataError(
        "INVALID_PARAMS",
        "Cannot start the install: its requestKey belongs to a job with other params",
      );
    }
    const { job } = known ?? this.#create(asked, sessionId);
    if (job instanceof Job) job.takeInterest(request.detach === true ? undefined : sessionId);
    return job.view();
  }

  knows(requestKey: string | undefined): boolean {
    return this.#known.withKey(requestKey) !== undefined;
  }

  async accepted(jobId: string): Promise<JobView> {
    const known = this.#known.get(jobId);
    await known.accepted;
    return known.job.view();
  }

  get(jobId: string): JobView {
    return this.#known.get(jobId).job.view();
  }

  async wait(
    jobId: string,
    options: { sessionId: string | undefined; timeoutMs?: number | undefined; signal: AbortSignal },
  ): Promise<JobView> {
    const { job } = this.#known.get(jobId);
    if (!(job instanceof Job)) return job.view();
    if (options.sessionId !== undefined) job.takeInterest(options.sessionId);
    const { signal, timeoutMs = MAX_WAIT_MS } = options;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        stop();
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const stop = job.observe(() => job.isOver && end());
      const timer = setTimeout(end, timeoutMs).unref();
      if (signal.aborted) end();
      else signal.addEventListener("abort", end, { once: true });
    });
    return job.view();
  }

  list(query: Parameters<KnownJobs["list"]>[0]) {
    return this.#known.list(query);
  }

  async cancel(jobId: string, sessionId: string): Promise<JobView> {
    const known = this.#known.get(jobId);
    const { job } = known;
    if (job instanceof Job && job.withdraw(sessionId)) {
      await this.#options.journal.cancelled(jobId);
      await job.recorded();
    }
    return known.job.view();
  }

  /** What the journal has of it. */
  log(jobId: string, options: { readonly signal: AbortSignal }): Promise<JobLog> {
    this.#known.get(jobId);
    return this.#options.journal.linesOf(jobId, options);
  }

  orphan(sessionId: string): void {
    for (const job of this.#known.unfinished()) job.orphan(sessionId);
  }

  observe(jobId: string, listener: (job: JobView) => void): () => void {
    const { job } = this.#known.get(jobId);
    return job instanceof Job ? job.observe(listener) : () => undefined;
  }

  active(): JobView[] {
    return this.#known.unfinished().map((job) => job.view());
  }

  /** The newest job that is about this reference; for image/status. */
  latestFor(referenceText: string): JobView | undefined {
    return this.#known.latestFor(referenceText);
  }

  count(): Record<JobState, number> {
    return this.#known.count();
  }

  get activeCount(): number {
    return this.#active;
  }

  /** From now on SHUTTING_DOWN; resolves when nothing is under way any more. */
  drain(): Promise<void> {
    this.#draining = true;
    if (this.#active === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Stops the work and ends no job: who waits for one waits for the next daemon. */
  interrupt(): void {
    for (const job of this.#known.unfinished()) if (job.interrupt()) this.#options.journal.interrupted(job.jobId);
    this.resume();
  }

  cancelAll(): void {
    for (const job of this.#known.unfinished()) job.cancel();
  }

  #create(asked: InstallRequest, sessionId: string): KnownJob {
    const spec = specOf(asked, this.#options.policies);
    if (this.#draining) throw new StrataError("SHUTTING_DOWN", "Cannot start the install: the daemon is stopping");
    if (this.#active >= MAX_ACTIVE_JOBS) throw tooManyJobs("start", this.#active);
    this.#known.forget();
    const job = new Job(spec);
    const accepted = this.#accept(job);
    const known = this.#keep({ job, ...acceptanceOf(asked), accepted });
    this.#options.emit({ type: "job.created", jobId: job.jobId, name: spec.name, data: { job: job.view() } });
    void this.#run(job, sessionId);
    return known;
  }

  /** A job whose end is decided before that is known has nothing to survive. */
  async #accept(job: Job): Promise<void> {
    try {
      await this.#options.journal.accept(job.view(), acceptanceOf(job.spec.request));
    } catch (thrown) {
      if (job.isDecided) return;
      this.#known.dropKey(job.spec.request.requestKey);
      const error = thrown as StrataError;
      job.refuse(error);
      throw error.with({ jobId: job.jobId });
    }
  }

  #keep(known: KnownJob): KnownJob {
    const { job, accepted } = known;
    // Whoever started it may be gone by now.
    accepted.catch(() => undefined);
    if (job instanceof Job) {
      this.#active += 1;
      this.#follow(job);
    }
    return this.#known.add(known);
  }

  #remember(remembered: RememberedJob): void {
    const { jobId, createdAt, request, requestKey, starts, state, past } = remembered;
    const accepted = Promise.resolve();
    const keep = (job: Job | PastJob) => this.#keep({ job, request, requestKey, accepted });
    if (past !== undefined) return void keep(past);
    try {
      const asked = { ...readRequest(request), ...(requestKey === undefined ? {} : { requestKey }) };
      const job = new Job(specOf(asked, this.#options.policies), { jobId, createdAt });
      if (starts > MAX_JOB_STARTS) throw tooManyStarts(starts);
      if (this.#active >= MAX_ACTIVE_JOBS) throw tooManyJobs("go on with", this.#active);
      keep(job);
      job.takeInterest(undefined);
      if (state === "unfinished") this.#left.push(job);
      else {
        job.cancel();
        void this.#run(job, jobId);
      }
    } catch (thrown) {
      if (!(thrown instanceof StrataError)) throw thrown;
      const failed = untakenJob(request, { jobId, createdAt }, thrown);
      keep(this.#known.past.of(failed));
      this.#options.journal.ended(failed);
    }
  }

  async #run(job: Job, sessionId: string): Promise<void> {
    const { installer } = this.#options;
    try {
      // What stands already is answered behind nobody's downloads.
      if (await installer.runStanding(job)) return;
      await this.#slots.run(sessionId, priorities[job.spec.priority], job.signal, () => installer.run(job));
    } catch (error) {
      await job.failed(error); // stopped while it waited for its turn
    } finally {
      this.#active -= 1;
      if (this.#active === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** Turns the changes of a job into events and entries of the journal, which has its end before anybody is told. */
  #follow(job: Job): void {
    const { jobId, spec } = job;
    let last = job.view();
    let journalled = last;
    const record = (view: JobView): void => {
      this.#options.journal.changed(journalled, view);
      journalled = view;
    };
    job.recordEnd((view) => {
      record(view);
      return this.#options.journal.written();
    });
    const emit = (type: DaemonEvent["type"], data: DaemonEvent["data"]): void =>
      this.#options.emit({ type, jobId, name: spec.name, data });
    job.observe((view) => {
      record(view);
      if (view.phase !== undefined && view.phase !== last.phase) emit("job.phase", { phase: view.phase });
      for (const [index, layer] of view.layers.entries()) {
        if (layer.state !== last.layers[index]?.state) emit("job.layer", { index, layer });
      }
      if (view.finishedAt !== undefined) {
        this.#known.ended(job, view);
        emit(`job.${view.state}` as DaemonEvent["type"], { job: view });
      }
      last = view;
    });
  }
}

function tooManyJobs(verb: "start" | "go on with", active: number): StrataError {
  const fact = `${active} are under way`;
  return new StrataError("BUSY", `Cannot ${verb} the install: ${fact}`, { retryAfterMs: BUSY_RETRY_MS });
}

function tooManyStarts(starts: number): StrataError {
  const fact = `the daemon ended ${starts} times while it ran`;
  return new StrataError("INTERNAL", `Cannot go on with the install: ${fact}`);
}
