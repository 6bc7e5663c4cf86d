/**
 * A repack from its place to its place: the output is looked at first, a workshop made where it can be renamed from, and both are left as
 * they were where it fails.
 */
import type { Config } from "./config.js";
import { StrataError } from "./errors.js";
import type { Log } from "./log.js";
import type { DockerReference } from "./oci/reference.js";
import { OutputLayout } from "./repack/output-layout.js";
import { publishLayout } from "./repack/publish-layout.js";
import { publishToRegistry } from "./repack/publish-registry.js";
import type { Phase } from "./repack/repack-progress.js";
import type { RepackReport } from "./repack/repack-report.js";
import { type MadeLayout, type RepackRequest, type RepackWatch, repack } from "./repack/repacker.js";
import type { PushReport } from "./sources/registry/push.js";
import { inWorkshop } from "./workshop.js";

export interface RepackSurroundings {
  readonly config: Config;
  readonly log: Log;
  /** Absent: nothing is written. */
  readonly place:
    | { readonly kind: "layout"; readonly directory: string }
    | { readonly kind: "registry"; readonly repository: DockerReference }
    | undefined;
  /** For what stands nowhere else. */
  readonly temporary: string;
}

/** As repack, and what the place may have against it. */
export async function runRepack(
  { config, log, place, temporary }: RepackSurroundings,
  request: RepackRequest,
  watch: RepackWatch,
): Promise<RepackReport> {
  // Within the layout, since what stands beside it may be on another file system.
  const output = place?.kind === "layout" ? await OutputLayout.prepare(place.directory) : undefined;
  const below = output?.directory ?? temporary;
  try {
    return await inWorkshop({ config, below, log }, (workshop) => {
      const publish = async (made: MadeLayout, phase: Phase): Promise<PushReport | undefined> => {
        const { signal } = watch;
        if (output !== undefined) return publishLayout(made, output, workshop, signal);
        if (place?.kind !== "registry") return undefined;
        return publishToRegistry(made, place.repository, workshop.sources.registry, { signal, phase });
      };
      return repack(request, workshop, publish, watch);
    });
  } catch (error) {
    throw error instanceof StrataError && error.code === "NO_SPACE" ? noSpace(error, below) : error;
  } finally {
    await output?.abandon();
  }
}

/** The daemon's store has nothing to give here. */
function noSpace({ message, options }: StrataError, below: string): StrataError {
  const hint = `Free space or inodes on the file system of ${below}, which holds what the images unpack to as long as that takes.`;
  return new StrataError("NO_SPACE", message, { ...options, hint });
}
