/**
 * A bounded number of things at once; the others wait, higher priority first, in the order of arrival among equals.
 */
import { setMaxListeners } from "node:events";
import { StrataError } from "./errors.js";

interface Waiter {
  readonly priority: number;
  readonly admit: () => void;
}

export class Slots {
  #free: number;
  readonly #waiting: Waiter[] = [];

  /** Below none: what lacks to none is added before anything runs. */
  constructor(slots: number) {
    this.#free = slots;
  }

  /** As many more. */
  add(slots: number): void {
    for (let i = 0; i < slots; i += 1) this.#leave();
  }

  /** Runs `work` in a slot. CANCELLED where `signal` is aborted while it waits. */
  async run<Value>(priority: number, signal: AbortSignal | undefined, work: () => Promise<Value>): Promise<Value> {
    await this.#enter(priority, signal);
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  #enter(priority: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(cancelled());
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(cancelled());
      };
      const admit = (): void => {
        signal?.removeEventListener("abort", giveUp);
        resolve();
      };
      const waiter: Waiter = { priority, admit };
      const behind = this.#waiting.findIndex((other) => other.priority < priority);
      this.#waiting.splice(behind === -1 ? this.#waiting.length : behind, 0, waiter);
      if (signal === undefined) return;
      // All that wait may do so on one signal; Node takes more than ten for a leak.
      setMaxListeners(0, signal);
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  #leave(): void {
    const next = this.#free < 0 ? undefined : this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next.admit();
  }
}

/** Slots of which each owner has at most its share, so that none takes them all. */
export class SharedSlots {
  readonly #all: Slots;
  readonly #share: number;
  readonly #owners = new Map<string, { readonly slots: Slots; users: number }>();

  constructor(slots: number, { share }: { readonly share: number }) {
    this.#all = new Slots(slots);
    this.#share = share;
  }

  /** As `Slots.run`, for this owner. */
  async run<Value>(owner: string, priority: number, signal: AbortSignal, work: () => Promise<Value>): Promise<Value> {
    const own = this.#owners.get(owner) ?? { slots: new Slots(this.#share), users: 0 };
    this.#owners.set(owner, own);
    own.users += 1;
    try {
      return await own.slots.run(priority, signal, () => this.#all.run(priority, signal, work));
    } finally {
      own.users -= 1;
      if (own.users === 0) this.#owners.delete(owner);
    }
  }
}

const cancelled = (): StrataError =>
  new StrataError("CANCELLED", "Cannot finish the work: it was cancelled while it waited");
