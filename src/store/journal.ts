/**
 * The journal: what happened to jobs and to the store, in order, in append-only segments of NDJSON that outlive the process.
 *
 * An entry is on its way to the kernel at once, with it when `written` resolves, and on the disk when `appendDurably` resolves (one sync
 * serves all that wait) or about a second later. The disk may refuse: who waits is told, the others are kept and tried again, and no half line stays in
 * between. What cannot be read is skipped and said, never a reason not to start. Does not know what the entries mean to anybody.
 */
import { readdir, stat, truncate, unlink } from "node:fs/promises";
import { StrataError, systemErrorCode, toStrataError } from "../errors.js";
import {
  JOURNAL_SEGMENT_BYTES,
  JOURNAL_SYNC_MS,
  MAX_JOURNAL_BACKLOG_BYTES,
  MAX_JOURNAL_BYTES,
  MAX_JOURNAL_LINE_BYTES,
} from "../limits.js";
import type { Log } from "../log.js";
import { syncParent } from "./documents.js";
import { headOf, type JournalEntry, type LineHead, lineOf, parseLine } from "./journal-entries.js";
import { type OpenSegment, openSegment, readLines, Segment } from "./journal-segment.js";
import type { StoreLayout } from "./layout.js";

export interface JournalOptions {
  readonly log: Log;
  readonly openSegment?: OpenSegment;
  readonly segmentBytes?: number;
  readonly maxBytes?: number;
}

export interface ReadOptions {
  /** The number of the first segment that is read. */
  readonly from?: number;
  /** Lines that it refuses are not even parsed. */
  readonly wants?: (head: LineHead) => boolean;
}

interface Waiting {
  readonly line: string;
  readonly awaited?: { readonly untilOnDisk: boolean; resolve(): void; reject(error: unknown): void };
}

export class Journal {
  readonly #layout: StoreLayout;
  readonly #options: Required<JournalOptions>;
  /** The bytes of each by its number, the oldest first; the last one is added to. */
  readonly #segments = new Map<number, number>();
  #open: Segment | undefined;
  #number = 1;
  #waiting: Waiting[] = [];
  #backlogBytes = 0;
  #isWorking = false;
  #timer: NodeJS.Timeout | undefined;
  #trimmed = Promise.resolve();
  #isFailing = false;
  #isClosed = false;

