/**
 * One job in one line, for people: what it is doing, and what came of it.
 *
 * Pure; escaped. The words here are the only ones that the view, the plain lines and the tables use for a job's state.
 */
import { isWritable } from "../choices.js";
import type { Changes, Job } from "../messages/job.js";
import { printable } from "../printable.js";
import { formatDuration } from "./duration.js";
import { plural, shown } from "./text.js";

const phaseWords = {
  resolve: "resolving",
  fetch: "fetching",
  unpack: "unpacking",
  link: "linking",
  commit: "committing",
} as const;

/** `queued`, `unpacking, 1 of 2 layers`, `ready`, `failed [LAYER_OVERLAP]`. */
export function stateWords(job: Job): string {
  if (job.state === "failed") return job.error === undefined ? "failed" : `failed [${job.error.code}]`;
  if (job.state !== "running") return job.state;
  const words = job.phase === undefined ? "running" : phaseWords[job.phase];
  const { layersDone, layersTotal } = job.progress;
  return layersTotal === 0 || job.phase === "resolve"
    ? words
    : `${words}, ${layersDone} of ${plural(layersTotal, "layer")}`;
}

/**
 * `gcc-amd64: ready, 2 layers (1 shared), 12 files linked, 34 ms`, and for an update `…, 2 added, 1 changed, 1 removed, 34 ms`, which are
 * names at the image root. Notes follow, one line each.
 */
export function summaryLines(label: string, job: Job): string[] {
  const subject = printable(job.name?.name ?? label, 8192);
  const spanMs = Date.parse(job.finishedAt ?? job.updatedAt) - Date.parse(job.createdAt);
  const span = Number.isFinite(spanMs) ? [formatDuration(spanMs)] : [];
  const parts = job.state === "ready" ? [...contents(job), ...span] : span;
  const line = [`${subject}: ${stateWords(job)}`, ...parts].join(", ");
  return [line, ...(job.notes ?? []).map((note) => `${subject}: note: ${shown(note)}`)];
}

function contents(job: Job): string[] {
  const shared = job.layers.filter((layer) => layer.reused).length;
  const layers = plural(job.layers.length, "layer") + (shared === 0 ? "" : ` (${shared} shared)`);
  return [...(job.layers.length === 0 ? [] : [layers]), ...linkedWords(job), ...changedWords(job.changes)];
}

function linkedWords({ link, linked }: Job): string[] {
  if (linked === undefined) return ["already installed"];
  const { files, copied } = linked;
  const because = copied.because === undefined ? "" : `: ${shown(copied.because, 256)}`;
  return [
    ...(isWritable(link) ? [] : [link === "symlink" ? plural(files, "symlink") : `${plural(files, "file")} linked`]),
    ...(copied.count === 0 ? [] : [`${plural(copied.count, "file")} copied${because}`]),
    ...(linked.dropped === undefined ? [] : [`${plural(linked.dropped, "name")} dropped by placement`]),
  ];
}

function changedWords(changes: Changes | undefined): string[] {
  if (changes === undefined) return [];
  const { added, changed, removed } = changes.total;
  const counts = [[added, "added"] as const, [changed, "changed"] as const, [removed, "removed"] as const];
  const words = counts.flatMap(([count, word]) => (count === 0 ? [] : [`${count} ${word}`]));
  return words.length === 0 ? ["nothing changed"] : words;
}
