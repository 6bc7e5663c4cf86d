/**
 * One install that one or more clients are interested in: its state, and who is interested (protocol.md, Job).
 *
 * A job is separate from the request and the session that asked for it. It mirrors what its work tells, and says when
 * anything changes; it does no work itself.
 */
import { randomUUID } from "node:crypto";
import type { LinkMode, Priority } from "../choices.js";
import { type StrataError, toStrataError } from "../errors.js";
import type { JobState, Job as JobView, Phase, Progress } from "../messages/job.js";
import type { InstallRequest } from "../messages/methods.js";
import type { Reference } from "../oci/reference.js";
import type { PlannedPolicy } from "../overlap/plan-root.js";

/** What a work lets its jobs see; replaced as a whole by whoever does the work. */
export type WorkView = Pick<JobView, "layers" | "progress" | "manifestDigest" | "linked" | "timings"> & {
  readonly phase: Phase;
};

export interface JobSpec {
  readonly request: InstallRequest;
  readonly reference: Reference;
  /** The canonical text of the reference. */
  readonly referenceText: string;
  readonly name: string;
  readonly platform: string;
  readonly overlap: PlannedPolicy;
  readonly link: LinkMode;
  readonly priority: Priority;
}

/** Where the image stands, and how that differs from what stood there. */
export type JobOutcome = Required<Pick<JobView, "root" | "name">> & Pick<JobView, "changes">;

/** What a job that an earlier daemon accepted keeps. */
export type JobOrigin = Pick<JobView, "jobId" | "createdAt">;

/** Why its work is stopped: the first reason counts. */
type Stop = { readonly kind: "cancelled" | "interrupted" } | { readonly kind: "refused"; readonly error: StrataError };

interface End {
  readonly state: "ready" | "failed" | "cancelled";
  readonly finishedAt: string;
  readonly error?: StrataError;
}

/** Interest that no session holds: of sessions that are closed, and of detached installs. */
const ORPHANED = Symbol("orphaned");

export const noProgress: Progress = { bytesDone: 0, bytesTotal: 0, layersDone: 0, layersTotal: 0, entriesDone: 0 };

export class Job {
  readonly jobId: string;
  readonly spec: JobSpec;
  readonly #abort = new AbortController();
  readonly #interest = new Set<string | typeof ORPHANED>();
  readonly #listeners = new Set<(job: JobView) => void>();
  readonly #createdAt: string;
  #updatedAt: string;
  #stop: Stop | undefined;
  #state: "queued" | "running" = "queued";
  /** Resolves when it is over; absent until it is decided how it ends. */
  #recording: Promise<void> | undefined;
  #end: End | undefined;
  #recordEnd: (end: JobView) => Promise<void> = async () => undefined;
  #work: WorkView | undefined;
  #platform: string;
  #notes: readonly string[] = [];
  #outcome: Partial<JobOutcome> = {};
  #durable = false;

