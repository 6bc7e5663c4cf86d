/**
 * The jobs that are remembered, in the order of their acceptance, by id and by request key: those that are over for a week, and no more
 * than memory and the journal may hold. Starts and ends none.
 */
import { StrataError } from "../errors.js";
import { MAX_TERMINAL_JOBS, TERMINAL_JOB_TTL_MS } from "../limits.js";
import type { JobState, Job as JobView } from "../messages/job.js";
import { printable } from "../printable.js";
import { Job } from "./job.js";
import type { JobJournal } from "./job-journal.js";
import { acceptanceOf } from "./job-spec.js";
import { PastJob, PastJobs } from "./past-job.js";

export interface KnownJob {
  readonly job: Job | PastJob;
  /** As the journal has it, as long as somebody may ask for the same again. */
  readonly request: Readonly<Record<string, unknown>>;
  readonly requestKey: string | undefined;
  /** Settles when its acceptance is on the disk, or is not going to be. */
  readonly accepted: Promise<void>;
}

const NOTHING: KnownJob["request"] = {};

type Remembered = { -readonly [Key in keyof KnownJob]: KnownJob[Key] };

export class KnownJobs {
  /** Makes what is kept of jobs that are over. */
  readonly past = new PastJobs();
  readonly #journal: JobJournal;
  readonly #jobs = new Map<string, Remembered>();
  readonly #byKey = new Map<string, Remembered>();
  #over = 0;

  constructor(journal: JobJournal) {
    this.#journal = journal;
  }

  add(known: KnownJob): KnownJob {
    const remembered = { ...known };
    const { job, requestKey } = remembered;
    this.#jobs.set(job.jobId, remembered);
    if (requestKey !== undefined) this.#byKey.set(requestKey, remembered);
    if (job instanceof PastJob) this.#over += 1;
    return remembered;
  }

  /** UNKNOWN_JOB. */
  get(jobId: string): KnownJob {
    this.forget();
    const known = this.#jobs.get(jobId);
    if (known === undefined)
      throw new StrataError("UNKNOWN_JOB", `Cannot find job ${printable(jobId, 64)}: there is none`);
    return known;
  }

  withKey(requestKey: string | undefined): KnownJob | undefined {
    return requestKey === undefined ? undefined : this.#byKey.get(requestKey);
  }

  /** The next request with this key makes a job of its own. */
  dropKey(requestKey: string | undefined): void {
    if (requestKey !== undefined) this.#byKey.delete(requestKey);
  }

  /** What is kept of a job from its end on. */
  ended(job: Job, view: JobView): void {
    const known = this.#jobs.get(job.jobId);
    if (known === undefined) return;
    const past = this.past.of(view);
    known.job = past;
    // Only a request key asks for it again.
    if (known.requestKey === undefined) known.request = NOTHING;
    this.#over += 1;
    // Its image may come to the disk later, which the job then says.
    job.observe((later) => this.past.update(past, later));
  }

  unfinished(): Job[] {
    return this.#all().filter((job): job is Job => job instanceof Job && !job.isOver);
  }

  list({ state, limit, cursor }: { state?: JobState | undefined; limit: number; cursor?: string | undefined }) {
    this.forget();
    const newestFirst = this.#all().reverse();
    const left = newestFirst
      .slice(cursor === undefined ? 0 : indexBehind(newestFirst, cursor))
      .filter((job) => state === undefined || job.state === state);
    const shown = left.slice(0, limit);
    const more = left.length > shown.length ? { nextCursor: shown.at(-1)?.jobId } : {};
    return { items: shown.map((job) => job.view()), ...more };
  }

  /** The newest job that is about this reference. */
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

  /** The oldest go first. One that is not over stays, and is written again where it is in the way of the journal's bound. */
  forget(): void {
    const expired = Date.now() - TERMINAL_JOB_TTL_MS;
    const { excess } = this.#journal;
    for (const [jobId, { job, requestKey }] of this.#jobs) {
      const isInTheWay = this.#journal.segmentOf(jobId) <= excess;
      if (job instanceof Job) {
        if (isInTheWay) this.#journal.carry(job.view(), acceptanceOf(job.spec.request));
        continue;
      }
      if (this.#over <= MAX_TERMINAL_JOBS && job.finishedAtMs >= expired && !isInTheWay) break;
      this.#jobs.delete(jobId);
      // One that was refused has left its key to the next.
      if (this.withKey(requestKey)?.job === job) this.dropKey(requestKey);
      this.#journal.forget(jobId);
      this.#over -= 1;
    }
    this.#journal.trim();
  }

  #all(): (Job | PastJob)[] {
    return [...this.#jobs.values()].map(({ job }) => job);
  }
}

/** A job's id rises with its time: where the one that a page ended with is forgotten, the next is the newest that is older. */
function indexBehind(newestFirst: readonly (Job | PastJob)[], jobId: string): number {
  const known = newestFirst.findIndex((job) => job.jobId === jobId);
  if (known !== -1) return known + 1;
  const older = newestFirst.findIndex((job) => job.jobId < jobId);
  return older === -1 ? newestFirst.length : older;
}
