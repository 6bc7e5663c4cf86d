/**
 * The 'Documents' table of hostile-inputs.md as data, by the page's rows and beyond them: how each input comes to the daemon, and the one
 * right answer.
 */
import { archiveFiles } from "./documents/archive-files.js";
import { counts, extras } from "./documents/counts.js";
import { diffIdRows, digests } from "./documents/digests.js";
import { dockerListings } from "./documents/docker-listings.js";
import { dockerMembers } from "./documents/docker-members.js";
import { foreigners } from "./documents/foreign.js";
import { imitations } from "./documents/imitations.js";
import { indexes } from "./documents/indexes.js";
import { ambiguities, kinds } from "./documents/kinds.js";
import { layoutArchives } from "./documents/layout-archives.js";
import { layouts } from "./documents/layouts.js";
import { mismatches } from "./documents/mismatches.js";
import { noPackages } from "./documents/no-packages.js";
import { packages } from "./documents/packages.js";
import { references } from "./documents/references.js";
import { registries } from "./documents/registries.js";
import type { DocumentRow } from "./documents/row.js";
import { sizes } from "./documents/sizes.js";
import { texts } from "./documents/texts.js";

export type { DocumentRow } from "./documents/row.js";

export const documentSections: Readonly<Record<string, readonly DocumentRow[]>> = {
  mismatches,
  sizes,
  diffIDs: diffIdRows,
  digests,
  texts,
  ambiguities,
  kinds,
  packages,
  "no packages": noPackages,
  indexes,
  counts,
  extras,
  layouts,
  "layout archives": layoutArchives,
  "archive files": archiveFiles,
  "docker-archive, manifest.json": dockerListings,
  "docker-archive, members": dockerMembers,
  registries,
  "foreign layers": foreigners,
  references,
  imitations,
};
