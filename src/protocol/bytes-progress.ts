/**
 * `$/progress` for a request that counts bytes: begin with the first count, reports as percentages that never fall, end.
 *
 * Who calls sees to it that reports are not too many.
 */
import type { ProgressParams } from "../messages/notifications.js";
import type { ProgressReceiver } from "./progress.js";

export class BytesProgress {
  readonly #token: string | number;
  readonly #title: string;
  readonly #receiver: ProgressReceiver;
  #percentage: number | undefined;

  constructor(token: string | number, title: string, receiver: ProgressReceiver) {
    this.#token = token;
    this.#title = title;
    this.#receiver = receiver;
  }

  update(done: number, total: number): void {
    const percentage = total === 0 ? 0 : Math.min(100, Math.floor((done / total) * 100));
    if (this.#percentage === undefined) {
      this.#percentage = percentage;
      this.#receiver.send(this.#frame({ kind: "begin", title: this.#title, cancellable: true, percentage }));
    } else if (percentage > this.#percentage) {
      this.#percentage = percentage;
      this.#receiver.sendLatest(this, this.#frame({ kind: "report", percentage }));
    }
  }

  end(message: string): void {
    this.#receiver.dropLatest(this);
    if (this.#percentage !== undefined) this.#receiver.send(this.#frame({ kind: "end", message }));
  }

  #frame(value: ProgressParams["value"]): string {
    return JSON.stringify({ jsonrpc: "2.0", method: "$/progress", params: { token: this.#token, value } });
  }
}
