/**
 * A job that is over, as it is remembered: its last view as text and nothing that it needed to run. Ten thousand are, so each is
 * about a kilobyte: objects would be several times that, and most jobs have the layers of an image that others had before.
 */
import { StrataError } from "../errors.js";
import { MAX_RECENT_LAYER_LISTS } from "../limits.js";
import { Job as JobSchema, type JobState, type Job as JobView } from "../messages/job.js";
import { methods } from "../messages/methods.js";
import { formatPlatform, hostPlatform } from "../oci/platform.js";
import { printable } from "../printable.js";
import type { JobRecord } from "../store/journal-entries.js";
import { type JobOrigin, noProgress } from "./job.js";

type Facts = Pick<JobView, "jobId" | "state" | "reference"> & { readonly finishedAt?: string | undefined };

/** What else the journal has of a job that is over. */
interface Recorded extends JobOrigin {
  readonly request: Readonly<Record<string, unknown>>;
}

/** Makes them, so that jobs of one image hold the text of its layers once. */
export class PastJobs {
  /** Each under itself, the oldest first: those of jobs long ago are found by nobody any more, and cost only their own jobs. */
  readonly #recent = new Map<string, string>();

  of(view: JobView): PastJob {
    return new PastJob(view, this.#textOf(view));
  }

  /** As the journal has it. The record of another release, or one that was edited, may be no Job of this one: then it says so. */
  recorded({ jobId, createdAt, request }: Recorded, record: JobRecord, finishedAt: string): PastJob {
    const { reference, state } = record;
    const read = (recorded: unknown): JobView => JobSchema.safeParse(recorded).data ?? unreadable();
    const unreadable = (): JobView => {
      const fact = "its record in the journal is none of this release";
      const error = new StrataError("STORE_CORRUPT", `Cannot show how the job ended: ${fact}`);
      return untakenJob({ ...request, reference }, { jobId, createdAt }, error);
    };
    return new PastJob({ jobId, reference, state, finishedAt }, this.#textOf(record), read);
  }

  /** It has changed since, though it was over. */
  update(past: PastJob, view: JobView): void {
    past.shows(this.#textOf(view));
  }

  #textOf({ jobId: _, reference: __, state: ___, layers, ...rest }: Readonly<Record<string, unknown>>): ViewText {
    return { rest: JSON.stringify(rest), layers: this.#shared(JSON.stringify(layers ?? [])) };
  }

  #shared(text: string): string {
    const known = this.#recent.get(text) ?? text;
    this.#recent.delete(text);
    this.#recent.set(known, known);
    const [oldest] = this.#recent.keys();
    if (this.#recent.size > MAX_RECENT_LAYER_LISTS && oldest !== undefined) this.#recent.delete(oldest);
    return known;
  }
}

/** JSON: the list of its layers, and everything else that a PastJob does not hold itself. */
interface ViewText {
  readonly rest: string;
  readonly layers: string;
}

export class PastJob {
  readonly isOver = true;
  readonly jobId: string;
  readonly state: JobState;
  /** The canonical text. */
  readonly reference: string;
  readonly finishedAtMs: number;
  #text: ViewText;
  /** What makes a view of what was recorded; checked once, when somebody looks. */
  #read: ((recorded: unknown) => JobView) | undefined;

  constructor({ jobId, state, reference, finishedAt }: Facts, text: ViewText, read?: (recorded: unknown) => JobView) {
    this.jobId = jobId;
    this.state = state;
    this.reference = reference;
    this.finishedAtMs = Date.parse(finishedAt ?? "");
    this.#text = text;
    this.#read = read;
  }

  view(): JobView {
    const { jobId, reference, state } = this;
    const recorded = {
      ...JSON.parse(this.#text.rest),
      jobId,
      reference,
      state,
      layers: JSON.parse(this.#text.layers),
    };
    return this.#read === undefined ? recorded : this.#read(recorded);
  }

  shows(text: ViewText): void {
    this.#text = text;
    this.#read = undefined;
  }
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
