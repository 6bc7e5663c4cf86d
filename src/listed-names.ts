/** What the names in a directory of the store are of. Pure. */
import { MAX_SCANNED } from "./limits.js";
import type { Listed, Listing, ListTask } from "./scan-tasks.js";

/** What names with the suffix have before it. */
export function idsOf(names: readonly string[], { suffix }: Pick<Listed, "suffix">): string[] {
  return names.filter((name) => isId(name, suffix)).map((name) => name.slice(0, name.length - suffix.length));
}

export function listingOf(
  names: readonly string[],
  { suffix, isCounted = false }: ListTask["directories"][number],
  temporary: string,
): Listing {
  const ids = idsOf(names, { suffix });
  const temporaries = names.filter(
    (name) => !name.startsWith(".") && !name.endsWith(suffix) && name.endsWith(temporary),
  );
  return { parts: isCounted ? [] : partsOf(ids), count: ids.length, temporaries };
}

/** None begins with a dot: that is a probe of a start that was killed. */
const isId = (name: string, suffix: string): boolean => !name.startsWith(".") && name.endsWith(suffix);

function partsOf(ids: readonly string[]): string[] {
  let count = 1;
  while (ids.length / count > MAX_SCANNED) count *= 2;
  const parts = Array.from({ length: count }, (): string[] => []);
  for (const id of ids) parts[numberOf(id) % count]?.push(id);
  return parts.map((part) => part.join("/"));
}

const HASHED = 8;

/** FNV-1a over the end, where digests and names differ most: parts that are far from equal would only take longer. */
function numberOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let at = Math.max(0, id.length - HASHED); at < id.length; at += 1)
    hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}
