/**
 * Clients in a process of their own: `node crowd.js SOCKET`, told what to do over IPC. Sessions of which each asked once and sits
 * there, subscribed or not; and one that asks for the status over and over, and tells how long each answer took.
 *
 * Who sits there reads what it is told, and no more than that: what thousands make of it is not to be measured here.
 *
 * `Crowd` is the other end of it.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Scope } from "../support/sandbox.js";
import { Wire } from "../support/wire.js";

export interface Answer {
  readonly ms: number;
  /** Every worker was. */
  readonly busy: boolean;
}

type Order =
  | { readonly do: "sit"; readonly count: number; readonly subscribed: boolean }
  | { readonly do: "ask" | "stop" };

/** Between two questions: no faster than any editor would ask. */
const PAUSE_MS = 2;
/** Connections that are made at once. */
const BATCH = 100;

export class Crowd {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async at(scope: Scope, socket: string): Promise<Crowd> {
    const child = fork(fileURLToPath(import.meta.url), [socket]);
    const ended = once(child, "exit");
    scope.after(async () => {
      child.kill("SIGKILL");
      await ended;
    });
    return new Crowd(child);
  }

  /** Answers when all sit. */
  sit(count: number, { subscribed = false } = {}): Promise<unknown> {
    return this.#order({ do: "sit", count, subscribed });
  }

  ask(): Promise<unknown> {
    return this.#order({ do: "ask" });
  }

  /** All answers since `ask`. */
  async stop(): Promise<readonly Answer[]> {
    return (await this.#order({ do: "stop" })) as Answer[];
  }

  async #order(order: Order): Promise<unknown> {
    const done = once(this.#child, "message");
    const gone = once(this.#child, "exit").then(() => Promise.reject(new Error("the crowd's process ended")));
    this.#child.send(order);
    const [answer] = await Promise.race([done, gone]);
    return answer;
  }
}

class Sitting {
  readonly #socket: string;
  readonly #scope: Scope = { after: () => undefined };
  readonly #all: Wire[] = [];
  #asks = false;
  #answers: Promise<Answer[]> = Promise.resolve([]);

  constructor(socket: string) {
    this.#socket = socket;
  }

  async obey(order: Order): Promise<unknown> {
    if (order.do === "sit") {
      for (let left = order.count; left > 0; left -= BATCH)
        await Promise.all(Array.from({ length: Math.min(BATCH, left) }, () => this.#one(order.subscribed)));
      return this.#all.length;
    }
    if (order.do === "ask") {
      this.#asks = true;
      this.#answers = this.#askOn(await Wire.connect(this.#scope, this.#socket));
      return true;
    }
    this.#asks = false;
    return this.#answers;
  }

  async #one(subscribed: boolean): Promise<void> {
    const wire = await Wire.connect(this.#scope, this.#socket);
    // A session that never says anything is dropped.
    await wire.request(subscribed ? "events/subscribe" : "server/status");
    wire.ignore();
    this.#all.push(wire);
  }

  async #askOn(wire: Wire): Promise<Answer[]> {
    const answers: Answer[] = [];
    while (this.#asks) {
      const start = performance.now();
      const { workers } = await wire.request("server/status");
      answers.push({ ms: performance.now() - start, busy: workers.busy === workers.total });
      await delay(PAUSE_MS);
    }
    return answers;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const sitting = new Sitting(process.argv[2] ?? "");
  process.on("message", (order: Order) => {
    void sitting.obey(order).then((answer) => process.send?.(answer as object));
  });
  process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
}
