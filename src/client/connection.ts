/**
 * One WebSocket to a daemon: requests and their answers by id, notifications to those who listen, both checked by schema.
 *
 * Every request settles: with its result, with the daemon's error, with REQUEST_CANCELLED, or with DAEMON_UNREACHABLE when
 * the connection is lost. Does not connect again.
 */
import { createRequire } from "node:module";
import { connect } from "node:net";
import type * as ws from "ws";
import { StrataError } from "../errors.js";
import { CLOSE_GRACE_MS, MAX_ANSWER_BYTES } from "../limits.js";
import { EventParams } from "../messages/events.js";
import { ResponseFrame } from "../messages/frames.js";
import { type MethodName, methods, type Params, type Result } from "../messages/methods.js";
import { ProgressParams } from "../messages/notifications.js";
import { PROTOCOL_PATH, SUBPROTOCOL } from "../messages/protocol.js";
import { printable } from "../printable.js";
import type { Endpoint } from "./endpoint.js";

/** By its entry for `require`: where it is imported, Node looks through each of its files for names first (40 ms of a command). */
const { WebSocket } = createRequire(import.meta.url)("ws") as typeof ws;

export interface RequestOptions<M extends MethodName> {
  /** Cancels the request, never a job. */
  readonly signal?: AbortSignal | undefined;
  /** Gets the result in the same turn as its frame, before any frame that follows it. */
  readonly accept?: (result: Result<M>) => void;
}

interface Pending {
  readonly method: MethodName;
  resolve(result: unknown): void;
  reject(error: StrataError): void;
}

export class Connection {
  readonly #socket: ws.WebSocket;
  readonly #pending = new Map<number, Pending>();
  readonly #events = new Map<string, (event: EventParams) => void>();
  readonly #progress = new Map<string, (value: ProgressParams["value"]) => void>();
  readonly #closed = new Set<() => void>();
  #lastId = 0;

