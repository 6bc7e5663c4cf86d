/**
 * Shows on stderr how installs come along: redrawn lines on a terminal, a line for each phase elsewhere, a summary at the end.
 *
 * Owns when something is shown; what is shown is for render.ts and summary.ts. A failure leaves all lines of its job standing.
 */
import type { Job } from "../messages/job.js";
import { isOver } from "../messages/job-over.js";
import { printable } from "../printable.js";
import type { Context } from "./context.js";
import { type LiveSubject, LiveView } from "./live-view.js";
import { renderFrame, type Track } from "./render.js";
import { stateWords, summaryLines } from "./summary.js";
import { clip } from "./text.js";

export interface ProgressView {
  /** `job` is the latest of the reference at `index`. */
  update(index: number, job: Job): void;
  /** Leaves the terminal tidy and prints the summary; nothing may follow. */
  finish(): void;
}

/** `labels` are the references as they were typed. */
export function createProgress(context: Context, labels: readonly string[]): ProgressView {
  const tracks: Track[] = labels.map((label) => ({ label }));
  const show = chooseView(context, tracks);
  return {
    update: (index, job) => {
      tracks[index] = { label: tracks[index]?.label ?? job.reference, job };
      show.update(index);
    },
    finish: () => {
      show.finish();
      for (const { label, job } of tracks) {
        if (job !== undefined && isOver(job)) context.message(...endLines(label, job));
      }
    },
  };
}

/** A failure is told as an error, with its code, by whoever waited for it. */
function endLines(label: string, job: Job): string[] {
  const [summary = "", ...notes] = summaryLines(label, job);
  return job.state === "failed" ? notes : [summary, ...notes];
}

interface View {
  update(index: number): void;
  finish(): void;
}

function chooseView(context: Context, tracks: readonly Track[]): View {
  const mode = viewMode(context);
  if (mode === "none") return { update: () => {}, finish: () => {} };
  return mode === "tty" ? new LiveView(liveTracks(tracks), context) : new PlainView(tracks, context);
}

/** How progress is shown here. */
export function viewMode({ host, globals }: Context): "tty" | "plain" | "none" {
  if (globals.quiet) return "none";
  const live = host.stderr.isTTY === true && host.env.TERM !== "dumb";
  return globals.progress === "auto" ? (live ? "tty" : "plain") : globals.progress;
}

/** The lines of jobs that failed stay. */
function liveTracks(tracks: readonly Track[]): LiveSubject {
  return {
    bytesDone: () => tracks.reduce((sum, { job }) => sum + (job?.progress.bytesDone ?? 0), 0),
    lines: (screen) => renderFrame(tracks, screen),
    left: (screen) => {
      const failed = tracks.filter(({ job }) => job?.state === "failed" && job.layers.length > 0);
      return failed.length === 0 ? [] : renderFrame(failed, screen);
    },
  };
}

const phaseOrder = ["resolve", "fetch", "unpack", "link", "commit"] as const;

/** Phases of parallel layers overlap: only what is further than anything said before is news. */
class PlainView implements View {
  readonly #tracks: readonly Track[];
  readonly #context: Context;
  readonly #said = new Map<number, number>();

  constructor(tracks: readonly Track[], context: Context) {
    this.#tracks = tracks;
    this.#context = context;
  }

  update(index: number): void {
    const track = this.#tracks[index];
    if (track?.job === undefined || isOver(track.job)) return;
    const { state, phase } = track.job;
    const stage = state === "queued" || phase === undefined ? 0 : phaseOrder.indexOf(phase) + 1;
    if (stage <= (this.#said.get(index) ?? -1)) return;
    this.#said.set(index, stage);
    this.#context.message(`${clip(printable(track.label, 8192), 200)}: ${stateWords(track.job)}`);
  }

  finish(): void {}
}
