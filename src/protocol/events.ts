/**
 * The stream of events: one count for the daemon, a ring to replay from, and the subscriptions that follow it.
 *
 * Each subscription has a cursor, and every event behind it was sent or did not match: hence no gap and no duplicate
 * between replay and live. A subscription that the ring overtakes is closed as a slow consumer, never skipped. Does not
 * know what the events mean.
 */
import { randomUUID } from "node:crypto";
import {
  BOOKMARK_INTERVAL_MS,
  DELIVERIES_A_TURN,
  DELIVERY_REST_MS,
  MAX_RING_BYTES,
  MAX_RING_EVENTS,
} from "../limits.js";
import type { Log } from "../log.js";
import { type DaemonEvent, type EventFilter, EventParams, type EventPosition } from "../messages/events.js";
import { inSlices, type Steps } from "../slices.js";

export interface EventHubOptions {
  readonly epoch: string;
  readonly log: Log;
  readonly bookmarkIntervalMs?: number;
  readonly maxRingEvents?: number;
  readonly maxRingBytes?: number;
  /** The time of an event. */
  readonly now?: () => Date;
}

/** Where a subscription's frames go: a session. */
export interface Receiver {
  readonly flowing: boolean;
  send(frame: string): void;
  closeSlow(): void;
}

/** Over all that follow, with the events up to one. */
interface Pass {
  readonly upTo: number;
  readonly left: Iterator<Subscription>;
  /** It has more to come. */
  current: Subscription | undefined;
  /** It takes more than a turn. */
  isLong: boolean;
}

interface RingEvent {
  readonly event: DaemonEvent;
  /** The params of the frame without their first member, `subscriptionId`: written once for all subscriptions. */
  readonly rest: string;
  readonly bytes: number;
}

/** What is the same for all subscriptions. */
const ParamsOfAll = EventParams.omit({ subscriptionId: true });

export class EventHub {
  readonly epoch: string;
  readonly #options: Required<EventHubOptions>;
  readonly #ring = new Map<number, RingEvent>();
  #ringBytes = 0;
  #oldest = 1;
  #seq = 0;
  readonly #following = new Set<Subscription>();
  /** Whom it may concern is told later: in the next turn, or after a rest. */
  #later: { readonly cancel: () => void } | undefined;
  readonly #bookmarks: NodeJS.Timeout;

