/**
 * A collection for people: what went in one line, and a plan as a table of what would go and what would stay, with the reasons.
 *
 * Pure; escaped.
 */
import { formatSize } from "../byte-size.js";
import type { CollectedItem, Collection } from "../messages/collection.js";
import { formatTable } from "./tables.js";
import { plural, shortDigest, shown } from "./text.js";

export function collectionLines(collection: Collection, { quiet }: { readonly quiet: boolean }): string[] {
  const { gone, kept, removed, stays } = collection;
  const row = (fate: string) => (item: CollectedItem) => [
    fate,
    item.kind,
    shortDigest(item.id),
    formatSize(item.bytes),
    String(item.inodes),
    shown(item.because),
  ];
  const header = ["FATE", "KIND", "ID", "SIZE", "INODES", "BECAUSE"];
  return [
    ...formatTable(quiet ? undefined : header, [...gone.map(row("goes")), ...kept.map(row("stays"))]),
    ...more("would go", gone.length, removed),
    ...more("would stay", kept.length, stays),
    ...(quiet ? [] : [collectionSummary(collection)]),
  ];
}

/** `removed 1 root, 2 layers, 2 blobs: 1.2 MB, 312 inodes`, or `would remove …`. */
export function collectionSummary({ plan, removed }: Collection): string {
  const { roots, layers, blobs, bytes, inodes } = removed;
  const things = [plural(roots, "root"), plural(layers, "layer"), plural(blobs, "blob")].join(", ");
  return `${plan ? "would remove" : "removed"} ${things}: ${formatSize(bytes)}, ${plural(inodes, "inode")}`;
}

function more(what: string, listed: number, { roots, layers, blobs }: Collection["removed"]): string[] {
  const left = roots + layers + blobs - listed;
  return left > 0 ? [`(${left} more ${what})`] : [];
}
