/**
 * The event stream as an iterator that outlives connections: no event lost, none twice.
 *
 * It remembers the last `{epoch, seq}` it received and resumes from there; where the daemon cannot replay, a `reset` item
 * with the present state takes the place of what was missed. A reader that falls far behind is unsubscribed and
 * resumed once it has caught up, so that memory is bounded. Does not interpret events.
 */
import { type StrataError, toStrataError } from "../errors.js";
import type { EventFilter, EventParams, EventPosition } from "../messages/events.js";
import type { Result } from "../messages/methods.js";
import type { Connection } from "./connection.js";
import type { ReconnectingConnection } from "./reconnecting.js";

type Subscribed = Result<"events/subscribe">;

interface StateOf<Type extends "snapshot" | "reset"> {
  readonly type: Type;
  readonly epoch: string;
  readonly seq: number;
  readonly snapshot: NonNullable<Subscribed["snapshot"]>;
}

/** The state at `seq`, which the events behind it change: `snapshot` comes first, `reset` where continuity was lost. */
export type StateItem = StateOf<"snapshot"> | StateOf<"reset">;

/** Bookmarks are used and not yielded: `position` is where they lead. */
export type SubscriptionItem = EventParams | StateItem;

export interface SubscribeOptions {
  readonly filter?: EventFilter | undefined;
  /** Goes on behind this position, as an item or `position` has it; without it a `snapshot` comes first. */
  readonly since?: EventPosition | undefined;
}

interface Reader {
  resolve(result: IteratorResult<SubscriptionItem, undefined>): void;
  reject(error: StrataError): void;
}

/** Items that wait for their reader before the daemon's ring is left to keep them. */
const MAX_QUEUED_ITEMS = 4096;

export class Subscription implements AsyncIterableIterator<SubscriptionItem, undefined> {
  readonly #connections: ReconnectingConnection;
  readonly #filter: EventFilter | undefined;
  readonly #queue: SubscriptionItem[] = [];
  readonly #readers: Reader[] = [];
  /** Of what was received, and of what was given to the reader. */
  #position: EventPosition | undefined;
  #given: EventPosition | undefined;
  /** Set when the queue was full: what comes now is left to the daemon's ring, until the next answer to events/subscribe. */
  #behind = false;
  #ended = false;
  #failure: StrataError | undefined;
  #leave: () => void = () => undefined;
  #caughtUp: () => void = () => undefined;

  constructor(connections: ReconnectingConnection, { filter, since }: SubscribeOptions) {
    this.#connections = connections;
    this.#filter = filter;
    this.#position = since && { epoch: since.epoch, seq: since.seq };
    this.#given = this.#position;
    this.#run().catch((thrown: unknown) => {
      if (!this.#connections.isClosed) this.#failure = toStrataError(thrown, "Cannot follow the events");
      this.close();
    });
  }

  /** Behind the last item that was given, and where none waits, behind the last bookmark: to go on from with another subscription. */
  get position(): EventPosition | undefined {
    return this.#queue.length === 0 ? this.#position : this.#given;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** What was received before the end is still given; then the error that ended it, once, or the end. */
  next(): Promise<IteratorResult<SubscriptionItem, undefined>> {
    return new Promise((resolve, reject) => {
      this.#readers.push({ resolve, reject });
      this.#serve();
    });
  }

  return(): Promise<IteratorResult<SubscriptionItem, undefined>> {
    if (this.#queue.length > 0) this.#position = this.#given;
    this.#queue.length = 0;
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  close(): void {
    this.#ended = true;
    this.#leave();
    this.#caughtUp();
    this.#serve();
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      const connection = await this.#connections.connection();
      try {
        await this.#follow(connection);
      } catch (thrown) {
        if (connection.isOpen) throw thrown;
      }
      if (this.#behind) await this.#untilCaughtUp();
    }
  }

  /** Until the connection is lost, the reader is too far behind, or nobody reads any more. */
  async #follow(connection: Connection): Promise<void> {
    if (this.#ended) return;
    let stopEvents = () => {};
    const left = new Promise<void>((resolve) => {
      this.#leave = resolve;
    });
    const stopWatching = connection.onClosed(this.#leave);
    try {
      const params = { since: this.#position, filter: this.#filter };
      const accept = (subscribed: Subscribed) => {
        this.#begin(subscribed);
        stopEvents = connection.onEvent(subscribed.subscriptionId, (event) => this.#take(event));
      };
      const { subscriptionId } = await connection.request("events/subscribe", params, { accept });
      await left;
      stopEvents();
      if (connection.isOpen) await connection.request("events/unsubscribe", { subscriptionId });
    } finally {
      stopEvents();
      stopWatching();
    }
  }

  #begin({ epoch, seq, snapshot, reset }: Subscribed): void {
    this.#behind = false;
    this.#position = { epoch, seq };
    if (snapshot === undefined) return;
    const state = { epoch, seq, snapshot };
    this.#push(reset ? { type: "reset", ...state } : { type: "snapshot", ...state });
  }

  #take(event: EventParams): void {
    const { epoch, seq } = event;
    if (this.#behind || (this.#position?.epoch === epoch && seq <= this.#position.seq)) return;
    this.#position = { epoch, seq };
    if (event.type !== "bookmark") this.#push(event);
  }

  #push(item: SubscriptionItem): void {
    this.#queue.push(item);
    this.#serve();
    if (this.#queue.length < MAX_QUEUED_ITEMS) return;
    this.#behind = true;
    this.#leave();
  }

  #give(reader: Reader, item: SubscriptionItem): void {
    this.#given = { epoch: item.epoch, seq: item.seq };
    reader.resolve({ done: false, value: item });
  }

  #untilCaughtUp(): Promise<void> {
    return new Promise((resolve) => {
      this.#caughtUp = resolve;
      if (this.#ended || this.#queue.length === 0) resolve();
    });
  }

  #serve(): void {
    for (let reader = this.#readers[0]; reader !== undefined; reader = this.#readers[0]) {
      const item = this.#queue.shift();
      if (item !== undefined) this.#give(reader, item);
      else if (this.#failure !== undefined) reader.reject(this.#failure);
      else if (this.#ended) reader.resolve({ done: true, value: undefined });
      else break;
      if (item === undefined) this.#failure = undefined;
      this.#readers.shift();
    }
    if (this.#queue.length === 0) this.#caughtUp();
  }
}
