/**
 * One WebSocket to a daemon: requests and their answers by id, notifications to those who listen.
 *
 * Both are checked by schema, but for those of a daemon of this very release behind a Unix socket, which only its owner can take the
 * place of: that one has checked them by the same schemas before they left it. Every request settles: with its result, with the daemon's
 * error, with REQUEST_CANCELLED, or with DAEMON_UNREACHABLE when the connection is lost. Does not connect again.
 */
import { createRequire } from "node:module";
import { connect } from "node:net";
import type * as ws from "ws";
import { StrataError, toStrataError } from "../errors.js";
import { CLOSE_GRACE_MS, MAX_ANSWER_BYTES, MAX_FRAME_BYTES } from "../limits.js";
import type { EventParams } from "../messages/events.js";
import type { MethodName, Params, Result } from "../messages/methods.js";
import type { ProgressParams } from "../messages/notifications.js";
import { PROTOCOL_PATH, SUBPROTOCOL } from "../messages/protocol.js";
import { printable } from "../printable.js";
import * as believed from "./believed.js";
import type { Endpoint } from "./endpoint.js";

/** By its entry for `require`: where it is imported, Node looks through each of its files for names first (40 ms of a command). */
const { WebSocket } = createRequire(import.meta.url)("ws") as typeof ws;

export interface RequestOptions<M extends MethodName> {
  /** Cancels the request, never a job. */
  readonly signal?: AbortSignal | undefined;
  /** Gets the result in the same turn as its frame, before any frame that follows it. */
  readonly accept?: (result: Result<M>) => void;
}

export interface OpenOptions {
  /** The one that this client is of; undefined where it was bundled into another package, and nobody knows. */
  readonly release: string | undefined;
  readonly signal: AbortSignal;
}

type Checks = Pick<typeof believed, "answerOf" | "eventOf" | "progressOf">;
type Frame = Readonly<Record<string, unknown>>;

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
  /** What a daemon that is believed says in its first answer; undefined where none is. */
  readonly #believedRelease: string | undefined;
  /** What was read at once before the checks were there; no more is read then. */
  readonly #unchecked: Frame[] = [];
  #checks: Checks | undefined;
  #lastId = 0;

  /** Throws DAEMON_UNREACHABLE, NOT_ALLOWED, BUSY, UNSUPPORTED_VERSION, REQUEST_CANCELLED. */
  static open(endpoint: Endpoint, { release, signal }: OpenOptions): Promise<Connection> {
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
        resolve(new Connection(socket, endpoint.kind === "unix" ? release : undefined));
      });
    });
  }

  private constructor(socket: ws.WebSocket, believedRelease: string | undefined) {
    this.#socket = socket;
    this.#believedRelease = believedRelease;
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

  /** Params are for the daemon to check; what no frame takes is INVALID_PARAMS. An answer that does not fit is UNSUPPORTED_VERSION. */
  request<M extends MethodName>(method: M, params: Params<M>, options: RequestOptions<M> = {}): Promise<Result<M>> {
    const { signal, accept } = options;
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const frame = requestFrame(id, method, params);
      if (signal?.aborted) return reject(cancelled(`call ${method}`));
      if (!this.isOpen) return reject(lost());
      const cancel = () => {
        if (!this.#pending.delete(id)) return;
        this.#send(JSON.stringify({ jsonrpc: "2.0", method: "$/cancelRequest", params: { id } }));
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
      this.#send(frame);
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

  #send(frame: string): void {
    if (this.isOpen) this.#socket.send(frame);
  }

  #receive(text: string): void {
    const frame = parseJson(text);
    if (frame === undefined) return;
    if (this.#checks === undefined && this.#unchecked.length === 0 && this.#isBelieved(frame)) this.#checks = believed;
    if (this.#checks === undefined) this.#keep(frame);
    else this.#take(frame, this.#checks);
  }

  #isBelieved({ id, result }: Frame): boolean {
    const asked = typeof id === "number" ? this.#pending.get(id)?.method : undefined;
    return asked === "initialize" && this.#believedRelease !== undefined && releaseIn(result) === this.#believedRelease;
  }

  #keep(frame: Frame): void {
    this.#unchecked.push(frame);
    this.#socket.pause();
    if (this.#unchecked.length === 1) this.#loadChecks();
  }

  #loadChecks(): void {
    import("./checks.js").then(
      (checks) => {
        this.#checks = checks;
        for (const frame of this.#unchecked.splice(0)) this.#take(frame, checks);
        this.#socket.resume();
      },
      (error: unknown) => {
        this.#rejectAll(toStrataError(error, "Cannot read what the daemon says"));
        this.#socket.terminate();
      },
    );
  }

  /** Notifications that this client does not know are a newer daemon's and passed over. */
  #take(frame: Frame, checks: Checks): void {
    if (frame.method === "event") {
      const event = checks.eventOf(frame.params);
      if (event !== undefined) this.#events.get(event.subscriptionId)?.(event);
    } else if (frame.method === "$/progress") {
      const progress = checks.progressOf(frame.params);
      if (progress !== undefined) this.#progress.get(String(progress.token))?.(progress.value);
    } else if (typeof frame.id === "number") {
      this.#answer(frame.id, frame, checks);
    }
  }

  #answer(id: number, frame: Frame, checks: Checks): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    const answer = checks.answerOf(pending.method, frame);
    if ("result" in answer) pending.resolve(answer.result);
    else pending.reject(answer.error);
  }

  #lose(code: number): void {
    this.#rejectAll(lost(code));
    for (const run of this.#closed) run();
  }

  #rejectAll(error: StrataError): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(error);
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

/** A longer one would end the connection, and a request that is repeated then each of the next ones. */
function requestFrame(id: number, method: MethodName, params: unknown): string {
  let frame: string;
  try {
    frame = JSON.stringify({ jsonrpc: "2.0", id, method, params });
  } catch {
    throw invalidParams(method, "they are no JSON");
  }
  const bytes = Buffer.byteLength(frame);
  if (bytes <= MAX_FRAME_BYTES) return frame;
  throw invalidParams(method, `a frame of ${bytes} bytes is more than ${MAX_FRAME_BYTES}`);
}

function parseJson(text: string): Frame | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" && json !== null ? (json as Frame) : undefined;
  } catch {
    return undefined;
  }
}

/** The release that an answer to `initialize` names, whatever else it says. */
function releaseIn(unchecked: unknown): string | undefined {
  const release = (unchecked as { serverInfo?: { version?: unknown } | null } | null | undefined)?.serverInfo?.version;
  return typeof release === "string" ? release : undefined;
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
  const told = { EACCES: "only its owner and its group may open it (EACCES)" }[String(cause.code)];
  const fact = told ?? (typeof cause.code === "string" ? cause.code : printable(cause.message));
  return new StrataError("DAEMON_UNREACHABLE", `Cannot connect to ${nameOf(endpoint)}: ${fact}`, { cause });
}

function refusedBy(endpoint: Endpoint, status: number): StrataError {
  const codes = { 401: "NOT_ALLOWED", 403: "NOT_ALLOWED", 503: "BUSY" } as const;
  const hint = status === 401 ? "Give the endpoint's token with STRATAD_TOKEN_FILE." : undefined;
  const code = codes[status as keyof typeof codes] ?? "UNSUPPORTED_VERSION";
  return new StrataError(code, `Cannot connect to ${nameOf(endpoint)}: refused with status ${status}`, { hint });
}

function invalidParams(method: string, fact: string): StrataError {
  return new StrataError("INVALID_PARAMS", `Cannot call ${method}: ${fact}`);
}
