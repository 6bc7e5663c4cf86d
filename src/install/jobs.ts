/**
 * All jobs: made, found again by their request key, listed, cancelled, forgotten a week after their end. Starts each one when
 * there is room, in the order of priority. Says what happens to them as events; knows no session but by its id.
 */
import { StrataError } from "../errors.js";
import {
  MAX_ACTIVE_JOBS,
  MAX_RUNNING_INSTALLS,
  MAX_RUNNING_JOBS_PER_SESSION,
  MAX_TERMINAL_JOBS,
  MAX_WAIT_MS,
  TERMINAL_JOB_TTL_MS,
} from "../limits.js";
import type { DaemonEvent, InstallRequest, JobState, Job as JobView, Priority } from "../messages.js";
import { formatPlatform, hostPlatform, parsePlatform } from "../oci/platform.js";
import { defaultName, formatReference, parseName, parseReference } from "../oci/reference.js";
import type { PlannedPolicy } from "../overlap/plan-root.js";
import { printable } from "../printable.js";
import { SharedSlots } from "../slots.js";
import type { Installer } from "./installer.js";
import { Job, type JobSpec } from "./job.js";
import { pageOf } from "./page.js";

const priorities: Readonly<Record<Priority, number>> = { interactive: 2, normal: 1, background: 0 };
/** Which overlap policies an install may have, and which it has where it names none. */
export interface Policies {
  readonly overlap: PlannedPolicy;
  readonly allowed: readonly PlannedPolicy[];
}

/** Somebody who is told BUSY comes back after about one install. */
const BUSY_RETRY_MS = 1000;

export class Jobs {
  readonly #installer: Installer;
  readonly #emit: (event: DaemonEvent) => void;
  readonly #policies: Policies;
  readonly #jobs = new Map<string, Job>();
  readonly #byKey = new Map<string, { readonly job: Job; readonly params: string }>();
  readonly #slots = new SharedSlots(MAX_RUNNING_INSTALLS, { share: MAX_RUNNING_JOBS_PER_SESSION });
  #active = 0;
  #draining = false;
  #idle: (() => void)[] = [];

  constructor(installer: Installer, policies: Policies, emit: (event: DaemonEvent) => void) {
    this.#installer = installer;
    this.#policies = policies;
    this.#emit = emit;
  }

  /** INVALID_REFERENCE, INVALID_NAME, INVALID_PARAMS, NOT_ALLOWED, BUSY, SHUTTING_DOWN. */
  start(request: InstallRequest, sessionId: string): JobView {
    const { requestKey, workDoneToken: _token, ...params } = request;
    const text = JSON.stringify(Object.entries(params).sort());
    const known = requestKey === undefined ? undefined : this.#byKey.get(requestKey);
    if (known !== undefined && known.params !== text) {
      throw new StrataError(
        "INVALID_PARAMS",
        "Cannot start the install: its requestKey belongs to a job with other params",
      );
    }
    const job = known?.job ?? this.#create(specOf(request, this.#policies), sessionId);
    if (known === undefined && requestKey !== undefined) this.#byKey.set(requestKey, { job, params: text });
    job.takeInterest(request.detach === true ? undefined : sessionId);
    return job.view();
  }

  get(jobId: string): JobView {
    return this.#find(jobId).view();
  }

