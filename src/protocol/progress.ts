/**
 * `$/progress` for one job and one token: begin, reports, end, as in the Language Server Protocol.
 *
 * `begin` waits until the totals are known, no value ever falls, reports come at most every PROGRESS_INTERVAL_MS and may
 * be merged to the latest; begin and end are always sent. Does not know how a job makes its progress.
 */
import { PROGRESS_INTERVAL_MS } from "../limits.js";
import type { Log } from "../log.js";
import type { Job, Progress } from "../messages/job.js";
import { isOver } from "../messages/job-over.js";
import { ProgressParams } from "../messages/notifications.js";
import { printable } from "../printable.js";

export interface ProgressReceiver {
  send(frame: string): void;
  sendLatest(key: unknown, frame: string): void;
  dropLatest(key: unknown): void;
}

export interface ProgressOptions {
  readonly token: string | number;
  readonly receiver: ProgressReceiver;
  readonly log: Log;
  /** Runs once, behind `end`. */
  readonly ended: () => void;
}

type ProgressValue = ProgressParams["value"];

export class WorkDoneProgress {
  readonly #options: ProgressOptions;
  #latest: Job | undefined;
  #reached: Progress | undefined;
  #percentage = 0;
  #begun = false;
  #over = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ProgressOptions) {
    this.#options = options;
  }

  /** Takes the job as it now stands. */
  update(job: Job): void {
    if (this.#over) return;
    this.#latest = job;
    if (!this.#begun && (isOver(job) || hasTotals(job))) {
      this.#begun = true;
      const title = `Install ${printable(job.reference)}`;
      this.#send({ kind: "begin", title, cancellable: true, ...this.#rising(job) });
      this.#rest();
    } else if (this.#begun && this.#timer === undefined && !isOver(job)) {
      this.#report();
    }
    if (isOver(job)) this.#end(job);
  }

  /** Nothing more is sent: the session is gone. */
  stop(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  #report(): void {
    const job = this.#latest;
    if (job === undefined) return;
    this.#send({ kind: "report", ...this.#rising(job) });
    this.#rest();
  }

  /** What changes during the rest is reported at its end. */
  #rest(): void {
    const told = this.#latest;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!this.#over && this.#latest !== told) this.#report();
    }, PROGRESS_INTERVAL_MS);
  }

  #end(job: Job): void {
    this.stop();
    this.#options.receiver.dropLatest(this);
    this.#send({
      kind: "end",
      message: job.error?.message ?? job.state,
      job: { ...job, progress: this.#raise(job.progress) },
    });
    this.#options.ended();
  }

  #rising(job: Job): Pick<ProgressValue, "percentage" | "message" | "job"> {
    const progress = this.#raise(job.progress);
    const { bytesDone, bytesTotal, layersDone, layersTotal } = progress;
    const share = bytesTotal === 0 ? 0 : Math.min(1, bytesDone / bytesTotal);
    this.#percentage = Math.max(this.#percentage, Math.floor(share * 100));
    const message = `${job.phase ?? job.state}: ${layersDone} of ${layersTotal} layers`;
    return { percentage: this.#percentage, message, job: { ...job, progress } };
  }

  /** A layer that starts again takes its bytes back in the job, but not here. */
  #raise(now: Progress): Progress {
    const before = this.#reached;
    const risen = {
      ...now,
      bytesDone: Math.max(now.bytesDone, before?.bytesDone ?? 0),
      layersDone: Math.max(now.layersDone, before?.layersDone ?? 0),
      entriesDone: Math.max(now.entriesDone, before?.entriesDone ?? 0),
    };
    this.#reached = risen;
    return risen;
  }

  #send(value: ProgressValue): void {
    const { token, receiver, log } = this.#options;
    const params = ProgressParams.safeParse({ token, value });
    if (!params.success) {
      log.error("progress.invalid", { error: params.error });
      return;
    }
    const frame = JSON.stringify({ jsonrpc: "2.0", method: "$/progress", params: params.data });
    if (value.kind === "report") receiver.sendLatest(this, frame);
    else receiver.send(frame);
  }
}

function hasTotals(job: Job): boolean {
  return job.progress.layersTotal > 0 || job.progress.bytesTotal > 0;
}
