/**
 * Every image of an oci-archive by an install of its own: under its tag, with the policy and the link mode that an export wrote beside
 * it. The ordinary installs, with all their checks; one that fails stops no other.
 */

import { linkModes, overlaps } from "../choices.js";
import { StrataError } from "../errors.js";
import { MAX_IMAGES_AT_ONCE } from "../limits.js";
import type { Job } from "../messages/job.js";
import type { ParsedParams } from "../messages/methods.js";
import { LINK, OVERLAP, REF_NAME } from "../oci/annotations.js";
import type { Descriptor } from "../oci/documents.js";
import { type ArchiveReference, formatReference } from "../oci/reference.js";
import { printable } from "../printable.js";
import { archiveImages, type OpenOptions } from "../sources/open.js";
import { type Policies, specOf } from "./job-spec.js";
import type { Jobs } from "./jobs.js";

export interface ImporterOptions {
  readonly jobs: Jobs;
  readonly policies: Policies;
  readonly sources: OpenOptions;
}

type Request = ParsedParams<"install/start">;

export class Importer {
  readonly #options: ImporterOptions;

  constructor(options: ImporterOptions) {
    this.#options = options;
  }

  /**
   * Their jobs, in the archive's order; none is started where one of them is refused for its name, policy or mode. IMPORT_DENIED,
   * ARCHIVE_LAYOUT, LAYOUT_INVALID, and what a start throws.
   */
  async import({ path }: ParsedParams<"store/import">, sessionId: string): Promise<Job[]> {
    const { jobs, policies, sources } = this.#options;
    const requests = requestsOf(path, await archiveImages(path, sources.importDirs));
    for (const request of requests) specOf(request, policies);
    const started = requests.map((request) => jobs.start(request, sessionId));
    return Promise.all(started.map(({ jobId }) => jobs.accepted(jobId)));
  }
}

function requestsOf(path: string, images: readonly Descriptor[]): Request[] {
  const byTag = new Map(images.map((image) => [image.annotations?.[REF_NAME], image]));
  const only = images.length === 1 ? images[0] : undefined;
  const tagged = [...byTag].flatMap(([tag, image]) => (tag === undefined ? [] : [requestOf(path, image, tag)]));
  if (tagged.length > MAX_IMAGES_AT_ONCE)
    throw refused(path, `it has ${tagged.length} images, over ${MAX_IMAGES_AT_ONCE}`);
  if (tagged.length > 0) return tagged;
  if (only === undefined) throw refused(path, `none of its ${images.length} images has a name`);
  return [requestOf(path, only, undefined)];
}

function requestOf(path: string, { annotations = {} }: Descriptor, tag: string | undefined): Request {
  const reference: ArchiveReference = { transport: "oci-archive", path, ...(tag === undefined ? {} : { tag }) };
  const choice = <Value extends string>(key: string, among: readonly Value[]): Value | undefined => {
    const text = annotations[key];
    if (text === undefined) return undefined;
    const found = among.find((value) => value === text);
    if (found === undefined) throw refused(path, `its ${key} is '${printable(text, 64)}'`);
    return found;
  };
  const [overlap, link] = [choice(OVERLAP, overlaps), choice(LINK, linkModes)];
  return {
    reference: formatReference(reference),
    ...(overlap === undefined ? {} : { overlap }),
    ...(link === undefined ? {} : { link }),
  };
}

const refused = (path: string, fact: string): StrataError =>
  new StrataError("LAYOUT_INVALID", `Cannot import ${printable(path)}: ${fact}`, {
    hint: "Install its images one by one with oci-archive:FILE:TAG.",
  });
