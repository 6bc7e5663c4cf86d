/**
 * What a task and its worker tell each other while it runs, through memory that both threads have. Knows no task.
 */
import { StrataError } from "./errors.js";

/** Queued tasks and those that wait for a download make no progress and are not stalled. */
export type Activity = "queued" | "working" | "waiting";
const activities: readonly Activity[] = ["queued", "working", "waiting"];

/** What a worker tells while it works: what it is doing, and counters that only rise; and whether it shall go on. */
export class TaskProgress {
  readonly shared: SharedArrayBuffer;
  readonly #cells: Float64Array;

  constructor(shared = new SharedArrayBuffer(6 * Float64Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#cells = new Float64Array(shared);
  }

  /** Bytes of the blob read. */
  get bytesRead(): number {
    return this.#cells[0] ?? 0;
  }
  set bytesRead(bytes: number) {
    this.#cells[0] = bytes;
  }

  /** Bytes of the tar written. */
  get bytesWritten(): number {
    return this.#cells[1] ?? 0;
  }
  set bytesWritten(bytes: number) {
    this.#cells[1] = bytes;
  }

  get entries(): number {
    return this.#cells[2] ?? 0;
  }
  set entries(entries: number) {
    this.#cells[2] = entries;
  }
  /** Whatever else is done: only that it rises means something. */
  get steps(): number {
    return this.#cells[4] ?? 0;
  }
  set steps(steps: number) {
    this.#cells[4] = steps;
  }

  get activity(): Activity {
    return activities[this.#cells[3] ?? 0] ?? "queued";
  }
  set activity(activity: Activity) {
    this.#cells[3] = activities.indexOf(activity);
  }

  /** The other way: nobody wants the task's result any more. */
  cancel(): void {
    this.#cells[5] = 1;
  }
  get isCancelled(): boolean {
    return this.#cells[5] === 1;
  }
  /** What a worker calls often: CANCELLED as soon as it is. */
  throwIfCancelled(): void {
    if (this.isCancelled) throw new StrataError("CANCELLED", "Cannot finish the task: it was cancelled");
  }
}
