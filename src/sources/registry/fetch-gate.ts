/**
 * At most so many blobs are fetched, or pushed, at once; the rest wait in order.
 */
import { setMaxListeners } from "node:events";
import { MAX_FETCHES } from "../../limits.js";
import { cancelled } from "./failures.js";

export class FetchGate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places = MAX_FETCHES) {
    this.#free = places;
  }

  /** A place; the caller gives it back by calling the result, once. CANCELLED. */
  async enter(signal: AbortSignal): Promise<() => void> {
    if (signal.aborted) throw cancelled();
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn(signal);
    return () => this.#leave();
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener("abort", giveUp);
        resolve();
      };
      const giveUp = () => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(cancelled());
      };
      this.#waiting.push(go);
      // All layers of an image may wait on one signal; Node takes more than ten for a leak.
      setMaxListeners(0, signal);
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