  constructor(options: EventHubOptions) {
    this.epoch = options.epoch;
    this.#options = {
      bookmarkIntervalMs: BOOKMARK_INTERVAL_MS,
      maxRingEvents: MAX_RING_EVENTS,
      maxRingBytes: MAX_RING_BYTES,
      now: () => new Date(),
      ...options,
    };
    this.#bookmarks = setInterval(() => this.bookmark(), this.#options.bookmarkIntervalMs);
    this.#bookmarks.unref();
  }

  /** The number of the last event; 0 before the first. */
  get seq(): number {
    return this.#seq;
  }

  /** The oldest event that can still be replayed. */
  get oldest(): number {
    return this.#oldest;
  }

  at(seq: number): RingEvent | undefined {
    return this.#ring.get(seq);
  }

  /**
   * Gives the event its number and sends it to whom it concerns. Where those are thousands, the last of them get it some turns later,
   * and what comes right behind it after a rest: neither what the event is about nor anybody's answer waits for that. An event that
   * fits no schema is our bug: logged, not sent.
   */
  publish(event: DaemonEvent): void {
    const rest = this.#write(event, this.#seq + 1);
    if (rest === undefined) return;
    this.#seq += 1;
    const bytes = Buffer.byteLength(rest);
    this.#ring.set(this.#seq, { event, rest, bytes });
    this.#ringBytes += bytes;
    this.#evict();
    if (this.#later === undefined) this.#deliver();
  }

  /** Tells each subscription where it stands, thousands in slices; takes no number of its own. */
  bookmark(): void {
    void inSlices(this.#bookmarkAll());
  }

  *#bookmarkAll(): Steps<void> {
    // Nearly all stand at the same event.
    let last: { readonly seq: number; readonly rest: string | undefined } | undefined;
    for (const subscription of this.#following) {
      const { seq } = subscription;
      if (last?.seq !== seq) last = { seq, rest: this.#write({ type: "bookmark", data: {} }, seq) };
      if (last.rest !== undefined) subscription.bookmark(last.rest);
      yield;
    }
  }

  /** A subscription that waits for `start`. `since` that cannot be replayed gives `reset`; it begins at the present then. */
  open(receiver: Receiver, { since, filter }: { since?: EventPosition | undefined; filter?: EventFilter | undefined }) {
    const replayable =
      since !== undefined && since.epoch === this.epoch && since.seq >= this.#oldest - 1 && since.seq <= this.#seq;
    const subscription = new Subscription(this, this.#following, {
      receiver,
      filter,
      cursor: replayable ? since.seq : this.#seq,
    });
    return { subscription, replayed: replayable, reset: since !== undefined && !replayable };
  }

  close(): void {
    clearInterval(this.#bookmarks);
    this.#later?.cancel();
    this.#following.clear();
  }

  /** Everybody has what was published, before nobody can get it any more. */
  flush(): void {
    this.#later?.cancel();
    this.#later = undefined;
    for (const subscription of this.#following) while (subscription.published());
  }

  /** One turn of a pass over all that follow; passes go on until everybody has what was published meanwhile too. */
  #deliver(pass: Pass = { upTo: this.#seq, left: this.#following.values(), current: undefined, isLong: false }): void {
    this.#later = undefined;
    for (let delivered = 0; delivered < DELIVERIES_A_TURN; delivered += 1) {
      pass.current ??= pass.left.next().value;
      if (pass.current === undefined) {
        if (pass.isLong) this.#rest(pass.upTo);
        else if (pass.upTo !== this.#seq) this.#deliver();
        return;
      }
      if (!pass.current.published()) pass.current = undefined;
    }
    pass.isLong = true;
    const turn = setImmediate(() => this.#deliver(pass));
    this.#later = { cancel: () => clearImmediate(turn) };
  }

  /** What thousands are told in one go costs each of them one wake-up, and the install that it is about less of its processors. */
  #rest(upTo: number): void {
    const timer = setTimeout(() => {
      this.#later = undefined;
      if (upTo !== this.#seq) this.#deliver();
    }, DELIVERY_REST_MS);
    this.#later = { cancel: () => clearTimeout(timer) };
  }

  #evict(): void {
    const { maxRingEvents, maxRingBytes } = this.#options;
    while (this.#ring.size > maxRingEvents || this.#ringBytes > maxRingBytes) {
      this.#ringBytes -= this.#ring.get(this.#oldest)?.bytes ?? 0;
      this.#ring.delete(this.#oldest);
      this.#oldest += 1;
    }
  }

  #write(event: DaemonEvent, seq: number): string | undefined {
    try {
      const ts = this.#options.now().toISOString();
      const params = ParamsOfAll.parse({ epoch: this.epoch, seq, ts, ...event });
      return JSON.stringify(params).slice(1);
    } catch (error) {
      this.#options.log.error("event.invalid", { type: event.type, error });
      return undefined;
    }
  }
}

export class Subscription {
  readonly id = randomUUID();
  readonly #hub: EventHub;
  readonly #following: Set<Subscription>;
  readonly #receiver: Receiver;
  readonly #matches: (event: DaemonEvent) => boolean;
  readonly #head = `{"jsonrpc":"2.0","method":"event","params":{"subscriptionId":"${this.id}",`;
  #cursor: number;
  /** Past what it replays: each event is sent when its turn comes, whatever is unsent. */
  #isLive = false;

  constructor(
    hub: EventHub,
    following: Set<Subscription>,
    { receiver, filter, cursor }: { receiver: Receiver; filter: EventFilter | undefined; cursor: number },
  ) {
    this.#hub = hub;
    this.#following = following;
    this.#receiver = receiver;
    this.#matches = matcher(filter ?? {});
    this.#cursor = cursor;
  }

  /** Events that follow have a greater number. */
  get seq(): number {
    return this.#cursor;
  }

  /** Sends what is due and follows from then on: to be called once the answer that names the subscription is on its way. */
  start(): void {
    this.#following.add(this);
    this.pump();
  }

  stop(): void {
    this.#following.delete(this);
  }

  /** Replays while the receiver flows; to be called again whenever it has drained. */
  pump(): void {
    while (this.#follows && this.#receiver.flowing) this.#next();
    if (this.#cursor === this.#hub.seq) this.#isLive = true;
  }

  /** Comes to the next new event, if any; true where there is another. Who is still replaying comes to it by `pump`, or is too late. */
  published(): boolean {
    if (this.#isDue) this.#next();
    return this.#isDue;
  }

  get #follows(): boolean {
    return this.#cursor < this.#hub.seq && this.#following.has(this);
  }

  get #isDue(): boolean {
    return this.#follows && (this.#isLive || this.#cursor + 1 < this.#hub.oldest);
  }

  bookmark(rest: string): void {
    if (this.#isLive && this.#receiver.flowing) this.#receiver.send(`${this.#head}${rest}}`);
  }

  #next(): void {
    const entry = this.#hub.at(this.#cursor + 1);
    if (entry === undefined) {
      this.stop();
      this.#receiver.closeSlow();
      return;
    }
    this.#cursor += 1;
    if (this.#matches(entry.event)) this.#receiver.send(`${this.#head}${entry.rest}}`);
  }
}

/** Every list that is given must hold the event's own. */
function matcher({ jobIds, names, types }: EventFilter): (event: DaemonEvent) => boolean {
  const wanted = [
    [jobIds, (event: DaemonEvent) => event.jobId],
    [names, (event: DaemonEvent) => event.name],
    [types, (event: DaemonEvent) => event.type],
  ] as const;
  const tests = wanted.flatMap(([list, of]) => {
    if (list === undefined) return [];
    const set = new Set<string | undefined>(list);
    return [(event: DaemonEvent) => set.has(of(event))];
  });
  return (event) => tests.every((test) => test(event));
}
