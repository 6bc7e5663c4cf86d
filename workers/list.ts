/**
 * Worker entry: the names in the directories of a large store, in parts that a scan takes one by one. A listing of 100,000 would hold the
 * main thread for some frames.
 */
import { MAX_SCANNED } from "../src/limits.js";
import type { ListResult, ListTask } from "../src/scan-tasks.js";
import { type Outcome, outcomeOf } from "../src/tasks.js";
import { namesIn } from "./names-in.js";

export default ({ directories, temporary }: ListTask): Promise<Outcome<ListResult>> =>
  outcomeOf("Cannot list the store", () => ({
    listings: directories.map(({ isCounted = false, ...directory }) => {
      const { ids, temporaries } = namesIn(directory, temporary);
      return { parts: isCounted ? [] : partsOf(ids), count: ids.length, temporaries };
    }),
  }));

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
