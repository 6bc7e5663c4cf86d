/**
 * A job that is over, as it is remembered: its last view and nothing that it needed to run.
 */
import { StrataError } from "../errors.js";
import { Job as JobSchema, type JobState, type Job as JobView } from "../messages/job.js";
import { methods } from "../messages/methods.js";
import { formatPlatform, hostPlatform } from "../oci/platform.js";
import { printable } from "../printable.js";
import { type JobOrigin, noProgress } from "./job.js";
import type { RememberedJob } from "./job-history.js";

export class PastJob {
  readonly isOver = true;
  readonly jobId: string;
  readonly state: JobState;
  /** The canonical text. */
  readonly reference: string;
  readonly finishedAtMs: number;
  readonly #read: () => JobView;

  /** `read` gives the view whenever it is asked for. */
  constructor(
    facts: Pick<JobView, "jobId" | "state" | "reference"> & { finishedAt?: string | undefined },
    read: () => JobView,
  ) {
    this.jobId = facts.jobId;
    this.state = facts.state;
    this.reference = facts.reference;
    this.finishedAtMs = Date.parse(facts.finishedAt ?? "");
    this.#read = read;
  }

  static of(view: JobView): PastJob {
    return new PastJob(view, () => view);
  }

  view(): JobView {
    return this.#read();
  }
}

/** As the journal has it. The record of another release, or one that was edited, may be no Job of this one: then it says so. */
export function recordedJob({ jobId, createdAt, request, record, endedAt }: RememberedJob): PastJob {
  const reference = record?.reference ?? "";
  const unreadable = () => {
    const fact = "its record in the journal is none of this release";
    const error = new StrataError("STORE_CORRUPT", `Cannot show how the job ended: ${fact}`);
    return untakenJob({ ...request, reference }, { jobId, createdAt }, error);
  };
  let known: JobView | undefined;
  const view = () => {
    known ??= JobSchema.safeParse({ ...record, jobId }).data ?? unreadable();
    return known;
  };
  return new PastJob({ jobId, reference, state: record?.state ?? "failed", finishedAt: endedAt }, view);
}

/** Of an accepted request that this release or its configuration does not take any more: it ends with `error`. */
export function untakenJob(request: Readonly<Record<string, unknown>>, origin: JobOrigin, error: StrataError): JobView {
  const now = new Date().toISOString();
  const { platform, overlap, link, priority } = methods["install/start"].params.shape;
  return {
    ...origin,
    reference: printable(String(request.reference ?? ""), 8192),
    platform: platform.safeParse(request.platform).data ?? formatPlatform(hostPlatform()),
    overlap: overlap.safeParse(request.overlap).data ?? "c",
    link: link.safeParse(request.link).data ?? "hardlink",
    priority: priority.safeParse(request.priority).data ?? "normal",
    state: "failed",
    progress: noProgress,
    layers: [],
    durable: false,
    updatedAt: now,
    finishedAt: now,
    error: error.with({ jobId: origin.jobId }).toWire(),
  };
}

/** The same without what makes it large: its layers, what an update changed, and the details of its error. */
export function slimView({ changes: _, ...view }: JobView): JobView {
  const { details: __, ...error } = view.error ?? {};
  return {
    ...view,
    layers: [],
    ...(view.error === undefined ? {} : { error: error as NonNullable<JobView["error"]> }),
  };
}
