/**
 * Jobs, roots, generations, layers and what they cost as rows of a table, for people and grep.
 *
 * Pure; every cell escaped. Times are relative to `nowMs`. What may be long stands last: the other columns of ordinary rows end
 * within 100, and the rest of a root is in its JSON document.
 */
import { formatSize } from "../byte-size.js";
import type { Job } from "../messages/job.js";
import type { Layer } from "../messages/layer.js";
import type { JobLog } from "../messages/methods.js";
import type { NameGeneration, Root } from "../messages/root.js";
import type { StoreUsage } from "../messages/usage.js";
import { printable } from "../printable.js";
import { formatAge } from "./duration.js";
import { stateWords } from "./summary.js";
import { formatTable } from "./tables.js";
import { shortDigest, shown } from "./text.js";

/** A quiet table has no header. */
export interface TableOptions {
  readonly nowMs: number;
  readonly quiet: boolean;
}

export function jobTable(jobs: readonly Job[], { nowMs, quiet }: TableOptions): string[] {
  const rows = jobs.map((job) => [
    job.jobId,
    formatAge(job.createdAt, nowMs),
    stateWords(job),
    printable(job.name?.name ?? "", 512),
    printable(job.reference, 8192),
  ]);
  return formatTable(quiet ? undefined : ["JOB", "CREATED", "STATE", "NAME", "REFERENCE"], rows);
}

/** One row for each line, without a header. The messages are escaped by the daemon, which may be another's. */
export function jobLogTable({ lines }: Pick<JobLog, "lines">): string[] {
  return formatTable(
    undefined,
    lines.map(({ at, message }) => [at, shown(message)]),
  );
}

/** One row for each name; a root without one has a row of its own. */
export function rootTable(roots: readonly Root[], { nowMs, quiet }: TableOptions): string[] {
  const rows = roots.flatMap((root) => {
    const names = root.names.length === 0 ? [{ name: "", path: root.path, generation: "" }] : root.names;
    return names.map(({ name, path, generation }) => [
      printable(name, 512),
      String(generation),
      shortDigest(root.rootId),
      root.overlap,
      root.link,
      keptBy(root),
      formatSize(root.bytes),
      sizeIfKnown(root.uniqueBytes),
      sizeIfKnown(root.sharedBytes),
      formatAge(root.createdAt, nowMs),
      printable(path, 8192),
    ]);
  });
  const header = ["NAME", "GEN", "ROOT", "OVERLAP", "LINK", "PIN", "SIZE", "UNIQUE", "SHARED", "CREATED", "PATH"];
  return formatTable(quiet ? undefined : header, rows);
}

function keptBy({ pinned, heldFor }: Root): string {
  const held = heldFor === undefined ? "" : `held for ${printable(heldFor, 64)}`;
  return [pinned ? "pinned" : "", held].filter((part) => part !== "").join(", ");
}

/** The newest first. */
export function generationTable(generations: readonly NameGeneration[], { nowMs, quiet }: TableOptions): string[] {
  const rows = generations
    .toReversed()
    .map(({ generation, current, stands, at, rootId, manifestDigest, reference }) => [
      String(generation),
      stands ? (current ? "current" : "") : "gone",
      formatAge(at, nowMs),
      shortDigest(rootId),
      shortDigest(manifestDigest),
      printable(reference, 8192),
    ]);
  return formatTable(quiet ? undefined : ["GEN", "STATE", "INSTALLED", "ROOT", "MANIFEST", "REFERENCE"], rows);
}

/** One row for each root, the one that costs most first; the store as a whole in the last. */
export function usageTable({ roots, ...total }: StoreUsage, { quiet }: Pick<TableOptions, "quiet">): string[] {
  const sizes = ({ apparentBytes, uniqueBytes, sharedBytes }: Omit<StoreUsage, "roots">) =>
    [apparentBytes, uniqueBytes, sharedBytes].map(formatSize);
  const rows = roots
    .toSorted((a, b) => b.uniqueBytes - a.uniqueBytes)
    .map((root) => [...sizes(root), root.overlap, root.link, shortDigest(root.rootId), shownNames(root.names, 512)]);
  const header = ["APPARENT", "UNIQUE", "SHARED", "OVERLAP", "LINK", "ROOT", "NAMES"];
  // No name may have parentheses.
  return formatTable(quiet ? undefined : header, [...rows, [...sizes(total), "", "", "", "(total)"]]);
}

export function layerTable(layers: readonly Layer[], { nowMs, quiet }: TableOptions): string[] {
  const rows = layers.map((layer) => [
    shortDigest(layer.diffId),
    String(layer.roots.length),
    String(layer.entries),
    formatSize(layer.bytes),
    sizeIfKnown(layer.sharedBytes),
    formatAge(layer.lastUsedAt, nowMs),
    shownNames(layer.topLevel, 256),
  ]);
  return formatTable(quiet ? undefined : ["LAYER", "ROOTS", "ENTRIES", "SIZE", "SHARED", "USED", "TOP-LEVEL"], rows);
}

/** Names beyond these are counted only. */
const NAMES_SHOWN = 8;

function shownNames(names: readonly string[], maxBytes: number): string {
  const shown = names.slice(0, NAMES_SHOWN).map((name) => printable(name, maxBytes));
  const more = names.length - shown.length;
  return [...shown, ...(more > 0 ? [`(${more} more)`] : [])].join(" ");
}

/** A daemon of an older release does not tell. */
const sizeIfKnown = (bytes: number | undefined): string => (bytes === undefined ? "" : formatSize(bytes));
