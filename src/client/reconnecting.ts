/**
 * A connection that comes back: whoever needs one gets the open one, or waits for the next.
 *
 * It is dialled again only when somebody needs it, with jittered backoff, for a bounded time, and wherever the daemon
 * then listens; at first, where it was lost in the handshake. What was in flight is not repeated here: only its sender knows whether it may be.
 */
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { StrataError } from "../errors.js";
import type { MethodName, Params, Result } from "../messages/methods.js";
import { PROTOCOL_VERSION } from "../messages/protocol.js";
import { ownVersion } from "../version.js";
import { Connection, cancelled, nameOf, type RequestOptions } from "./connection.js";
import { type Endpoint, type FindOptions, findEndpoints } from "./endpoint.js";

export type ServerInfo = Result<"initialize">;

export interface ConnectOptions extends FindOptions {
  readonly clientInfo?: Params<"initialize">["clientInfo"] | undefined;
  /** Whether a lost connection is dialled again; true where it is not given. */
  readonly reconnect?: boolean | undefined;
  /** For one try: the handshake and the first answer. */
  readonly connectTimeoutMs?: number | undefined;
  /** How long a lost daemon is dialled before those who wait get DAEMON_UNREACHABLE; Infinity for a client that outlives daemons. */
  readonly reconnectTimeoutMs?: number | undefined;
  /**
   * The same at the first connect, for a daemon that took the connection and was gone before it answered, as in the moment of a
   * restart; `reconnectTimeoutMs` where it is not given. One that nobody listens for is not waited for.
   */
  readonly firstReconnectTimeoutMs?: number | undefined;
  /** Asked once each time when a daemon that was connected is needed and nobody answers any more: it may start another. What it throws ends the wait. */
  readonly whenLost?: (() => Promise<void>) | undefined;
  /** Ends the first connect only. */
  readonly signal?: AbortSignal | undefined;
}

const CONNECT_TIMEOUT_MS = 5000;
const RECONNECT_TIMEOUT_MS = 30_000;
/** Full jitter below a ceiling that doubles: many clients of one daemon do not come back in one moment. */
const BACKOFF_MS = 100;
const BACKOFF_MAX_MS = 5000;

export class ReconnectingConnection {
  readonly #options: ConnectOptions;
  readonly #closing = new AbortController();
  #current: Connection | undefined;
  #server: ServerInfo | undefined;
  #dialling: Promise<Connection> | undefined;
  /** Whether the last that was dialled took the connection and went away. */
  #wasLost = false;

  constructor(options: ConnectOptions) {
    this.#options = options;
  }

