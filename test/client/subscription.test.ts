import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { test } from "node:test";
import type { ReconnectingConnection } from "../../src/client/reconnecting.js";
import { Subscription } from "../../src/client/subscription.js";
import type { EventParams, EventPosition } from "../../src/messages/events.js";

const epoch = "e";

/** A daemon with an endless stream: it delivers what it is told to, to the subscription that is open. */
class ScriptedDaemon extends EventEmitter {
  readonly asked: (EventPosition | undefined)[] = [];
  #listener: ((event: EventParams) => void) | undefined;

  readonly connection = {
    isOpen: true,
    onClosed: () => () => undefined,
    onEvent: (_id: string, listener: (event: EventParams) => void) => {
      this.#listener = listener;
      return () => {
        this.#listener = undefined;
      };
    },
    request: async (method: string, params: { since?: EventPosition }, options?: { accept(result: object): void }) => {
      const result = { subscriptionId: "s", epoch, seq: params.since?.seq ?? 0 };
      if (method === "events/subscribe") this.asked.push(params.since);
      options?.accept(result);
      this.emit(method);
      return result;
    },
  };

  deliver(from: number, to: number, type: EventParams["type"] = "job.layer"): void {
    for (let seq = from; seq <= to; seq += 1) {
      this.#listener?.({ subscriptionId: "s", epoch, seq, ts: "", type, data: {} });
    }
  }

  asConnections(): ReconnectingConnection {
    return { isClosed: false, connection: async () => this.connection } as unknown as ReconnectingConnection;
  }
}

async function seqs(subscription: Subscription, count: number): Promise<number[]> {
  const taken: number[] = [];
  while (taken.length < count) taken.push((await subscription.next()).value?.seq ?? -1);
  return taken;
}

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

test("a reader that falls far behind is unsubscribed, and resumed where it was once it has caught up", async () => {
  const daemon = new ScriptedDaemon();
  const subscribed = once(daemon, "events/subscribe");
  const left = once(daemon, "events/unsubscribe");
  const subscription = new Subscription(daemon.asConnections(), { since: { epoch, seq: 0 } });
  await subscribed;
  daemon.deliver(1, 5000);
  await left;
  const again = once(daemon, "events/subscribe");
  const first = await seqs(subscription, 4096);
  await again;
  daemon.deliver(4097, 5000);
  assert.deepEqual([...first, ...(await seqs(subscription, 904))], range(1, 5000));
  assert.deepEqual(daemon.asked, [
    { epoch, seq: 0 },
    { epoch, seq: 4096 },
  ]);
  subscription.close();
  assert.deepEqual(await subscription.next(), { done: true, value: undefined });
});

test("the position is behind what was given, and behind a bookmark where nothing waits", async () => {
  const daemon = new ScriptedDaemon();
  const subscribed = once(daemon, "events/subscribe");
  const item = { type: "job.layer", epoch, seq: 3, data: {} };
  const subscription = new Subscription(daemon.asConnections(), { since: item });
  await subscribed;
  assert.deepEqual(daemon.asked, [{ epoch, seq: 3 }], "of an item, what it is a position by");
  daemon.deliver(4, 6);
  assert.deepEqual(subscription.position, { epoch, seq: 3 });
  await seqs(subscription, 2);
  assert.deepEqual(subscription.position, { epoch, seq: 5 });
  await seqs(subscription, 1);
  daemon.deliver(9, 9, "bookmark");
  assert.deepEqual(subscription.position, { epoch, seq: 9 });
  daemon.deliver(10, 12);
  await seqs(subscription, 1);
  await subscription.return();
  assert.deepEqual(subscription.position, { epoch, seq: 10 }, "what a reader left is not passed over");
});

test("an event that comes twice is given once", async () => {
  const daemon = new ScriptedDaemon();
  const subscribed = once(daemon, "events/subscribe");
  const subscription = new Subscription(daemon.asConnections(), { since: { epoch, seq: 0 } });
  await subscribed;
  daemon.deliver(1, 3);
  daemon.deliver(2, 4);
  assert.deepEqual(await seqs(subscription, 4), [1, 2, 3, 4]);
  subscription.close();
});