  constructor(layout: StoreLayout, options: JournalOptions) {
    this.#layout = layout;
    this.#options = {
      openSegment,
      segmentBytes: JOURNAL_SEGMENT_BYTES,
      maxBytes: MAX_JOURNAL_BYTES,
      ...options,
    };
  }

  /** Looks what segments there are, in the directory that the store has made, and cuts off what a crash left behind the last line. */
  async open(): Promise<void> {
    const files = await readdir(this.#layout.journal, { withFileTypes: true });
    const numbers = files.flatMap((file) => (file.isFile() ? [this.#layout.journalSegmentNumber(file.name)] : []));
    for (const number of numbers.filter((found) => found !== undefined).sort((a, b) => a - b)) {
      this.#number = number;
      this.#segments.set(number, (await stat(this.#layout.journalSegment(number))).size);
    }
    await this.#cutTornLine();
  }

  /** What is appended now stands in this segment or a later one. */
  get segment(): number {
    return this.#number;
  }

  get bytes(): number {
    let sum = 0;
    for (const bytes of this.#segments.values()) sum += bytes;
    return sum;
  }

  /** In the order of the calls. An entry that the disk does not take for long is dropped, which is logged. */
  append(entry: JournalEntry): void {
    this.#add({ line: lineOf(entry) });
  }

  /** Resolves when the entry and all before it are on the disk. NO_SPACE, STORE_IO, …: then it is not in the journal. */
  async appendDurably(entry: JournalEntry): Promise<void> {
    try {
      await this.#added(lineOf(entry), { untilOnDisk: true });
    } catch (error) {
      throw toStrataError(error, "Cannot write the journal");
    }
  }

  /** Everything appended so far is on the disk, as far as the disk takes it. */
  async flush(): Promise<void> {
    await this.#added("", { untilOnDisk: true }).catch(() => undefined);
  }

  /** Everything appended so far outlives this process, as far as the disk takes it; a power cut may still take it. */
  async written(): Promise<void> {
    await this.#added("", { untilOnDisk: false }).catch(() => undefined);
  }

  /** What is appended afterwards is dropped, and no segment is removed: the next daemon may have the journal. */
  async close(): Promise<void> {
    const flushed = this.flush();
    this.#isClosed = true;
    await flushed;
    await this.#trimmed;
    clearTimeout(this.#timer);
    await this.#open?.close();
  }

  /**
   * Gives each entry to `take`, the oldest first, with the number of its segment; ends where `take` returns false. A torn last
   * line is what a crash leaves; any other line that cannot be read is skipped and counted in the log.
   */
  async read(
    take: (entry: JournalEntry, segment: number) => boolean | undefined,
    { from = 0, wants = () => true }: ReadOptions = {},
  ): Promise<void> {
    for (const number of [...this.#segments.keys()].filter((segment) => segment >= from)) {
      let damaged = 0;
      let goesOn = true;
      const takeLine = (line: Buffer): boolean => {
        const head = headOf(line);
        if (head !== undefined && !wants(head)) return true;
        const entry = parseLine(line.toString("utf8"));
        if (entry === undefined) damaged += 1;
        else goesOn = take(entry, number) !== false;
        return goesOn;
      };
      try {
        const { tooLong, tornBytes } = await readLines(this.#layout.journalSegment(number), takeLine);
        damaged += tooLong;
        if (tornBytes > 0 && number !== this.#number) damaged += 1;
      } catch (error) {
        this.#options.log.warn("journal.unreadable", { segment: number, error });
      }
      if (damaged > 0) this.#options.log.warn("journal.damaged", { segment: number, lines: damaged });
      if (!goesOn) return;
    }
  }

  /** Segments up to this number have to go for the whole to keep within its bound; below the first where it does. */
  get excess(): number {
    let over = this.bytes - this.#options.maxBytes;
    for (const [number, bytes] of this.#segments) {
      if (over <= 0 || number === this.#number) return number - 1;
      over -= bytes;
    }
    return 0;
  }

  /** Removes the segments before `neededFrom`: how long what stands in them is kept is for those to say who ask for it. */
  trim(neededFrom: number): Promise<void> {
    this.#trimmed = this.#trimmed.then(() => this.#removeBefore(neededFrom));
    return this.#trimmed;
  }

  async #removeBefore(neededFrom: number): Promise<void> {
    for (const number of this.#segments.keys()) {
      if (this.#isClosed || number >= Math.min(neededFrom, this.#number)) return;
      this.#segments.delete(number);
      await this.#remove(number);
    }
  }

  async #cutTornLine(): Promise<void> {
    if (!this.#segments.has(this.#number)) return;
    const path = this.#layout.journalSegment(this.#number);
    try {
      const { bytes, tornBytes } = await readLines(path, () => undefined);
      if (tornBytes > 0) await truncate(path, bytes);
      this.#segments.set(this.#number, bytes);
    } catch (error) {
      this.#options.log.warn("journal.unreadable", { segment: this.#number, error });
      this.#number += 1;
    }
  }

  #added(line: string, { untilOnDisk }: { readonly untilOnDisk: boolean }): Promise<void> {
    return new Promise((resolve, reject) => this.#add({ line, awaited: { untilOnDisk, resolve, reject } }));
  }

  #add(waiting: Waiting): void {
    const bytes = Buffer.byteLength(waiting.line);
    const refusal = this.#refusal(bytes, waiting.awaited !== undefined);
    if (refusal !== undefined) {
      this.#options.log.warn("journal.dropped", { bytes, because: refusal.message });
      waiting.awaited?.reject(refusal);
      return;
    }
    this.#waiting.push(waiting);
    this.#backlogBytes += bytes;
    if (!this.#isWorking) void this.#work();
  }

  #refusal(bytes: number, isAwaited: boolean): StrataError | undefined {
    const refused = (code: "SHUTTING_DOWN" | "STORE_IO", fact: string) =>
      new StrataError(code, `Cannot write the journal: ${fact}`);
    if (this.#isClosed) return refused("SHUTTING_DOWN", "the daemon is stopping");
    if (bytes > MAX_JOURNAL_LINE_BYTES) return refused("STORE_IO", `a line of ${bytes} bytes`);
    if (isAwaited || this.#backlogBytes + bytes <= MAX_JOURNAL_BACKLOG_BYTES) return undefined;
    return refused("STORE_IO", `${this.#backlogBytes} bytes wait for the disk`);
  }

  /** One batch at a time; what comes in the meantime is the next one. */
  async #work(): Promise<void> {
    this.#isWorking = true;
    // What one turn appends is one batch.
    await undefined;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0);
      try {
        await this.#write(batch);
        if (this.#isFailing) this.#options.log.info("journal.recovered", { segment: this.#number });
        this.#isFailing = false;
      } catch (error) {
        await this.#putBack(batch, error);
        if (this.#waiting.every(({ awaited }) => awaited === undefined)) break;
      }
    }
    this.#isWorking = false;
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const lines = batch.map(({ line }) => line).join("");
    const sync = batch.some(({ awaited }) => awaited?.untilOnDisk === true);
    if (lines === "") {
      if (sync) await this.#open?.sync();
    } else {
      const segment = await this.#segmentToAddTo();
      await segment.append(lines, { sync });
      this.#segments.set(this.#number, segment.bytes);
      this.#backlogBytes -= Buffer.byteLength(lines);
      if (!sync) this.#later();
    }
    for (const { awaited } of batch) awaited?.resolve();
  }

  /** The one that is open, unless it is full; at first the last one that was found. */
  async #segmentToAddTo(): Promise<Segment> {
    const isFull = (this.#segments.get(this.#number) ?? 0) >= this.#options.segmentBytes;
    if (this.#open !== undefined && !isFull) return this.#open;
    await this.#open?.sync();
    if (isFull) await this.#leave();
    const path = this.#layout.journalSegment(this.#number);
    const bytes = this.#segments.get(this.#number);
    this.#open = new Segment(await this.#options.openSegment(path), bytes ?? 0);
    this.#segments.set(this.#number, bytes ?? 0);
    if (bytes === undefined) await syncParent(path);
    return this.#open;
  }

  /** Whoever waits is told; what nobody waits for is tried again, in a segment that is known to end with a whole line. */
  async #putBack(batch: readonly Waiting[], error: unknown): Promise<void> {
    if (!this.#isFailing) this.#options.log.error("journal.failed", { segment: this.#number, error });
    this.#isFailing = true;
    await this.#open?.cutBack().catch(() => undefined);
    await this.#leave();
    this.#waiting.unshift(...batch.filter(({ awaited }) => awaited === undefined));
    this.#backlogBytes = this.#waiting.reduce((sum, { line }) => sum + Buffer.byteLength(line), 0);
    this.#later();
    for (const { awaited } of batch) awaited?.reject(error);
  }

  /** The next line begins another segment. One that got no line is not left behind. */
  async #leave(): Promise<void> {
    const left = this.#number;
    const open = this.#open;
    this.#open = undefined;
    this.#number += 1;
    await open?.close().catch(() => undefined);
    if ((this.#segments.get(left) ?? 0) > 0) return;
    this.#segments.delete(left);
    await this.#remove(left);
  }

  async #remove(number: number): Promise<void> {
    try {
      await unlink(this.#layout.journalSegment(number));
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") this.#options.log.warn("journal.left", { segment: number, error });
    }
  }

  /** The timer holds no process: who ends, flushes. */
  #later(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, JOURNAL_SYNC_MS);
    this.#timer.unref();
  }
}
