/**
 * What a request asks for, once and for all: its reference, name and platform read, its defaults filled in, and what is not
 * allowed here refused.
 *
 * Pure.
 */
import { StrataError } from "../errors.js";
import { type InstallRequest, methods } from "../messages/methods.js";
import { formatPlatform, hostPlatform, parsePlatform } from "../oci/platform.js";
import { defaultName, formatReference, parseName, parseReference } from "../oci/reference.js";
import type { PlannedPolicy } from "../overlap/plan-root.js";
import { printable } from "../printable.js";
import type { JobSpec } from "./job.js";

/** Which overlap policies an install may have, and which it has where it names none. */
export interface Policies {
  readonly overlap: PlannedPolicy;
  readonly allowed: readonly PlannedPolicy[];
}

/** What a job is made of; the rest of a request belongs to one session. */
export interface Acceptance {
  readonly request: Omit<InstallRequest, "requestKey" | "workDoneToken">;
  readonly requestKey: string | undefined;
}

export function acceptanceOf({ requestKey, workDoneToken: _, ...request }: InstallRequest): Acceptance {
  return { request, requestKey };
}

/** Whether two requests ask for the same. */
export function isSameRequest(
  one: Readonly<Record<string, unknown>>,
  other: Readonly<Record<string, unknown>>,
): boolean {
  const text = (request: object): string => JSON.stringify(Object.entries(request).sort());
  return text(one) === text(other);
}

/** What an earlier daemon accepted, as this one takes it. INVALID_PARAMS, and what `specOf` throws. */
export function readRequest(request: Readonly<Record<string, unknown>>): InstallRequest {
  const read = methods["install/start"].params.safeParse(request);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const fact = printable(`${issue?.path.map(String).join(".") ?? ""}: ${issue?.message ?? "it does not fit"}`);
  throw new StrataError("INVALID_PARAMS", `Cannot go on with the install: this release does not take ${fact}`);
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
