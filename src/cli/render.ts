/**
 * What the progress view shows of jobs, as lines: a header for each image, a line for each of its layers, a total.
 *
 * Pure: jobs and the size of the terminal in, lines out, each escaped and shorter than the terminal is wide. What does not
 * fit its height is folded into one line, what is over first. Knows no escape sequences and no clock.
 */

import { formatSize } from "../byte-size.js";
import type { Job, JobLayer } from "../messages/job.js";
import { printable } from "../printable.js";
import { formatDuration } from "./duration.js";
import { stateWords } from "./summary.js";
import { clip, columnsOf, plural, type Style, shortDigest } from "./text.js";

/** One reference of the command line; `job` is absent until the daemon has answered. */
export interface Track {
  readonly label: string;
  readonly job?: Job | undefined;
}

export interface Screen {
  readonly columns: number;
  /** Lines that the frame may have; at least 1. */
  readonly rows: number;
  readonly bytesPerSecond?: number | undefined;
}

export interface Line {
  readonly text: string;
  readonly style?: Style | undefined;
}

/** Lines with a lower rank are kept longer when the terminal is too low. */
interface Ranked extends Line {
  readonly kind: "image" | "layer" | "total";
  readonly rank: number;
}

export function renderFrame(tracks: readonly Track[], screen: Screen): Line[] {
  const lines = tracks.flatMap((track) => renderTrack(track, screen.columns));
  const total = renderTotal(tracks, screen);
  const all = total === undefined ? lines : [...lines, total];
  return fold(all, Math.max(1, screen.rows)).map(({ text, style }) => ({
    text: clip(text, screen.columns - 1),
    style,
  }));
}

function renderTrack(track: Track, columns: number): Ranked[] {
  const header = renderHeader(track, columns);
  const layers = track.job?.layers ?? [];
  return [header, ...layers.map((layer) => renderLayer(layer, columns))];
}

function renderHeader({ label, job }: Track, columns: number): Ranked {
  const words = job === undefined ? "asking the daemon" : stateWords(job);
  const room = Math.max(8, columns - columnsOf(words) - 3);
  const state = job?.state;
  const rank = state === "failed" ? 1 : state === "running" ? 2 : 4;
  return { kind: "image", rank, text: `${clip(printable(label, 8192), room)}: ${words}`, style: headerStyle(job) };
}

function headerStyle(job: Job | undefined): Style {
  if (job?.state === "failed" || job?.state === "cancelled") return "red";
  return job?.state === "ready" ? "green" : "bold";
}

const layerRank = { failed: 1, unpacking: 3, fetching: 3, waiting: 5, stored: 6 } as const;

function renderLayer(layer: JobLayer, columns: number): Ranked {
  const start = `  ${shortDigest(layer.digest).padEnd(12)}  ${layer.state.padEnd(9)}`;
  return {
    kind: "layer",
    rank: layerRank[layer.state],
    text: `${start}  ${layerDetail(layer, columns)}`,
    style: layer.state === "failed" ? "red" : layer.state === "stored" || layer.state === "waiting" ? "dim" : undefined,
  };
}

function layerDetail(layer: JobLayer, columns: number): string {
  if (layer.state === "stored") return `${formatSize(layer.size)}${layer.reused ? ", shared" : ""}`;
  if (layer.state === "waiting") return formatSize(layer.size);
  const bytes = `${formatSize(layer.bytesDone)} / ${formatSize(layer.size)}`;
  const width = columns >= 80 ? 24 : columns >= 60 ? 12 : 0;
  const bar = width === 0 ? "" : `${renderBar(layer.bytesDone, layer.size, width)}  `;
  return `${bar}${bytes}${layer.reused ? ", shared" : ""}`;
}

/** `[=====>    ]`, `width` characters between the brackets. */
export function renderBar(done: number, total: number, width: number): string {
  const part = total > 0 ? Math.min(1, Math.max(0, done / total)) : 0;
  const filled = Math.floor(part * width);
  const bar = filled >= width ? "=".repeat(width) : `${"=".repeat(filled)}>`.padEnd(width);
  return `[${bar}]`;
}

function renderTotal(tracks: readonly Track[], screen: Screen): Ranked | undefined {
  const active = tracks.flatMap(({ job }) => (job?.state === "running" ? [job] : []));
  const bytesTotal = sum(active, (job) => job.progress.bytesTotal);
  if (bytesTotal === 0) return undefined;
  const bytesDone = Math.min(
    bytesTotal,
    sum(active, (job) => job.progress.bytesDone),
  );
  const rate = bytesDone < bytesTotal ? screen.bytesPerSecond : undefined;
  const etas = active.flatMap((job) => (job.progress.etaMs === undefined ? [] : [job.progress.etaMs]));
  const etaMs = etas.length > 0 ? Math.max(...etas) : rate && ((bytesTotal - bytesDone) / rate) * 1000;
  const limiting = new Set(
    active.flatMap((job) => (job.progress.limiting === undefined ? [] : [job.progress.limiting])),
  );
  const parts = [
    `total ${formatSize(bytesDone)} / ${formatSize(bytesTotal)}`,
    rate === undefined ? "" : `${formatSize(Math.round(rate))}/s`,
    etaMs === undefined || etaMs < 1000 ? "" : `${formatDuration(Math.ceil(etaMs / 1000) * 1000)} left`,
    limiting.size === 0 ? "" : `limited by ${[...limiting].join(", ")}`,
  ];
  return { kind: "total", rank: 0, text: `  ${parts.filter((part) => part !== "").join(", ")}` };
}

function sum(jobs: readonly Job[], of: (job: Job) => number): number {
  return jobs.reduce((total, job) => total + of(job), 0);
}

function fold(lines: readonly Ranked[], rows: number): readonly Line[] {
  if (lines.length <= rows) return lines;
  const kept = new Set([...lines].sort((a, b) => a.rank - b.rank).slice(0, Math.max(1, rows - 1)));
  if (rows < 2) return [...kept];
  const count = (kind: Ranked["kind"]) => lines.filter((line) => line.kind === kind && !kept.has(line)).length;
  const folded = [
    count("layer") > 0 ? `${plural(count("layer"), "layer")} more` : "",
    count("image") > 0 ? `${plural(count("image"), "image")} more` : "",
  ];
  const more: Line = { text: `  (${folded.filter((part) => part !== "").join(", ")})`, style: "dim" };
  const body = lines.filter((line) => kept.has(line) && line.kind !== "total");
  return [...body, more, ...lines.filter((line) => kept.has(line) && line.kind === "total")];
}
