/**
 * The whole life of a request: frame, JSON, schema, scope, handler, schema of the result, frame.
 *
 * Every request is answered once and every notification never, whatever a handler throws; what does not fit its schema
 * does not leave. One dispatcher serves one session. Does not know what a method does.
 */
import { once } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";
import { codeTable, StrataError, toStrataError } from "../errors.js";
import { MAX_REQUESTS_IN_FLIGHT } from "../limits.js";
import type { Log } from "../log.js";
import { CancelRequestParams, type RequestFrame, type RequestId } from "../messages/frames.js";
import { isMethodName, type MethodName, methods, type ParsedParams, type Result } from "../messages/methods.js";
import { printable } from "../printable.js";
import { inSlices } from "../slices.js";
import { Slots } from "../slots.js";
import { type Frame, writeAnswer } from "./answer.js";
import { badFrame, firstIssues, readFrame, writeError } from "./frames.js";
import type { Session } from "./session.js";

/** What a handler knows of the request besides its params. */
export interface Call {
  readonly session: Session;
  /** Aborted by `$/cancelRequest` and when the session is gone; who waits on it throws REQUEST_CANCELLED. */
  readonly signal: AbortSignal;
  /** Runs right behind the answer, if it is a result: for what a client must not see before. */
  afterAnswer(run: () => void): void;
}

export type Handlers = {
  readonly [M in MethodName]: (params: ParsedParams<M>, call: Call) => Result<M> | Promise<Result<M>>;
};

export interface DispatcherOptions {
  readonly session: Session;
  readonly handlers: Handlers;
  /** One, for the long answers of all sessions. */
  readonly longAnswers: Slots;
  readonly log: Log;
}

/** What may be megabytes. */
const LONG: ReadonlySet<string> = new Set<MethodName>([
  "events/subscribe",
  "install/list",
  "layer/list",
  "root/list",
  "store/usage",
]);

/** A busy session's own earlier requests are what it waits for. */
const IN_FLIGHT_RETRY_MS = 100;

export class Dispatcher {
  readonly #session: Session;
  readonly #handlers: Handlers;
  readonly #log: Log;
  readonly #inFlight = new Map<RequestId, AbortController>();
  readonly #longAnswers: Slots;
  readonly #ownLongAnswers = new Slots(1);

