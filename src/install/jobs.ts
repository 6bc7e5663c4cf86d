/**
 * All jobs: made, found again by their request key, listed, cancelled, forgotten a week after their end; and taken up again where
 * an earlier daemon left them. Starts each one when there is room, in the order of priority. Says what happens to them as events
 * and to the journal; knows no session but by its id.
 */
import { StrataError } from "../errors.js";
import {
  MAX_ACTIVE_JOBS,
  MAX_JOB_STARTS,
  MAX_RUNNING_INSTALLS,
  MAX_RUNNING_JOBS_PER_SESSION,
  MAX_TERMINAL_JOBS,
  MAX_WAIT_MS,
  TERMINAL_JOB_TTL_MS,
} from "../limits.js";
import type { DaemonEvent, InstallRequest, JobLog, JobState, Job as JobView, Priority } from "../messages.js";
import { printable } from "../printable.js";
import { SharedSlots } from "../slots.js";
import type { Installer } from "./installer.js";
import { Job } from "./job.js";
import type { RememberedJob } from "./job-history.js";
import type { JobJournal } from "./job-journal.js";
import { acceptanceOf, isSameRequest, type Policies, readRequest, specOf } from "./job-spec.js";
import { pageOf } from "./page.js";
import { PastJob, untakenJob } from "./past-job.js";

const priorities: Readonly<Record<Priority, number>> = { interactive: 2, normal: 1, background: 0 };

/** Somebody who is told BUSY comes back after about one install. */
const BUSY_RETRY_MS = 1000;

interface KnownJob {
  job: Job | PastJob;
  /** As the journal has it. */
  readonly request: Readonly<Record<string, unknown>>;
  readonly requestKey: string | undefined;
  /** Settles when its acceptance is on the disk, or is not going to be. */
  readonly accepted: Promise<void>;
}

export interface JobsOptions {
  readonly installer: Installer;
  readonly policies: Policies;
  readonly journal: JobJournal;
  readonly emit: (event: DaemonEvent) => void;
}