  constructor(spec: JobSpec, origin: JobOrigin = { jobId: uuidv7(), createdAt: new Date().toISOString() }) {
    this.spec = spec;
    this.jobId = origin.jobId;
    this.#createdAt = origin.createdAt;
    this.#updatedAt = origin.createdAt;
    this.#platform = spec.platform;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The canonical text. */
  get reference(): string {
    return this.spec.referenceText;
  }

  get state(): JobState {
    return this.#end?.state ?? this.#state;
  }

  /** How it ends is decided, though it may not be recorded yet. */
  get isDecided(): boolean {
    return this.#recording !== undefined;
  }

  /** Resolves when it is over, at once where its end is not decided. */
  async recorded(): Promise<void> {
    await this.#recording;
  }

  get isOver(): boolean {
    return this.#end !== undefined;
  }

  get finishedAtMs(): number {
    return this.#end === undefined ? Number.POSITIVE_INFINITY : Date.parse(this.#end.finishedAt);
  }

  view(): JobView {
    return this.#view(this.#end);
  }

  #view(end: End | undefined): JobView {
    const { referenceText, overlap, link, priority } = this.spec;
    const { phase, layers, progress, manifestDigest, linked, timings } = this.#work ?? {};
    return {
      jobId: this.jobId,
      reference: referenceText,
      platform: this.#platform,
      overlap,
      link,
      priority,
      state: end?.state ?? this.#state,
      ...(this.#stop?.kind === "cancelled" && end === undefined ? { stopping: true } : {}),
      ...(phase === undefined || end !== undefined ? {} : { phase }),
      ...(manifestDigest === undefined ? {} : { manifestDigest }),
      ...this.#outcome,
      progress: progress ?? noProgress,
      layers: layers ?? [],
      ...(linked === undefined ? {} : { linked }),
      durable: this.#durable,
      ...(this.#notes.length === 0 ? {} : { notes: [...this.#notes] }),
      createdAt: this.#createdAt,
      updatedAt: this.#updatedAt,
      ...(end === undefined ? {} : { finishedAt: end.finishedAt }),
      ...(timings === undefined ? {} : { timings }),
      ...(end?.error === undefined ? {} : { error: end.error.toWire() }),
    };
  }

  takeInterest(sessionId: string | undefined): void {
    this.#interest.add(sessionId ?? ORPHANED);
  }

  orphan(sessionId: string): void {
    if (this.#interest.delete(sessionId)) this.#interest.add(ORPHANED);
  }

  /** Withdraws the session's and all orphaned interest; a job that nobody is interested in is cancelled: true where it is. */
  withdraw(sessionId: string): boolean {
    this.#interest.delete(sessionId);
    this.#interest.delete(ORPHANED);
    return this.#interest.size === 0 && this.cancel();
  }

  /** Whoever is interested, the job ends as cancelled. False where its end is decided or it is stopped already. */
  cancel(): boolean {
    return this.#stopFor({ kind: "cancelled" });
  }

  /** The daemon stops: its work ends, the job does not. The next daemon goes on with it. */
  interrupt(): boolean {
    return this.#stopFor({ kind: "interrupted" });
  }

  /** It was never accepted: it ends as failed. */
  refuse(error: StrataError): boolean {
    return this.#stopFor({ kind: "refused", error });
  }

  #stopFor(stop: Stop): boolean {
    if (this.isDecided || this.#stop !== undefined) return false;
    this.#stop = stop;
    this.#abort.abort();
    return true;
  }

  observe(listener: (job: JobView) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** `record` gets the view of the end; the job is over, for everybody, when that resolves. It must not reject. */
  recordEnd(record: (end: JobView) => Promise<void>): void {
    this.#recordEnd = record;
  }

  /** It begins by finding out what its reference names. */
  started(): void {
    this.#state = "running";
    this.update({ phase: "resolve", layers: [], progress: noProgress });
  }

  resolved(platform: string, note: string | undefined): void {
    this.#platform = platform;
    if (note !== undefined) this.#notes = [note];
  }

  update(work: WorkView): void {
    this.#work = work;
    this.#changed();
  }

  /** The name leads to the root. */
  named(outcome: JobOutcome): void {
    this.#outcome = outcome;
    this.#changed();
  }

  /** Resolves when it is over. */
  async ready(durable: boolean): Promise<void> {
    this.#durable = durable;
    await this.#finish("ready");
  }

  /** A power cut takes nothing of its image any more. */
  isOnDisk(): void {
    this.#durable = true;
    this.#changed();
  }

  /** Its work failed, or was stopped. Resolves when it is over, or interrupted. */
  async failed(thrown: unknown): Promise<void> {
    const stop = this.#stop;
    if (stop?.kind === "interrupted") return;
    const error = toStrataError(stop?.kind === "refused" ? stop.error : thrown, "Cannot install the image");
    const isCancelled = error.code === "CANCELLED" && stop?.kind === "cancelled";
    await this.#finish(isCancelled ? "cancelled" : "failed", error.with({ jobId: this.jobId }));
  }

  /** Who observes it hears of its end, and of nothing behind it; who begins to in that moment hears what comes later. */
  async #finish(state: End["state"], error?: StrataError): Promise<void> {
    const end: End = { state, finishedAt: new Date().toISOString(), ...(error === undefined ? {} : { error }) };
    this.#updatedAt = end.finishedAt;
    this.#recording = this.#recordEnd(this.#view(end)).then(() => {
      this.#end = end;
      const listeners = [...this.#listeners];
      this.#listeners.clear();
      this.#tell(listeners);
    });
    await this.#recording;
  }

  #changed(): void {
    this.#updatedAt = new Date().toISOString();
    this.#tell([...this.#listeners]);
  }

  #tell(listeners: readonly ((job: JobView) => void)[]): void {
    if (listeners.length === 0) return;
    const view = this.view();
    for (const listener of listeners) listener(view);
  }
}

let lastMs = 0;

/** RFC 9562, 5.7: the time in milliseconds, each one's own, then randomness: ids sort by creation. */
function uuidv7(): string {
  lastMs = Math.max(Date.now(), lastMs + 1);
  const time = lastMs.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice("xxxxxxxx-xxxx-4".length)}`;
}
