/**
 * One WebSocket: text in, frames out, alive or gone, and never more unsent data than the page allows.
 *
 * A frame is either sent in order or the session is closed with 4008; only what is state (progress) may be replaced by
 * its newer self while it waits. Does not know what a frame says.
 */
import { randomUUID } from "node:crypto";
import type { Writable } from "node:stream";
import type { WebSocket } from "ws";
import {
  FIRST_MESSAGE_TIMEOUT_MS,
  PING_INTERVAL_MS,
  PROGRESS_WATERMARK_BYTES,
  SLOW_CONSUMER_BYTES,
} from "../limits.js";
import type { Log } from "../log.js";
import type { Scope } from "../messages/protocol.js";

export const closeCodes = {
  goingAway: 1001,
  textOnly: 1003,
  silent: 1008,
  slowConsumer: 4008,
} as const;

/** How long a peer may be silent; tests give shorter times. */
export interface SessionTiming {
  readonly firstMessageMs: number;
  readonly pingIntervalMs: number;
}

export const sessionTiming: SessionTiming = {
  firstMessageMs: FIRST_MESSAGE_TIMEOUT_MS,
  pingIntervalMs: PING_INTERVAL_MS,
};

export interface SessionOptions {
  /** What the WebSocket stands on: the connection that was upgraded. */
  readonly stream: Writable;
  readonly scope: Scope;
  readonly timing: SessionTiming;
  readonly log: Log;
}

export class Session {
  readonly id = randomUUID();
  readonly scope: Scope;
  readonly #socket: WebSocket;
  readonly #stream: Writable;
  #isGathering = false;
  /** Sizes of the frames that the operating system has not taken yet, oldest first. */
  readonly #unsent: number[] = [];
  /** Bytes of the first of them, which are in the write that is under way. */
  #underWay = 0;
  /** The latest of each mergeable frame that waits for the watermark. */
  readonly #waiting = new Map<unknown, string>();
  readonly #drained = new Set<() => void>();
  readonly #closed = new Set<() => void>();

  constructor(socket: WebSocket, { stream, scope, timing, log }: SessionOptions) {
    this.scope = scope;
    this.#socket = socket;
    this.#stream = stream;
    let isSilent = true;
    // A message that has come by then may not have been read: a timer of a busy loop is before what the loop reads.
    const firstMessage = setTimeout(() => setImmediate(() => isSilent && this.#drop()), timing.firstMessageMs);
    socket.once("message", () => {
      isSilent = false;
      clearTimeout(firstMessage);
    });
    const stopPings = this.#watchForDeath(timing.pingIntervalMs);
    socket.on("error", (error) => log.debug("session.error", { session: this.id, error }));
    socket.once("close", () => {
      clearTimeout(firstMessage);
      stopPings();
      for (const run of this.#closed) run();
    });
  }

  /** Every text frame, while the session is open. A binary frame ends it (1003). */
  onText(listener: (text: string) => void): void {
    this.#socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (!this.isOpen) return;
      if (isBinary) this.close(closeCodes.textOnly, "text frames only");
      else listener(data.toString("utf8"));
    });
  }

  /** Runs once, when the socket is gone. */
  onClosed(run: () => void): void {
    this.#closed.add(run);
  }

  /** Runs whenever frames left and `flowing` holds. */
  onDrained(run: () => void): void {
    this.#drained.add(run);
  }

  /** Resolves when `flowing` holds, or `signal` is aborted. */
  async whenFlowing(signal: AbortSignal): Promise<void> {
    if (this.flowing || signal.aborted) return;
    let go: () => void = () => undefined;
    const flows = new Promise<void>((resolve) => {
      go = resolve;
    });
    this.#drained.add(go);
    signal.addEventListener("abort", go, { once: true });
    await flows;
    this.#drained.delete(go);
    signal.removeEventListener("abort", go);
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN;
  }

  /** Whether so little is unsent that more may follow at once. */
  get flowing(): boolean {
    return this.#socket.bufferedAmount < PROGRESS_WATERMARK_BYTES;
  }

  /**
   * Sends in order, or closes the session as a slow consumer. What is being written does not count: one large answer is no sign of a
   * slow peer, what gathers behind it is.
   */
  send(frame: string | Buffer): void {
    if (!this.isOpen) return;
    if (this.#socket.bufferedAmount - this.#underWay > SLOW_CONSUMER_BYTES) {
      this.closeSlow();
      return;
    }
    this.#gather();
    const bytes = Buffer.byteLength(frame);
    if (this.#unsent.length === 0) this.#underWay = bytes;
    this.#unsent.push(bytes);
    this.#socket.send(frame, { binary: false }, () => this.#frameLeft());
  }

  /** Sends now, or keeps the frame until there is room, replacing an older one of the same key. */
  sendLatest(key: unknown, frame: string): void {
    if (this.flowing) this.send(frame);
    else if (this.isOpen) this.#waiting.set(key, frame);
  }

  /** What waits under this key will not be sent. */
  dropLatest(key: unknown): void {
    this.#waiting.delete(key);
  }

  closeSlow(): void {
    this.close(closeCodes.slowConsumer, "slow consumer");
  }

  #drop(): void {
    this.close(closeCodes.silent, "no first message");
  }

  /** Starts the closing handshake; the server's `closeTimeout` ends a peer that does not take part. */
  close(code: number, reason: string): void {
    this.#waiting.clear();
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** What is sent in one turn leaves in one write: thousands of subscriptions get several events at a time. */
  #gather(): void {
    if (this.#isGathering) return;
    this.#isGathering = true;
    const isIdle = this.#unsent.length === 0;
    this.#stream.cork();
    process.nextTick(() => {
      this.#isGathering = false;
      this.#stream.uncork();
      if (isIdle) this.#writesAll();
    });
  }

  #writesAll(): void {
    this.#underWay = this.#unsent.reduce((sum, bytes) => sum + bytes, 0);
  }

  #frameLeft(): void {
    this.#underWay -= this.#unsent.shift() ?? 0;
    // A stream that has written what it had goes on with all that came meanwhile.
    if (this.#underWay <= 0) this.#writesAll();
    if (!this.isOpen || !this.flowing) return;
    for (const [key, frame] of this.#waiting) {
      this.#waiting.delete(key);
      this.send(frame);
    }
    for (const run of this.#drained) run();
  }

  /** A peer that answers neither of two pings vanished without a close. */
  #watchForDeath(intervalMs: number): () => void {
    let alive = true;
    this.#socket.on("pong", () => {
      alive = true;
    });
    const timer = setInterval(() => {
      if (!alive) return this.terminate();
      alive = false;
      if (this.isOpen) this.#socket.ping();
    }, intervalMs);
    return () => clearInterval(timer);
  }
}
