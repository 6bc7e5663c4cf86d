/**
 * The jobs' side of the journal: writes what happens to them, tells at start what earlier daemons left, and reads one job's lines
 * again. Knows which segments the jobs that are remembered need; decides about no job.
 */
import { MAX_JOB_LOG_LINES, MAX_JOB_LOG_READS } from "../limits.js";
import type { Log } from "../log.js";
import type { JobLogLine, Job as JobView } from "../messages/job.js";
import type { JobLog } from "../messages/methods.js";
import { Slots } from "../slots.js";
import type { Journal } from "../store/journal.js";
import { isJobEntry, type JournalEntry } from "../store/journal-entries.js";
import { historyKinds, JobHistory, type RememberedJob } from "./job-history.js";
import type { Acceptance } from "./job-spec.js";
import { logLines, transitions } from "./job-transitions.js";
import type { PastJobs } from "./past-job.js";

export class JobJournal {
  readonly #journal: Journal;
  readonly #log: Log;
  /** The segment of each remembered job's first entry, the oldest first. */
  readonly #segments = new Map<string, number>();
  readonly #reads = new Slots(MAX_JOB_LOG_READS);
  readonly #carried = new Set<string>();

  constructor(journal: Journal, log: Log) {
    this.#journal = journal;
    this.#log = log;
  }

  /** What is remembered of earlier daemons' jobs, in the order of their acceptance. */
  async restore(past: PastJobs): Promise<RememberedJob[]> {
    const history = new JobHistory(past);
    const take = (entry: JournalEntry, segment: number): undefined => {
      if (isJobEntry(entry)) history.add(entry, segment);
    };
    await this.#journal.read(take, { wants: ({ kind }) => historyKinds.has(kind) });
    const jobs = history.all();
    for (const { jobId, segment } of jobs) this.#segments.set(jobId, segment);
    return jobs;
  }

  /** Resolves when the acceptance is on the disk. NO_SPACE, STORE_IO, …: then the journal does not have it. */
  async accept(job: JobView, acceptance: Acceptance): Promise<void> {
    this.#segments.set(job.jobId, this.#journal.segment);
    await this.#journal.appendDurably(accepted(job, acceptance));
  }

  /** Writes the acceptance of an unfinished job again, so that the segments before are not needed for it. */
  carry(job: JobView, acceptance: Acceptance): void {
    if (this.#carried.has(job.jobId)) return;
    this.#carried.add(job.jobId);
    const { segment } = this.#journal;
    void this.#journal
      .appendDurably(accepted(job, acceptance))
      .then(() => {
        if (!this.#segments.delete(job.jobId)) return;
        this.#segments.set(job.jobId, segment);
      })
      .catch((error: unknown) => this.#log.warn("job.not-carried", { jobId: job.jobId, error }))
      .finally(() => this.#carried.delete(job.jobId));
  }

  /** What changed between two views. */
  changed(last: JobView, view: JobView): void {
    for (const entry of transitions(last, view)) this.#journal.append(entry);
  }

  resumed(jobId: string): void {
    this.#journal.append({ kind: "job.resumed", jobId, at: now() });
  }

  interrupted(jobId: string): void {
    this.#journal.append({ kind: "job.interrupted", jobId, at: now() });
  }

  ended(view: JobView): void {
    this.#journal.append({ kind: "job.ended", jobId: view.jobId, at: now(), state: view.state, job: view });
  }

  /** Resolves when that is on the disk; where the disk refuses, it is only logged: the job is cancelled all the same. */
  async cancelled(jobId: string): Promise<void> {
    try {
      await this.#journal.appendDurably({ kind: "job.cancelled", jobId, at: now() });
    } catch (error) {
      this.#log.warn("job.cancel.forgettable", { jobId, error });
    }
  }

  /** Jobs that stand in these segments or earlier ones are in the way of the journal's bound. */
  get excess(): number {
    return this.#journal.excess;
  }

  segmentOf(jobId: string): number {
    return this.#segments.get(jobId) ?? Number.POSITIVE_INFINITY;
  }

  forget(jobId: string): void {
    this.#segments.delete(jobId);
  }

  /** Gives back the disk of what is not remembered any more. */
  trim(): void {
    const [oldest = Number.POSITIVE_INFINITY] = this.#segments.values();
    void this.#journal.trim(oldest);
  }

  /** CANCELLED where `signal` is aborted while others are read. */
  linesOf(jobId: string, { signal }: { readonly signal: AbortSignal }): Promise<JobLog> {
    return this.#reads.run(0, signal, () => this.#read(jobId));
  }

  async #read(jobId: string): Promise<JobLog> {
    await this.#journal.flush();
    const lines: JobLogLine[] = [];
    let omitted = 0;
    await this.#journal.read(
      (entry) => {
        if (!isJobEntry(entry) || entry.jobId !== jobId) return true;
        lines.push(...logLines(entry));
        const surplus = Math.max(0, lines.length - MAX_JOB_LOG_LINES);
        lines.splice(0, surplus);
        omitted += surplus;
        return entry.kind !== "job.ended";
      },
      { from: this.#segments.get(jobId) ?? 0, wants: (head) => head.jobId === jobId },
    );
    return { jobId, lines, omitted };
  }
}

function accepted({ jobId, createdAt: at }: JobView, { request, requestKey }: Acceptance): JournalEntry {
  const key = requestKey === undefined ? {} : { requestKey };
  return { kind: "job.accepted", jobId, at, request: { ...request }, ...key };
}

const now = (): string => new Date().toISOString();
