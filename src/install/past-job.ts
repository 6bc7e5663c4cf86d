/**
 * A job that is over, as it is remembered: its last view and nothing that it needed to run.
 */
import type { StrataError } from "../errors.js";
import { type JobState, type Job as JobView, methods } from "../messages.js";
import { formatPlatform, hostPlatform } from "../oci/platform.js";
import { printable } from "../printable.js";
import { type JobOrigin, noProgress } from "./job.js";

export class PastJob {
  readonly isOver = true;
  readonly #view: JobView;

  constructor(view: JobView) {
    this.#view = view;
  }

  get jobId(): string {
    return this.#view.jobId;
  }

  get state(): JobState {
    return this.#view.state;
  }

  /** The canonical text. */
  get reference(): string {
    return this.#view.reference;
  }

  get finishedAtMs(): number {
    return Date.parse(this.#view.finishedAt ?? this.#view.updatedAt);
  }

  view(): JobView {
    return this.#view;
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