  async wait(
    jobId: string,
    options: { sessionId: string; timeoutMs?: number | undefined; signal: AbortSignal },
  ): Promise<JobView> {
    const job = this.#find(jobId);
    if (job.isOver) return job.view();
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
    const newestFirst = [...this.#jobs.values()].reverse().filter((job) => state === undefined || job.state === state);
    return pageOf(newestFirst, { limit, cursor, keyOf: (job) => job.jobId, view: (job) => job.view() });
  }

  cancel(jobId: string, sessionId: string): JobView {
    const job = this.#find(jobId);
    job.withdraw(sessionId);
    return job.view();
  }

  orphan(sessionId: string): void {
    for (const job of this.#jobs.values()) if (!job.isOver) job.orphan(sessionId);
  }

  observe(jobId: string, listener: (job: JobView) => void): () => void {
    return this.#find(jobId).observe(listener);
  }

  active(): JobView[] {
    return [...this.#jobs.values()].filter((job) => !job.isOver).map((job) => job.view());
  }

  /** The newest job that is about this reference; for image/status. */
  latestFor(referenceText: string): JobView | undefined {
    return [...this.#jobs.values()].findLast((job) => job.spec.referenceText === referenceText)?.view();
  }

  count(): Record<JobState, number> {
    const counts = { queued: 0, running: 0, ready: 0, failed: 0, cancelled: 0 };
    for (const job of this.#jobs.values()) counts[job.state] += 1;
    return counts;
  }

  get activeCount(): number {
    return this.#active;
  }

  /** From now on SHUTTING_DOWN; resolves when no job is left. */
  drain(): Promise<void> {
    this.#draining = true;
    if (this.#active === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  cancelAll(): void {
    for (const job of this.#jobs.values()) job.abandon();
  }

  #create(spec: JobSpec, sessionId: string): Job {
    if (this.#draining) throw new StrataError("SHUTTING_DOWN", "Cannot start the install: the daemon is stopping");
    if (this.#active >= MAX_ACTIVE_JOBS) {
      throw new StrataError("BUSY", `Cannot start the install: ${this.#active} are under way`, {
        retryAfterMs: BUSY_RETRY_MS,
      });
    }
    this.#forget();
    const job = new Job(spec);
    this.#jobs.set(job.jobId, job);
    this.#active += 1;
    this.#announce(job);
    void this.#run(job, sessionId);
    return job;
  }

  async #run(job: Job, sessionId: string): Promise<void> {
    try {
      await this.#slots.run(sessionId, priorities[job.spec.priority], job.signal, () => this.#installer.run(job));
    } catch (error) {
      job.failed(error); // cancelled while it waited for its turn
    } finally {
      this.#active -= 1;
      if (this.#active === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  /** Turns the changes of a job into events. */
  #announce(job: Job): void {
    const { jobId, spec } = job;
    let last = job.view();
    const emit = (type: DaemonEvent["type"], data: DaemonEvent["data"]): void =>
      this.#emit({ type, jobId, name: spec.name, data });
    emit("job.created", { job: last });
    job.observe((view) => {
      if (view.phase !== undefined && view.phase !== last.phase) emit("job.phase", { phase: view.phase });
      for (const [index, layer] of view.layers.entries()) {
        if (layer.state !== last.layers[index]?.state) emit("job.layer", { index, layer });
      }
      if (view.finishedAt !== undefined) emit(`job.${view.state}` as DaemonEvent["type"], { job: view });
      last = view;
    });
  }

  #find(jobId: string): Job {
    const job = this.#jobs.get(jobId);
    if (job === undefined)
      throw new StrataError("UNKNOWN_JOB", `Cannot find job ${printable(jobId, 64)}: there is none`);
    return job;
  }

  /** Jobs that are over are kept a week, and not more than so many: the oldest go first. */
  #forget(): void {
    const expired = Date.now() - TERMINAL_JOB_TTL_MS;
    let surplus = this.#jobs.size - this.#active - MAX_TERMINAL_JOBS;
    for (const [jobId, job] of this.#jobs) {
      if (!job.isOver) continue;
      if (surplus <= 0 && job.finishedAtMs >= expired) break;
      this.#jobs.delete(jobId);
      surplus -= 1;
    }
    for (const [key, { job }] of this.#byKey) if (!this.#jobs.has(job.jobId)) this.#byKey.delete(key);
  }
}

/** INVALID_REFERENCE, INVALID_NAME, INVALID_PARAMS, NOT_ALLOWED. */
export function specOf(request: Omit<InstallRequest, "workDoneToken">, policies: Policies): JobSpec {
  const reference = parseReference(request.reference);
  const { overlap = policies.overlap, link = "hardlink" } = request;
  if (!policies.allowed.includes(overlap)) {
    const fact = `overlap policy ${overlap} is not allowed here, only ${policies.allowed.join(", ")}`;
    const hint = "Add it to `allowed_overlaps` in the daemon's configuration.";
    throw new StrataError("NOT_ALLOWED", `Cannot start the install: ${fact}`, { hint });
  }
  if (link === "symlink" && overlap !== "c") {
    const fact = `a root of symlinks is whole top-level entries, which only policy c has, not ${overlap}`;
    const hint = "Use --link hardlink or --link copy, or --overlap c.";
    throw new StrataError("INVALID_PARAMS", `Cannot start the install: ${fact}`, { hint });
  }
  return {
    request,
    reference,
    referenceText: formatReference(reference),
    name: parseName(request.name ?? defaultName(reference)),
    platform: formatPlatform(request.platform === undefined ? hostPlatform() : parsePlatform(request.platform)),
    overlap,
    link,
    priority: request.priority ?? "normal",
  };
}
