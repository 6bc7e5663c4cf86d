/**
 * One piece of work for all that ask for the same at once. Each asker may give up alone: the work is aborted when all have. A
 * failure is told to those who were waiting and never remembered.
 */
import { StrataError } from "../errors.js";

interface Flight<Value> {
  readonly result: Promise<Value>;
  readonly controller: AbortController;
  passengers: number;
}

export interface Landed<Value> {
  readonly value: Value;
  /** True for whoever found the work under way. */
  readonly joined: boolean;
}

export class SingleFlight<Key, Value> {
  readonly #flights = new Map<Key, Flight<Value>>();

  /** Rejects with the work's failure, or with CANCELLED when `signal` is aborted: at once while others wait, else once the work has ended. */
  async run(key: Key, signal: AbortSignal, work: (signal: AbortSignal) => Promise<Value>): Promise<Landed<Value>> {
    const known = this.#flights.get(key);
    // A flight that all have left is about to end with CANCELLED: not one to join.
    const joined = known !== undefined && !known.controller.signal.aborted;
    const flight = joined ? known : this.#start(key, work);
    flight.passengers += 1;
    try {
      return { value: await untilAborted(flight.result, signal), joined };
    } finally {
      flight.passengers -= 1;
      if (flight.passengers === 0) {
        flight.controller.abort();
        // Whoever leaves last leaves a clean place: what was begun is out of staging when they answer.
        await flight.result.catch(() => undefined);
      }
    }
  }

  #start(key: Key, work: (signal: AbortSignal) => Promise<Value>): Flight<Value> {
    const controller = new AbortController();
    const result = work(controller.signal).finally(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    result.catch(() => undefined);
    const flight: Flight<Value> = { result, controller, passengers: 0 };
    this.#flights.set(key, flight);
    return flight;
  }
}

export const cancelled = (): StrataError => new StrataError("CANCELLED", "Cannot finish the install: it was cancelled");

/** The promise's result, unless `signal` is aborted first: CANCELLED. */
export async function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  if (signal.aborted) {
    // Nobody listens to it any more.
    promise.catch(() => undefined);
    throw cancelled();
  }
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(cancelled());
    signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
