/**
 * Jobs, roots and layers as rows of a table, for people and grep.
 *
 * Pure; every cell escaped. Times are relative to `nowMs`.
 */
import type { Job, Layer, Root } from "../messages.js";
import { printable } from "../printable.js";
import { formatAge } from "./duration.js";
import { stateWords } from "./summary.js";
import { formatTable } from "./tables.js";
import { formatSize, shortDigest } from "./text.js";

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
      String(root.layers.length),
      String(root.entries),
      formatSize(root.bytes),
      formatAge(root.createdAt, nowMs),
      printable(path, 8192),
    ]);
  });
  const header = ["NAME", "GEN", "ROOT", "OVERLAP", "LINK", "LAYERS", "ENTRIES", "SIZE", "CREATED", "PATH"];
  return formatTable(quiet ? undefined : header, rows);
}

/** Top-level names beyond these are counted only. */
const NAMES_SHOWN = 8;

export function layerTable(layers: readonly Layer[], { nowMs, quiet }: TableOptions): string[] {
  const rows = layers.map((layer) => {
    const names = layer.topLevel.slice(0, NAMES_SHOWN).map((name) => printable(name, 256));
    const more = layer.topLevel.length - names.length;
    return [
      printable(layer.diffId, 512),
      String(layer.roots.length),
      String(layer.entries),
      formatSize(layer.bytes),
      formatAge(layer.lastUsedAt, nowMs),
      [...names, ...(more > 0 ? [`(${more} more)`] : [])].join(" "),
    ];
  });
  return formatTable(quiet ? undefined : ["LAYER", "ROOTS", "ENTRIES", "SIZE", "USED", "TOP-LEVEL"], rows);
}