  /** The first connect: one try at each place, and more where one was lost. Throws DAEMON_UNREACHABLE and what Connection.open and initialize throw. */
  async open(): Promise<void> {
    const { signal, reconnect, reconnectTimeoutMs, firstReconnectTimeoutMs = reconnectTimeoutMs } = this.#options;
    try {
      await this.#dial(signal);
    } catch (thrown) {
      if (!this.#wasLost || reconnect === false) throw thrown;
      await this.#redial({ timeoutMs: firstReconnectTimeoutMs, signal });
    }
  }

  /** What the daemon said of itself when it was last connected. */
  get server(): ServerInfo {
    if (this.#server === undefined) throw closed();
    return this.#server;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  async connection(): Promise<Connection> {
    if (this.isClosed) throw closed();
    if (this.#current?.isOpen) return this.#current;
    if (this.#options.reconnect === false) {
      throw new StrataError("DAEMON_UNREACHABLE", "Cannot reach the daemon: the connection was lost");
    }
    const { reconnectTimeoutMs: timeoutMs, whenLost } = this.#options;
    this.#dialling ??= this.#redial({ timeoutMs, whenLost }).finally(() => {
      this.#dialling = undefined;
    });
    return this.#dialling;
  }

  async request<M extends MethodName>(
    method: M,
    params: Params<M>,
    options: RequestOptions<M> = {},
  ): Promise<Result<M>> {
    const connection = await unlessAborted(this.connection(), { method, signal: options.signal });
    return connection.request(method, params, options);
  }

  /** A request that is lost under way is sent again over the next connection, where it may be after so many times. */
  async repeat<M extends MethodName>(
    method: M,
    params: Params<M>,
    { mayRepeat, ...options }: RequestOptions<M> & { readonly mayRepeat?: (times: number) => Promise<boolean> } = {},
  ): Promise<Result<M>> {
    for (let repeated = 0; ; repeated += 1) {
      const connection = await unlessAborted(this.connection(), { method, signal: options.signal });
      try {
        return await connection.request(method, params, options);
      } catch (thrown) {
        const isLost = thrown instanceof StrataError && thrown.code === "DAEMON_UNREACHABLE" && !connection.isOpen;
        if (!isLost || (await mayRepeat?.(repeated)) === false) throw thrown;
      }
    }
  }

  /** Answers when the socket is gone; what waits for a connection fails. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#current?.close();
  }

  async #redial({
    timeoutMs = RECONNECT_TIMEOUT_MS,
    signal: outer,
    whenLost,
  }: Pick<ConnectOptions, "signal" | "whenLost"> & {
    readonly timeoutMs?: number | undefined;
  }): Promise<Connection> {
    const giveUpAt = performance.now() + timeoutMs;
    const signal = outer === undefined ? this.#closing.signal : AbortSignal.any([this.#closing.signal, outer]);
    let ask = whenLost;
    for (let ceiling = BACKOFF_MS; ; ceiling = Math.min(BACKOFF_MAX_MS, ceiling * 2)) {
      await sleep(Math.random() * ceiling, undefined, { signal }).catch(() => undefined);
      if (this.isClosed) throw closed();
      try {
        return await this.#dial(signal);
      } catch (thrown) {
        if (!mayPass(thrown) || performance.now() > giveUpAt) throw thrown;
        if (!isUnreachable(thrown)) continue;
        if (ask !== undefined) await this.#unlessClosed(ask());
        ask = undefined;
      }
    }
  }

  /** Nobody waits for it any more once the client is closed. */
  async #unlessClosed(work: Promise<void>): Promise<void> {
    const over = new AbortController();
    try {
      await Promise.race([work, once(this.#closing.signal, "abort", { signal: over.signal })]);
    } finally {
      over.abort();
    }
  }

  async #dial(signal: AbortSignal | undefined): Promise<Connection> {
    const { endpoints, passedOver } = await findEndpoints(this.#options);
    let failure = new StrataError("DAEMON_UNREACHABLE", `Cannot find a daemon: ${passedOver.join("; ")}`);
    for (const endpoint of endpoints) {
      try {
        return await this.#dialAt(endpoint, signal);
      } catch (thrown) {
        if (!(thrown instanceof StrataError) || thrown.code !== "DAEMON_UNREACHABLE") throw thrown;
        // It comes back there, and no other daemon is meant.
        if (this.#wasLost) throw thrown;
        failure = thrown;
      }
    }
    throw failure;
  }

  async #dialAt(endpoint: Endpoint, outer: AbortSignal | undefined): Promise<Connection> {
    const timeoutMs = this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    const timeout = AbortSignal.timeout(timeoutMs);
    const signal = outer === undefined ? timeout : AbortSignal.any([outer, timeout]);
    let connection: Connection | undefined;
    this.#wasLost = false;
    try {
      const release = await ownVersion().catch(() => undefined);
      connection = await Connection.open(endpoint, { release, signal });
      const clientInfo = this.#options.clientInfo ?? { name: "stratad-client", version: "0" };
      const protocolVersions = [PROTOCOL_VERSION];
      this.#server = await connection.request("initialize", { clientInfo, protocolVersions }, { signal });
      if (this.isClosed) throw closed();
      this.#current = connection;
      return connection;
    } catch (thrown) {
      const isGone = connection === undefined ? wasHungUp(thrown) : !connection.isOpen;
      void connection?.close();
      this.#wasLost = isGone && !signal.aborted;
      if (!timeout.aborted || outer?.aborted) throw thrown;
      const fact = `no answer within ${timeoutMs} ms`;
      throw new StrataError("DAEMON_UNREACHABLE", `Cannot connect to ${nameOf(endpoint)}: ${fact}`, { cause: thrown });
    }
  }
}

/** The caller's signal ends its wait, not the dialling that others wait for. */
function unlessAborted<T>(
  waited: Promise<T>,
  { method, signal }: { method: MethodName; signal: AbortSignal | undefined },
): Promise<T> {
  if (signal === undefined) return waited;
  return new Promise((resolve, reject) => {
    const abort = () => reject(cancelled(`call ${method}`));
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    waited.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function mayPass(thrown: unknown): boolean {
  return isUnreachable(thrown) || (thrown instanceof StrataError && thrown.retryable);
}

function isUnreachable(thrown: unknown): boolean {
  return thrown instanceof StrataError && thrown.code === "DAEMON_UNREACHABLE";
}

/** Somebody listened, and went away in the handshake: Node's own error, which has a code and is none of the system's. */
function wasHungUp(thrown: unknown): boolean {
  const { code } = ((thrown as Error).cause ?? {}) as { readonly code?: unknown };
  return code === "ECONNRESET" || code === "EPIPE";
}

function closed(): StrataError {
  return new StrataError("REQUEST_CANCELLED", "Cannot reach the daemon: the client was closed");
}
