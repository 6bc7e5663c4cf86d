/**
 * How much memory a decoder may keep of what it has decoded: a zstd window, an xz dictionary. The archive asks for it, up to a
 * limit; what goes beyond an ordinary one, one task at a time gets, whatever the number of threads.
 */
import { StrataError } from "../src/errors.js";
import { type ImageLimits, MAX_THIN_BLOCKS, THIN_BLOCK_BYTES, WIDE_WINDOW_BYTES } from "../src/limits.js";
import { TaskProgress } from "../src/task-progress.js";
import { giveTurnBack, type TurnTicket, takeTurn } from "../src/turn.js";

export class Windows {
  readonly #limits: ImageLimits;
  readonly #ticket: TurnTicket | undefined;
  readonly #progress: TaskProgress | undefined;
  #wideBlocks = 0;
  #wideBytes = 0;

  /** Without a ticket nobody else is there to wait for. */
  constructor(limits: ImageLimits, ticket?: TurnTicket, progress?: TaskProgress) {
    this.#limits = limits;
    this.#ticket = ticket;
    this.#progress = progress;
  }

  /** Resolves when `what`, a window of so many bytes, may be kept. LIMIT_WINDOW, CANCELLED. */
  async allow(bytes: number, what: string): Promise<void> {
    if (bytes > this.#limits.maxWindowBytes)
      throw new StrataError("LIMIT_WINDOW", `Cannot inflate the layer: ${what} of ${bytes} bytes`);
    if (bytes <= WIDE_WINDOW_BYTES || this.#ticket === undefined) return;
    const progress = this.#progress ?? new TaskProgress();
    progress.activity = "waiting";
    await takeTurn(this.#ticket, () => !progress.isCancelled);
    progress.activity = "working";
    progress.throwIfCancelled();
  }

  /**
   * A block of a window's content was decoded. An engine may look through its whole window for a frame: blocks of next to nothing
   * behind wide ones are a bomb of time, which no compressor makes. LIMIT_WINDOW.
   */
  used(windowBytes: number, blockBytes: number): void {
    if (windowBytes <= WIDE_WINDOW_BYTES) return;
    this.#wideBlocks += 1;
    this.#wideBytes += blockBytes;
    if (this.#wideBlocks > MAX_THIN_BLOCKS && this.#wideBytes < this.#wideBlocks * THIN_BLOCK_BYTES)
      throw new StrataError(
        "LIMIT_WINDOW",
        `Cannot inflate the layer: ${this.#wideBlocks} blocks of ${this.#wideBytes} bytes behind a window of ${windowBytes}`,
      );
  }

  /** The task is over, and what was kept is gone. */
  close(): void {
    if (this.#ticket !== undefined) giveTurnBack(this.#ticket);
  }
}