export class Jobs {
  readonly #options: JobsOptions;
  /** In the order of their acceptance. */
  readonly #jobs = new Map<string, KnownJob>();
  readonly #byKey = new Map<string, KnownJob>();
  readonly #slots = new SharedSlots(MAX_RUNNING_INSTALLS, { share: MAX_RUNNING_JOBS_PER_SESSION });
  /** Of earlier daemons, until `resume`. */
  readonly #left: Job[] = [];
  #active = 0;
  #draining = false;
  #idle: (() => void)[] = [];

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  /** Remembers what earlier daemons left. */
  async restore(): Promise<void> {
    const remembered = await this.#options.journal.restore();
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
    const known = requestKey === undefined ? undefined : this.#byKey.get(requestKey);
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

  async accepted(jobId: string): Promise<JobView> {
    const known = this.#find(jobId);
    await known.accepted;
    return known.job.view();
  }

  get(jobId: string): JobView {
    return this.#find(jobId).job.view();
  }

  async wait(
    jobId: string,
    options: { sessionId: string; timeoutMs?: number | undefined; signal: AbortSignal },
  ): Promise<JobView> {
    const { job } = this.#find(jobId);
    if (!(job instanceof Job)) return job.view();
    job.takeInterest(options.sessionId);
    const signal = AbortSignal.any([options.signal, AbortSignal.timeout(options.timeoutMs ?? MAX_WAIT_MS)]);
    await new Promise<void>((resolve) => {
      const stop = job.observe(() => job.isOver && end());
      const end = (): void => {
        stop();
        signal.removeEventListener("abort", end);
        resolve();
      };
      if (signal.aborted) end();
      else signal.addEventListener("abort", end, { once: true });
    });
    return job.view();
  }

  list({ state, limit, cursor }: { state?: JobState | undefined; limit: number; cursor?: string | undefined }) {
    this.#forget();
    const newestFirst = this.#all()
      .reverse()
      .filter((job) => state === undefined || job.state === state);
    return pageOf(newestFirst, { limit, cursor, keyOf: (job) => job.jobId, view: (job) => job.view() });
  }

  async cancel(jobId: string, sessionId: string): Promise<JobView> {
    const known = this.#find(jobId);
    if (known.job instanceof Job && known.job.withdraw(sessionId)) await this.#options.journal.cancelled(jobId);
    return known.job.view();
  }

  /** What the journal has of it. */
  log(jobId: string, options: { readonly signal: AbortSignal }): Promise<JobLog> {
    this.#find(jobId);
    return this.#options.journal.linesOf(jobId, options);
  }

  orphan(sessionId: string): void {
    for (const job of this.#unfinished()) job.orphan(sessionId);
  }

  observe(jobId: string, listener: (job: JobView) => void): () => void {
    const { job } = this.#find(jobId);
    return job instanceof Job ? job.observe(listener) : () => undefined;
  }

  active(): JobView[] {
    return this.#unfinished().map((job) => job.view());
  }

  /** The newest job that is about this reference; for image/status. */
  latestFor(referenceText: string): JobView | undefined {
    return this.#all()
      .findLast((job) => job.reference === referenceText)
      ?.view();
  }

  count(): Record<JobState, number> {
    const counts = { queued: 0, running: 0, ready: 0, failed: 0, cancelled: 0 };
    for (const { job } of this.#jobs.values()) counts[job.state] += 1;
    return counts;
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
    for (const job of this.#unfinished()) if (job.interrupt()) this.#options.journal.interrupted(job.jobId);
    this.resume();
  }

  cancelAll(): void {
    for (const job of this.#unfinished()) job.cancel();
  }

  #create(asked: InstallRequest, sessionId: string): KnownJob {
    const spec = specOf(asked, this.#options.policies);
    if (this.#draining) throw new StrataError("SHUTTING_DOWN", "Cannot start the install: the daemon is stopping");
    if (this.#active >= MAX_ACTIVE_JOBS) throw tooManyJobs("start", this.#active);
    this.#forget();
    const job = new Job(spec);
    const accepted = this.#accept(job);
    const known = this.#keep(job, { ...acceptanceOf(asked), accepted });
    this.#options.emit({ type: "job.created", jobId: job.jobId, name: spec.name, data: { job: job.view() } });
    void this.#run(job, sessionId);
    return known;
  }

  /** A job that is over before that is known has nothing to survive. */
  async #accept(job: Job): Promise<void> {
    try {
      await this.#options.journal.accept(job.view(), acceptanceOf(job.spec.request));
    } catch (thrown) {
      if (job.isOver) return;
      const { requestKey } = job.spec.request;
      if (requestKey !== undefined) this.#byKey.delete(requestKey);
      const error = thrown as StrataError;
      job.refuse(error);
      throw error.with({ jobId: job.jobId });
    }
  }

  #keep(job: Job | PastJob, { request, requestKey, accepted }: Omit<KnownJob, "job">): KnownJob {
    // Whoever started it may be gone by now.
    accepted.catch(() => undefined);
    const known = { job, request, requestKey, accepted };
    this.#jobs.set(job.jobId, known);
    if (requestKey !== undefined) this.#byKey.set(requestKey, known);
    if (job instanceof Job) {
      this.#active += 1;
      this.#follow(job, known);
    }
    return known;
  }

  #remember({ jobId, createdAt, request, requestKey, starts, state, view }: RememberedJob): void {
    const accepted = Promise.resolve();
    const keep = (job: Job | PastJob) => this.#keep(job, { request, requestKey, accepted });
    if (view !== undefined) return void keep(new PastJob(view));
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
      keep(new PastJob(failed));
      this.#options.journal.ended(failed);
    }
  }

  async #run(job: Job, sessionId: string): Promise<void> {
    const { installer } = this.#options;
    try {
      await this.#slots.run(sessionId, priorities[job.spec.priority], job.signal, () => installer.run(job));
    } catch (error) {
      job.failed(error); // stopped while it waited for its turn
    } finally {
      this.#active -= 1;
      if (this.#active === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** Turns the changes of a job into events and entries of the journal. */
  #follow(job: Job, known: KnownJob): void {
    const { jobId, spec } = job;
    let last = job.view();
    const emit = (type: DaemonEvent["type"], data: DaemonEvent["data"]): void =>
      this.#options.emit({ type, jobId, name: spec.name, data });
    job.observe((view) => {
      this.#options.journal.changed(last, view);
      if (view.phase !== undefined && view.phase !== last.phase) emit("job.phase", { phase: view.phase });
      for (const [index, layer] of view.layers.entries()) {
        if (layer.state !== last.layers[index]?.state) emit("job.layer", { index, layer });
      }
      if (view.finishedAt !== undefined) {
        known.job = new PastJob(view);
        emit(`job.${view.state}` as DaemonEvent["type"], { job: view });
      }
      last = view;
    });
  }

  #find(jobId: string): KnownJob {
    this.#forget();
    const known = this.#jobs.get(jobId);
    if (known === undefined)
      throw new StrataError("UNKNOWN_JOB", `Cannot find job ${printable(jobId, 64)}: there is none`);
    return known;
  }

  #all(): (Job | PastJob)[] {
    return [...this.#jobs.values()].map(({ job }) => job);
  }

  #unfinished(): Job[] {
    return this.#all().filter((job): job is Job => job instanceof Job && !job.isOver);
  }

  /** Jobs that are over are kept a week, and not more than so many, nor more than the journal may hold: the oldest go first. */
  #forget(): void {
    const { journal } = this.#options;
    const expired = Date.now() - TERMINAL_JOB_TTL_MS;
    const { excess } = journal;
    let surplus = this.#jobs.size - this.#active - MAX_TERMINAL_JOBS;
    for (const [jobId, { job, requestKey }] of this.#jobs) {
      const isInTheWay = journal.segmentOf(jobId) <= excess;
      if (job instanceof Job) {
        if (isInTheWay) journal.carry(job.view(), acceptanceOf(job.spec.request));
        continue;
      }
      if (surplus <= 0 && job.finishedAtMs >= expired && !isInTheWay) break;
      this.#jobs.delete(jobId);
      if (requestKey !== undefined) this.#byKey.delete(requestKey);
      journal.forget(jobId);
      surplus -= 1;
    }
    journal.trim();
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