  constructor({ session, handlers, longAnswers, log }: DispatcherOptions) {
    this.#session = session;
    this.#handlers = handlers;
    this.#longAnswers = longAnswers;
    this.#log = log;
    session.onClosed(() => {
      for (const cancel of this.#inFlight.values()) cancel.abort();
    });
  }

  /** Takes one text frame through its life; rejects only where something that was to run behind the answer threw. */
  async receive(text: string): Promise<void> {
    const read = readFrame(text);
    if (!read.ok) return this.#session.send(this.#failure(read.id, read.error, read.rpc));
    const { id, method, params = {} } = read.frame;
    if (id === undefined) return this.#notified(read.frame);
    const refusal = this.#refuse(id, method);
    if (refusal !== undefined) return this.#session.send(this.#failure(id, refusal));

    const cancel = new AbortController();
    this.#inFlight.set(id, cancel);
    const behind: (() => void)[] = [];
    const afterAnswer = (run: () => void) => behind.push(run);
    const call: Call = { session: this.#session, signal: cancel.signal, afterAnswer };
    let frame: Frame;
    try {
      if (!isMethodName(method)) throw unknownMethod(method);
      const checked = methods[method].params.safeParse(params);
      if (!checked.success) throw invalidParams(method, firstIssues(checked.error));
      if (methods[method].scope === "full" && this.#session.scope !== "full") throw notAllowed(method);
      const handle = this.#handlers[method] as (params: unknown, call: Call) => unknown;
      const write = async () => inSlices(writeAnswer(id, methods[method].result, await handle(checked.data, call)));
      const answer = await (LONG.has(method) ? this.#inTurn(method, cancel.signal, write) : write());
      if (!answer.ok) throw unfitResult(method, answer.issues);
      frame = answer.frame;
    } catch (thrown) {
      behind.length = 0;
      frame = this.#failure(id, toStrataError(thrown, `Cannot answer ${printable(method)}`));
    }
    this.#inFlight.delete(id);
    this.#session.send(frame);
    if (this.#session.isOpen) for (const run of behind) run();
  }

  /**
   * Long answers of a session are made one after another, each when the last has left, and one at a time of all sessions: together they
   * would hold the main thread for seconds, and memory for whoever does not read. REQUEST_CANCELLED.
   */
  async #inTurn<Value>(method: MethodName, signal: AbortSignal, write: () => Promise<Value>): Promise<Value> {
    try {
      return await this.#ownLongAnswers.run(0, signal, async () => {
        // The last one is sent by then.
        await nextTurn();
        await this.#session.whenFlowing(signal);
        return this.#longAnswers.run(0, signal, () => Promise.race([write(), this.#gone(signal)]));
      });
    } catch (thrown) {
      throw signal.aborted ? requestCancelled(method) : thrown;
    }
  }

  /** Rejects when the session is gone: then it leaves its slot, whatever it asked for. */
  async #gone(signal: AbortSignal): Promise<never> {
    await once(signal, "abort");
    if (!this.#session.isOpen) throw new StrataError("CANCELLED", "Cannot finish the answer: nobody waits for it");
    return new Promise(() => undefined);
  }

  /** Unknown and malformed notifications are passed over: JSON-RPC 2.0, 4.1 forbids an answer. */
  #notified({ method, params }: RequestFrame): void {
    if (method !== "$/cancelRequest") return;
    const cancelled = CancelRequestParams.safeParse(params);
    if (cancelled.success) this.#inFlight.get(cancelled.data.id)?.abort();
  }

  /** Why the request is not begun at all. */
  #refuse(id: RequestId, method: string): StrataError | undefined {
    if (this.#inFlight.has(id)) return badFrame("a request with the same id is not answered yet");
    return this.#inFlight.size < MAX_REQUESTS_IN_FLIGHT ? undefined : tooManyInFlight(method);
  }

  /** The frame of an error. What a client cannot mend is logged with its causes, which do not leave. */
  #failure(id: RequestId | null, error: StrataError, rpc?: number): string {
    const session = this.#session.id;
    const { kind } = codeTable[error.code];
    if (kind === "internal" || kind === "store") this.#log.error("request.failed", { session, error });
    try {
      return writeError(id, error, rpc);
    } catch (unfit) {
      this.#log.error("error.invalid", { session, error, unfit });
      return writeError(id, new StrataError("INTERNAL", "Cannot tell what failed: an unexpected error"));
    }
  }
}

/** The session is closed or the client said `$/cancelRequest`. */
export function requestCancelled(method: string): StrataError {
  return new StrataError("REQUEST_CANCELLED", `Cannot answer ${method}: the request was cancelled`);
}

export function invalidParams(method: string, facts: readonly string[]): StrataError {
  return new StrataError("INVALID_PARAMS", `Cannot call ${method}: ${facts.join("; ")}`);
}

function unknownMethod(method: string): StrataError {
  return new StrataError("UNKNOWN_METHOD", `Cannot call ${printable(method)}: there is no such method`);
}

function notAllowed(method: string): StrataError {
  return new StrataError("NOT_ALLOWED", `Cannot call ${method}: the session has read scope`);
}

function tooManyInFlight(method: string): StrataError {
  const fact = `${MAX_REQUESTS_IN_FLIGHT} requests of the session are not answered yet`;
  return new StrataError("BUSY", `Cannot call ${printable(method)}: ${fact}`, { retryAfterMs: IN_FLIGHT_RETRY_MS });
}

function unfitResult(method: string, facts: readonly string[]): StrataError {
  const cause = new Error(`the result of ${method} does not fit its schema: ${facts.join("; ")}`);
  return new StrataError("INTERNAL", `Cannot answer ${method}: an unexpected error`, { cause });
}
