/**
 * The life of a process that serves: running, draining, stopped; and what has to be undone on the way out, in reverse. Does not
 * know what the parts are.
 */
import type { Log } from "./log.js";

export class Life {
  readonly stopped: Promise<void>;
  readonly #log: Log;
  readonly #ends: (readonly [what: string, end: () => void | Promise<void>])[] = [];
  #announce = (): void => undefined;
  #resolve = (): void => undefined;
  draining = false;

  constructor(log: Log) {
    this.#log = log;
    this.stopped = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  onEnd(what: string, end: () => void | Promise<void>): void {
    this.#ends.push([what, end]);
  }

  beforeEnd(announce: () => void): void {
    this.#announce = announce;
  }

  drain(finish: () => Promise<void>): void {
    if (this.draining) return;
    this.draining = true;
    this.#log.info("daemon.draining");
    this.#announce();
    void finish()
      .catch((error: unknown) => this.#log.error("daemon.stop.failed", { what: "draining", error }))
      .then(() => this.end());
  }

  /** A part that cannot be stopped is logged, and the others are stopped all the same. */
  async end(): Promise<void> {
    for (const [what, end] of this.#ends.splice(0).reverse()) {
      try {
        await end();
      } catch (error) {
        this.#log.error("daemon.stop.failed", { what, error });
      }
    }
    this.#log.info("daemon.stopped");
    this.#resolve();
  }
}
