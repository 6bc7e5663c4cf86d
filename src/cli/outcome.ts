/**
 * What a job that is over means for the command that waited for it: a path, or an error.
 *
 * Pure.
 */
import { StrataError, type WireError } from "../errors.js";
import type { Job } from "../messages/job.js";
import { printable } from "../printable.js";

/** The error of a job that did not become ready, with its `jobId` among the details; undefined where it did. */
export function errorOf(job: Job): WireError | undefined {
  if (job.state === "ready") return undefined;
  const error = job.error ?? unexplained(job).toWire();
  return { ...error, details: { ...error.details, jobId: job.jobId } };
}

/** Where the image stands: the stable path of its name, else the root's own. */
export function pathOf(job: Job): string | undefined {
  return job.name?.path ?? job.root?.path;
}

function unexplained(job: Job): StrataError {
  const action = `Cannot install ${printable(job.reference, 512)}`;
  if (job.state === "cancelled") return new StrataError("CANCELLED", `${action}: the job was cancelled`);
  return new StrataError("INTERNAL", `${action}: the job ended as ${job.state} without an error`);
}
