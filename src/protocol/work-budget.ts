/**
 * How much work one session may ask for: a bucket of installs that refills with time, and a number of unfinished jobs.
 *
 * An install that is answered from what is installed gives its place in the bucket back once that is known. Queries are
 * not counted here, so they are never starved. Hears of the ends of its jobs, and looks for none.
 */
import { StrataError } from "../errors.js";
import {
  MAX_QUEUED_JOBS_PER_SESSION,
  MAX_RUNNING_JOBS_PER_SESSION,
  WORK_BURST,
  WORK_RATE_PER_SECOND,
} from "../limits.js";
import type { Job } from "../messages/job.js";
import { isOver } from "../messages/job-over.js";

const MAX_UNFINISHED = MAX_RUNNING_JOBS_PER_SESSION + MAX_QUEUED_JOBS_PER_SESSION;
/** The bucket counts the time that an install costs, so that it fills by the clock alone. */
const PLACE_MS = 1000 / WORK_RATE_PER_SECOND;
/** When a job will be over is not known; this is soon enough to ask again. */
const BUSY_RETRY_MS = 1000;

/** Calls with every change of a job that is not over, and with its end, until told to stop. */
type Observe = (jobId: string, listener: (job: Job) => void) => () => void;

export class WorkBudget {
  /** Each with what ends the observing of it. */
  readonly #unfinished = new Map<string, () => void>();
  readonly #observe: Observe;
  readonly #now: () => number;
  #creditMs = WORK_BURST * PLACE_MS;
  #filledAt: number;

  /** `now` is a monotonic clock in milliseconds. */
  constructor(observe: Observe, now: () => number = () => performance.now()) {
    this.#observe = observe;
    this.#now = now;
    this.#filledAt = now();
  }

  /**
   * Runs `start` if the session may have one more job; one that is only found again costs nothing. Throws BUSY, RATE_LIMITED, and what
   * `start` throws.
   */
  spend(start: () => Job, isFound = false): Job {
    if (!isFound) this.#refuseMore();
    const job = start();
    if (this.#unfinished.has(job.jobId)) return job;
    if (!isFound && !wasInstalled(job)) this.#creditMs -= PLACE_MS;
    if (!isOver(job)) this.#follow(job.jobId, isFound);
    return job;
  }

  #refuseMore(): void {
    this.#refill();
    if (this.#unfinished.size >= MAX_UNFINISHED) {
      const fact = `${MAX_UNFINISHED} jobs of the session are not finished`;
      throw new StrataError("BUSY", `Cannot start the install: ${fact}`, { retryAfterMs: BUSY_RETRY_MS });
    }
    if (this.#creditMs < PLACE_MS) {
      const retryAfterMs = Math.ceil(PLACE_MS - this.#creditMs);
      const fact = `the session started more than ${WORK_RATE_PER_SECOND} a second`;
      throw new StrataError("RATE_LIMITED", `Cannot start the install: ${fact}`, { retryAfterMs });
    }
  }

  /** The session is gone: nothing is spent any more. */
  close(): void {
    for (const stop of this.#unfinished.values()) stop();
    this.#unfinished.clear();
  }

  #refill(): void {
    const now = this.#now();
    this.#give(now - this.#filledAt);
    this.#filledAt = now;
  }

  #give(ms: number): void {
    this.#creditMs = Math.min(WORK_BURST * PLACE_MS, this.#creditMs + ms);
  }

  #follow(jobId: string, isFound: boolean): void {
    const stop = this.#observe(jobId, (job) => {
      if (!isOver(job)) return;
      stop();
      this.#unfinished.delete(jobId);
      this.#refill();
      if (!isFound && wasInstalled(job)) this.#give(PLACE_MS);
    });
    this.#unfinished.set(jobId, stop);
  }
}

/** Its root was there already: nothing was linked. */
function wasInstalled(job: Job): boolean {
  return job.state === "ready" && job.linked === undefined;
}