  /** Throws DAEMON_UNREACHABLE, NOT_ALLOWED, BUSY, UNSUPPORTED_VERSION, REQUEST_CANCELLED. */
  static open(endpoint: Endpoint, signal: AbortSignal): Promise<Connection> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(cancelled(`connect to ${nameOf(endpoint)}`));
      const socket = dial(endpoint);
      const give = (error: StrataError) => {
        signal.removeEventListener("abort", abort);
        socket.on("error", () => undefined);
        socket.terminate();
        reject(error);
      };
      const abort = () => give(cancelled(`connect to ${nameOf(endpoint)}`));
      signal.addEventListener("abort", abort, { once: true });
      socket.once("unexpected-response", (_request, { statusCode }) => give(refusedBy(endpoint, statusCode ?? 0)));
      socket.once("error", (cause) => give(unreachable(endpoint, cause)));
      socket.once("open", () => {
        signal.removeEventListener("abort", abort);
        socket.removeAllListeners();
        resolve(new Connection(socket));
      });
    });
  }

  private constructor(socket: ws.WebSocket) {
    this.#socket = socket;
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (!isBinary) this.#receive(data.toString("utf8"));
    });
    // The close that follows is what tells of an error.
    socket.on("error", () => undefined);
    socket.once("close", (code: number) => this.#lose(code));
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  /** Params that do not fit their schema are INVALID_PARAMS without a frame; an answer that does not is UNSUPPORTED_VERSION. */
  request<M extends MethodName>(method: M, params: Params<M>, options: RequestOptions<M> = {}): Promise<Result<M>> {
    const { signal, accept } = options;
    return new Promise((resolve, reject) => {
      const checked = methods[method].params.safeParse(params);
      if (!checked.success) return reject(invalidParams(method, checked.error.issues[0]));
      if (signal?.aborted) return reject(cancelled(`call ${method}`));
      if (!this.isOpen) return reject(lost());
      const id = ++this.#lastId;
      const cancel = () => {
        if (!this.#pending.delete(id)) return;
        this.#send({ method: "$/cancelRequest", params: { id } });
        reject(cancelled(`call ${method}`));
      };
      const settle = () => signal?.removeEventListener("abort", cancel);
      signal?.addEventListener("abort", cancel, { once: true });
      this.#pending.set(id, {
        method,
        resolve: (result) => {
          settle();
          accept?.(result as Result<M>);
          resolve(result as Result<M>);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      this.#send({ id, method, params });
    });
  }

  /** Events of one subscription, until the returned function is called. */
  onEvent(subscriptionId: string, listener: (event: EventParams) => void): () => void {
    this.#events.set(subscriptionId, listener);
    return () => this.#events.delete(subscriptionId);
  }

  /** Progress of one token, until the returned function is called. */
  onProgress(token: string, listener: (value: ProgressParams["value"]) => void): () => void {
    this.#progress.set(token, listener);
    return () => this.#progress.delete(token);
  }

  /** Runs once when the connection is gone, at once if it is, unless the returned function was called. */
  onClosed(run: () => void): () => void {
    if (this.#socket.readyState === WebSocket.CLOSED) run();
    else this.#closed.add(run);
    return () => this.#closed.delete(run);
  }

  /** Answers when the socket is gone. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.onClosed(resolve);
      this.#socket.close(1000);
    });
  }

  #send(frame: { id?: number; method: string; params: unknown }): void {
    if (this.isOpen) this.#socket.send(JSON.stringify({ jsonrpc: "2.0", ...frame }));
  }

  /** Notifications that this client does not know are a newer daemon's and passed over. */
  #receive(text: string): void {
    const frame = parseJson(text);
    if (frame?.method === "event") {
      const event = EventParams.safeParse(frame.params);
      if (event.success) this.#events.get(event.data.subscriptionId)?.(event.data);
    } else if (frame?.method === "$/progress") {
      const progress = ProgressParams.safeParse(frame.params);
      if (progress.success) this.#progress.get(String(progress.data.token))?.(progress.data.value);
    } else if (typeof frame?.id === "number") {
      this.#answer(frame.id, frame);
    }
  }

  #answer(id: number, frame: object): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    const response = ResponseFrame.safeParse(frame);
    const error = response.data?.error?.data;
    const result = methods[pending.method].result.safeParse(response.data?.result);
    if (error !== undefined) pending.reject(StrataError.fromWire(error));
    else if (result.success) pending.resolve(result.data);
    else pending.reject(unreadable(pending.method));
  }

  #lose(code: number): void {
    for (const { reject } of this.#pending.values()) reject(lost(code));
    this.#pending.clear();
    for (const run of this.#closed) run();
  }
}

/** A Unix socket is dialled here and not by a ws+unix URL, which a `:` in the path breaks (facts.md). */
function dial(endpoint: Endpoint): ws.WebSocket {
  const options: ws.ClientOptions & { readonly closeTimeout: number } = {
    perMessageDeflate: false,
    maxPayload: MAX_ANSWER_BYTES,
    closeTimeout: CLOSE_GRACE_MS,
  };
  if (endpoint.kind === "unix") {
    options.createConnection = (() => connect(endpoint.path)) as NonNullable<ws.ClientOptions["createConnection"]>;
    return new WebSocket(`ws://localhost${PROTOCOL_PATH}`, SUBPROTOCOL, options);
  }
  if (endpoint.token !== undefined) options.headers = { authorization: `Bearer ${endpoint.token}` };
  return new WebSocket(`${endpoint.url}${PROTOCOL_PATH}`, SUBPROTOCOL, options);
}

function parseJson(text: string): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" && json !== null ? (json as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

export function nameOf(endpoint: Endpoint): string {
  return printable(endpoint.kind === "unix" ? endpoint.path : endpoint.url);
}

export function cancelled(action: string): StrataError {
  return new StrataError("REQUEST_CANCELLED", `Cannot ${action}: it was cancelled`);
}

function lost(code?: number): StrataError {
  const fact = code === undefined ? "the connection is closed" : `the connection was lost (${code})`;
  return new StrataError("DAEMON_UNREACHABLE", `Cannot reach the daemon: ${fact}`);
}

function unreachable(endpoint: Endpoint, cause: Error & { code?: unknown }): StrataError {
  const fact = typeof cause.code === "string" ? cause.code : printable(cause.message);
  return new StrataError("DAEMON_UNREACHABLE", `Cannot connect to ${nameOf(endpoint)}: ${fact}`, { cause });
}

function refusedBy(endpoint: Endpoint, status: number): StrataError {
  const codes = { 401: "NOT_ALLOWED", 403: "NOT_ALLOWED", 503: "BUSY" } as const;
  const hint = status === 401 ? "Give the endpoint's token with STRATAD_TOKEN_FILE." : undefined;
  const code = codes[status as keyof typeof codes] ?? "UNSUPPORTED_VERSION";
  return new StrataError(code, `Cannot connect to ${nameOf(endpoint)}: refused with status ${status}`, { hint });
}

function invalidParams(method: string, issue: { path: PropertyKey[]; message: string } | undefined): StrataError {
  const where = issue?.path.map(String).join(".") ?? "";
  const fact = printable(`${where}${where === "" ? "" : ": "}${issue?.message ?? "they do not fit"}`);
  return new StrataError("INVALID_PARAMS", `Cannot call ${method}: ${fact}`);
}

function unreadable(method: string): StrataError {
  return new StrataError(
    "UNSUPPORTED_VERSION",
    `Cannot read the daemon's answer to ${method}: it does not fit the schema`,
  );
}
