/**
 * What the journal's entries say of jobs, folded: which are over and which are to go on.
 *
 * No I/O. An entry may come twice (the disk refused and took it all the same), or be missing (its line is damaged): the first
 * acceptance and the last end hold, and a job whose end is missing is done again, which changes nothing that is done.
 */
import { MAX_TERMINAL_JOBS } from "../limits.js";
import type { EntryOf, JobEntry } from "../store/journal-entries.js";
import type { PastJob, PastJobs } from "./past-job.js";

export interface RememberedJob {
  readonly jobId: string;
  readonly createdAt: string;
  readonly request: Readonly<Record<string, unknown>>;
  readonly requestKey: string | undefined;
  /** The segment of the journal that its first entry stands in. */
  readonly segment: number;
  /** How often a daemon began with it. */
  readonly starts: number;
  /** `cancelled`: nobody is interested in it, it only has to end. */
  readonly state: "unfinished" | "cancelled" | "over";
  /** Of a job that is over, unless it could not be read. */
  readonly past?: PastJob | undefined;
}

export class JobHistory {
  readonly #jobs = new Map<string, RememberedJob>();
  readonly #past: PastJobs;
  #over = 0;

  constructor(past: PastJobs) {
    this.#past = past;
  }

  /** In the order of the journal. */
  add(entry: JobEntry, segment: number): void {
    const { jobId, kind } = entry;
    const known = this.#jobs.get(jobId);
    if (kind === "job.accepted" && known === undefined) {
      const { at: createdAt, request, requestKey } = entry;
      this.#jobs.set(jobId, { jobId, createdAt, request, requestKey, segment, starts: 0, state: "unfinished" });
    }
    if (kind === "job.ended") this.#end(entry, known ?? orphan(entry, segment));
    if (known === undefined) return;
    if (kind === "job.started") this.#jobs.set(jobId, { ...known, starts: known.starts + 1 });
    if (kind === "job.cancelled" && known.state === "unfinished")
      this.#jobs.set(jobId, { ...known, state: "cancelled" });
  }

  /** Everything but what is over and cannot be shown, in the order of acceptance. */
  all(): RememberedJob[] {
    return [...this.#jobs.values()].filter(({ state, past }) => state !== "over" || past !== undefined);
  }

  #end({ job: record, at: endedAt }: EntryOf<"job.ended">, job: RememberedJob): void {
    if (this.#jobs.get(job.jobId)?.state !== "over") this.#over += 1;
    const past = record === undefined ? undefined : this.#past.recorded(job, record, endedAt);
    this.#jobs.set(job.jobId, { ...job, state: "over", past });
    if (this.#over > MAX_TERMINAL_JOBS) this.#forgetOldest();
  }

  #forgetOldest(): void {
    for (const { jobId, state } of this.#jobs.values()) {
      if (state !== "over") continue;
      this.#jobs.delete(jobId);
      this.#over -= 1;
      return;
    }
  }
}

/** A job whose acceptance cannot be read any more. */
function orphan({ jobId, at }: JobEntry, segment: number): RememberedJob {
  return { jobId, createdAt: at, request: {}, requestKey: undefined, segment, starts: 0, state: "over" };
}

/** The kinds of entries that `add` looks at. */
export const historyKinds: ReadonlySet<string> = new Set([
  "job.accepted",
  "job.started",
  "job.cancelled",
  "job.ended",
] satisfies JobEntry["kind"][]);
