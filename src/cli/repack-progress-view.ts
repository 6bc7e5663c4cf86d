/**
 * Shows on stderr how a repack comes along: a line for each phase, redrawn on a terminal, said once elsewhere.
 */
import { formatSize } from "../byte-size.js";
import type { PhaseState, RepackPhase, RepackProgress } from "../repack/repack-progress.js";
import type { Context } from "./context.js";
import { LiveView } from "./live-view.js";
import { viewMode } from "./progress.js";
import { type Line, renderBar, type Screen } from "./render.js";
import { clip, plural } from "./text.js";

export interface RepackProgressView {
  /** Leaves the terminal tidy; nothing may follow. */
  finish(): void;
}

/** What an eye can follow, and what a pipe wants to know of a phase. */
const LOOK_MS = 200;

export function showRepack(context: Context, progress: RepackProgress): RepackProgressView {
  const mode = viewMode(context);
  const subject = {
    bytesDone: () => progress.states().reduce((sum, { bytesDone }) => sum + bytesDone, 0),
    lines: (screen: Screen) => phaseLines(progress.states(), screen),
    left: () => [],
  };
  const live = mode === "tty" ? new LiveView(subject, context) : undefined;
  const told = new Set<string>();
  const look = (): void => {
    live?.update();
    for (const state of progress.states()) {
      const key = `${state.phase} ${state.isOver}`;
      if (told.has(key)) continue;
      told.add(key);
      context.event({ progress: state });
      if (mode === "plain" && (state.isOver || state.phase === "plan")) context.message(phaseWords(state));
    }
  };
  const timer = setInterval(look, LOOK_MS);
  look();
  return {
    finish: () => {
      clearInterval(timer);
      look();
      live?.finish();
    },
  };
}

const words: Readonly<Record<RepackPhase, { readonly doing: string; readonly done: string; readonly noun?: string }>> =
  {
    resolve: { doing: "resolving", done: "resolved", noun: "reference" },
    unpack: { doing: "unpacking", done: "unpacked", noun: "layer" },
    plan: { doing: "parting the trees into layers", done: "parted the trees into layers" },
    pack: { doing: "packing", done: "packed", noun: "layer" },
    verify: { doing: "verifying", done: "verified", noun: "layer" },
    write: { doing: "writing", done: "written" },
  };

/** `repack: unpacked 7 layers, 12.3 MB`. */
function phaseWords({ phase, isOver, things, bytes }: PhaseState): string {
  const { doing, done, noun } = words[phase];
  const what = noun === undefined ? "" : ` ${plural(things, noun)}`;
  const size = bytes === 0 ? "" : `, ${formatSize(bytes)}`;
  return `repack: ${isOver ? done : doing}${what}${size}`;
}

/** One line for each phase that has begun; at most as many as there are rows, the last. */
function phaseLines(states: readonly PhaseState[], { columns, rows, bytesPerSecond }: Screen): Line[] {
  const lines = states.map((state): Line => {
    const { isOver, bytes, bytesDone, things, thingsDone, phase } = state;
    if (isOver || bytes === 0) return { text: phaseWords(state), style: isOver ? "dim" : undefined };
    const rate = bytesPerSecond === undefined ? "" : `, ${formatSize(Math.round(bytesPerSecond))}/s`;
    const counts = `${thingsDone} of ${plural(things, words[phase].noun ?? "thing")}`;
    const bar = columns < 80 ? "" : `${renderBar(bytesDone, bytes, 24)}  `;
    const size = `${formatSize(bytesDone)} / ${formatSize(bytes)}`;
    return { text: `repack: ${words[phase].doing}  ${bar}${size}, ${counts}${rate}` };
  });
  return lines.slice(-Math.max(1, rows)).map(({ text, style }) => ({ text: clip(text, columns - 1), style }));
}
