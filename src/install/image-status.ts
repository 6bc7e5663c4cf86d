/** Whether an image is installed, or on its way: from memory, never from the network (protocol.md, image/status). */
import type { ImageStatus, ParsedParams } from "../messages/methods.js";
import { parsePlatform, platformMatches } from "../oci/platform.js";
import { formatReference, parseReference } from "../oci/reference.js";
import type { Catalog } from "../store/catalog.js";
import type { Store } from "../store/store.js";
import type { Jobs } from "./jobs.js";

/** INVALID_REFERENCE, INVALID_PARAMS. */
export function imageStatus(
  query: ParsedParams<"image/status">,
  store: Store,
  catalog: Catalog,
  jobs: Jobs,
): ImageStatus {
  const reference = formatReference(parseReference(query.reference));
  const platform = query.platform === undefined ? undefined : parsePlatform(query.platform);
  const found = store.names
    .installedFrom(reference)
    .filter((generation) => platform === undefined || platformMatches(parsePlatform(generation.platform), platform))
    .sort((a, b) => (a.at < b.at ? 1 : -1));
  const roots = [...new Set(found.map(({ rootId }) => rootId))]
    .map((rootId) => store.roots.get(rootId))
    .filter((root) => root !== undefined)
    .filter(({ overlap }) => query.overlap === undefined || overlap === query.overlap);
  const job = jobs.latestFor(reference);
  const newest = found[0];
  return {
    reference,
    installed: roots.length > 0,
    ...(newest === undefined ? {} : { manifestDigest: newest.manifestDigest, resolvedAt: newest.at }),
    roots: roots.map((root) => catalog.root(root)),
    ...(job === undefined ? {} : { job }),
  };
}
