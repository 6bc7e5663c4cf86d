/**
 * The redrawn lines on a terminal: moves up over what it drew, draws again, and takes itself away at the end.
 *
 * One write for each frame; the cursor is hidden meanwhile and comes back however the process ends. Knows nothing of what the
 * lines say.
 */
import type { Context, Host } from "./context.js";
import { RateMeter } from "./rate.js";
import type { Line, Screen } from "./render.js";
import { columnsOf, paint } from "./text.js";

const HIDE_CURSOR = "\u001b[?25l";
const SHOW_CURSOR = "\u001b[?25h";
const ERASE_LINE_END = "\u001b[K";

/** What an eye can follow. */
const FRAME_MS = 80;
/** Redraws without news, so that a rate that fell to nothing is seen. */
const TICK_MS = 500;

/** What is shown, whenever a frame is drawn. */
export interface LiveSubject {
  bytesDone(): number;
  lines(screen: Screen): readonly Line[];
  /** What stays when the view takes itself away. */
  left(screen: Screen): readonly Line[];
}

export class LiveView {
  readonly #subject: LiveSubject;
  readonly #host: Host;
  readonly #color: boolean;
  readonly #rate = new RateMeter();
  readonly #ticker: NodeJS.Timeout;
  readonly #stopExit: () => void;
  readonly #stopMessages: () => void;
  readonly #redraw = () => this.#draw();
  #pending: NodeJS.Timeout | undefined;
  #drawnAtMs = 0;
  #widths: readonly number[] = [];

  constructor(
    subject: LiveSubject,
    { host, color, aroundMessages }: Pick<Context, "host" | "color" | "aroundMessages">,
  ) {
    this.#subject = subject;
    this.#host = host;
    this.#color = color;
    this.#ticker = setInterval(this.#redraw, TICK_MS).unref();
    this.#stopExit = host.onExit(() => host.stderr.write(SHOW_CURSOR));
    this.#stopMessages = aroundMessages((write) => {
      this.#write([], "");
      write();
      this.#draw();
    });
    host.stderr.on?.("resize", this.#redraw);
    this.#draw();
  }

  update(): void {
    if (this.#pending !== undefined) return;
    const waitMs = this.#drawnAtMs + FRAME_MS - performance.now();
    if (waitMs <= 0) this.#draw();
    else this.#pending = setTimeout(this.#redraw, waitMs).unref();
  }

  /** Leaves only what the subject leaves, all of it. */
  finish(): void {
    clearInterval(this.#ticker);
    clearTimeout(this.#pending);
    this.#host.stderr.off?.("resize", this.#redraw);
    this.#stopExit();
    this.#stopMessages();
    const lines = this.#subject.left({ columns: this.#columns, rows: Number.POSITIVE_INFINITY });
    this.#write(lines, SHOW_CURSOR);
  }

  get #columns(): number {
    return this.#host.stderr.columns || Number(this.#host.env.COLUMNS) || 80;
  }

  get #rows(): number {
    return this.#host.stderr.rows || Number(this.#host.env.LINES) || 24;
  }

  #draw(): void {
    clearTimeout(this.#pending);
    this.#pending = undefined;
    this.#drawnAtMs = performance.now();
    this.#rate.add(this.#drawnAtMs, this.#subject.bytesDone());
    // The last row stays free for the cursor: a line feed there would scroll.
    const screen = { columns: this.#columns, rows: this.#rows - 1, bytesPerSecond: this.#rate.bytesPerSecond };
    this.#write(this.#subject.lines(screen), HIDE_CURSOR);
  }

  #write(lines: readonly Line[], cursor: string): void {
    const columns = this.#columns;
    // A terminal that became narrower has wrapped what stood there.
    const drawn = this.#widths.reduce((rows, width) => rows + Math.max(1, Math.ceil(width / columns)), 0);
    const up = Math.min(drawn, Math.max(0, this.#rows - 1));
    const body = lines.map(({ text, style }) => `${paint(text, style, this.#color)}${ERASE_LINE_END}\n`).join("");
    this.#widths = lines.map(({ text }) => columnsOf(text));
    // Line by line: terminals that are told to erase the whole screen keep a copy of it in their history.
    const left = Math.max(0, up - lines.length);
    const blank = left === 0 ? "" : `${`${ERASE_LINE_END}\n`.repeat(left)}${moveUp(left)}`;
    this.#host.stderr.write(`${cursor}\r${moveUp(up)}${body}${blank}`);
  }
}

const moveUp = (rows: number) => (rows === 0 ? "" : `\u001b[${rows}A`);
