/**
 * A plan for people: what an install would do in a few lines, the layers as a table, and what it would be refused for.
 *
 * Pure; escaped. What is an estimate says so.
 */

import { formatSize } from "../byte-size.js";
import type { Plan } from "../messages/plan.js";
import { printable } from "../printable.js";
import { conflictLines } from "./error-view.js";
import { formatTable } from "./tables.js";
import { plural, shortDigest, shown } from "./text.js";

export function planLines(plan: Plan, { quiet }: { readonly quiet: boolean }): string[] {
  const rows = plan.layers.map(({ digest, size, stored }) => [
    shortDigest(digest),
    formatSize(size),
    stored ? "stored" : "missing",
  ]);
  return [
    ...outline(plan),
    "",
    ...formatTable(quiet ? undefined : ["BLOB", "SIZE", "STATE"], rows),
    ...refusal(plan),
    ...(plan.notes ?? []).map((note) => `note: ${shown(note)}`),
  ];
}

function outline(plan: Plan): string[] {
  const about = plan.complete ? "" : "about ";
  const stored = plan.layers.filter((layer) => layer.stored).length;
  const state = plan.installed ? "its root stands already" : "not installed";
  return [
    `image    ${printable(plan.reference, 8192)}, ${printable(plan.platform, 128)}, manifest ${shortDigest(plan.manifestDigest)}`,
    `root     ${printable(plan.name, 512)}, policy ${plan.overlap}, ${plan.link}, ${state}`,
    `fetch    ${formatSize(plan.toFetchBytes)}, ${stored} of ${plural(plan.layers.length, "layer")} stored`,
    ...(plan.conflicts.length === 0 ? costLines(plan, about) : []),
  ];
}

function costLines(plan: Plan, about: string): string[] {
  return [
    `write    ${about}${formatSize(plan.toWriteBytes)}, ${about}${plural(plan.toWriteInodes, "inode")}`,
    `share    ${formatSize(plan.sharedBytes)} with stored layers`,
    `free     ${plan.freeAfterBytes < 0 ? `too little, ${formatSize(-plan.freeAfterBytes)} are lacking` : `${about}${formatSize(plan.freeAfterBytes)} afterwards`}`,
  ];
}

function refusal({ conflicts, conflictsTotal, complete, hints = [] }: Plan): string[] {
  if (conflicts.length === 0) return [];
  return [
    "",
    "refused for",
    ...conflictLines(conflicts, conflictsTotal),
    ...(complete ? [] : ["  … and perhaps more: not every layer is stored"]),
    ...hints.map((hint) => `  ${shown(hint)}`),
  ];
}
