/**
 * One request over HTTP and its answer: timeouts, redirects, and bytes exactly as they were stored.
 *
 * Redirects are followed here so that Authorization never reaches another origin and TLS is never given up. Knows nothing of
 * images, of authentication or of trying again.
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { pipeline } from "node:stream/promises";
import { toStrataError } from "../../errors.js";
import { MAX_REDIRECTS } from "../../limits.js";
import { printable } from "../../printable.js";
import { cancelled, networkError, registryError, transient } from "./failures.js";
import type { RegistryTimings } from "./timings.js";

export interface ExchangeRequest {
  readonly headers: Readonly<Record<string, string>>;
  /** GET where there is none, and no form. */
  readonly method?: "HEAD" | "POST" | "PUT" | "PATCH" | undefined;
  /** A form to be POSTed; it is not redirected. */
  readonly form?: URLSearchParams | undefined;
  /** What a POST, PUT or PATCH sends, never to where a redirect leads; the answer to its last byte may take as long as a commit does. */
  readonly content?: Content | undefined;
  readonly timings: RegistryTimings;
  readonly signal: AbortSignal;
}

/** Bytes to be sent, as often as it takes. */
export interface Content {
  readonly bytes: number;
  /** From the first byte, `bytes` in all; a chunk is not written to once it was given. What this throws is what the exchange throws. */
  chunks(): AsyncIterable<Uint8Array>;
}

export interface Answer {
  readonly status: number;
  /** By its name in small letters; what came several times is joined by commas, or is the first where it may come only once. */
  header(name: string): string | undefined;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  /** To be read once; a chunk, which is the reader's, must come within the stall timeout (REGISTRY_TIMEOUT). Leaving the loop ends the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** What it may take where it is a document. */
  readonly documentTimeoutMs: number;
  /** Does not wait for the body; the connection is kept for the next request where all of it has come already, else ended. */
  discard(): void;
}

/** Whoever gets the answer reads its body or discards it. REGISTRY_UNREACHABLE, REGISTRY_TIMEOUT, REGISTRY_BAD_RESPONSE, TLS_UNTRUSTED, CANCELLED. */
export async function exchange(start: URL, request: ExchangeRequest): Promise<Answer> {
  let url = start;
  for (let hops = 0; ; hops += 1) {
    const answer = await once(url, start.origin === url.origin, request);
    if (!REDIRECTS.has(answer.status)) return checkedEncoding(answer);
    answer.discard();
    const location = answer.header("location");
    if (hops === MAX_REDIRECTS) throw registryError("REGISTRY_BAD_RESPONSE", start.host, "it redirects too often");
    if (request.content !== undefined)
      throw registryError("REGISTRY_BAD_RESPONSE", url.host, "it redirects what is sent to it");
    if (location === undefined || !mayFollow(answer.status, request)) {
      throw registryError(
        "REGISTRY_BAD_RESPONSE",
        url.host,
        `it answered ${answer.status} where no redirect can be followed`,
      );
    }
    url = locationOf(location, url);
  }
}

/** How long the body is, as far as the answer says. */
export function announcedLength(answer: Answer): number | undefined {
  const text = answer.header("content-length") ?? "";
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** At most `limit` bytes; undefined where there are more. REGISTRY_TIMEOUT where they come, and too slowly. */
export async function readBody(answer: Answer, limit: number): Promise<Buffer | undefined> {
  const { documentTimeoutMs, url } = answer;
  const start = performance.now();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of answer.body) {
    length += chunk.byteLength;
    if (length > limit) return undefined;
    if (performance.now() - start > documentTimeoutMs)
      throw registryError("REGISTRY_TIMEOUT", url.host, `a document was not whole after ${documentTimeoutMs} ms`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Those that keep the method (RFC 9110, 15.4). */
const KEEPING = new Set([307, 308]);

const mayFollow = (status: number, { method, form }: ExchangeRequest): boolean =>
  form === undefined && (method === undefined || method === "HEAD" || KEEPING.has(status));

async function once(url: URL, withAuthorization: boolean, request: ExchangeRequest): Promise<Answer> {
  const { timings, signal } = request;
  const deadline = new Deadline(url.host, signal);
  const headers: Record<string, string> = { ...request.headers, "accept-encoding": "identity" };
  if (!withAuthorization) delete headers.authorization;
  deadline.restart(timings.headersTimeoutMs, "no answer");
  try {
    const response = await answerTo(send(url, headers, request, deadline));
    deadline.stop();
    return {
      status: response.statusCode ?? 0,
      header: (name) => response.headers[name]?.toString(),
      url,
      body: read(response, deadline, timings.stallTimeoutMs),
      documentTimeoutMs: timings.documentTimeoutMs,
      discard: () => discard(response, deadline),
    };
  } catch (error) {
    deadline.abandon();
    throw deadline.reason ?? networkError(error, url.host);
  } finally {
    deadline.sent();
  }
}

/** By node:http and not by fetch, whose streams cost a download twice the processor time and are loaded for it. */
function send(
  url: URL,
  headers: Readonly<Record<string, string>>,
  { method, form, content, timings }: ExchangeRequest,
  deadline: Deadline,
): ClientRequest {
  const ask = url.protocol === "https:" ? httpsRequest : httpRequest;
  const { signal } = deadline;
  if (content !== undefined) {
    const sized = { ...headers, "content-length": `${content.bytes}` };
    const sending = ask(url, { method: method ?? "POST", headers: sized, signal });
    whenConnected(sending, () => {
      // What breaks it is what the answer fails with; an answer before the end is one.
      pipeline(taken(content, deadline, timings), sending).catch(() => undefined);
    });
    return sending;
  }
  const typed = form === undefined ? headers : { ...headers, "content-type": "application/x-www-form-urlencoded" };
  return ask(url, { method: form === undefined ? method : "POST", headers: typed, signal }).end(form?.toString());
}

/** What is written sooner waits in memory, and would look sent. */
function whenConnected(request: ClientRequest, send: () => void): void {
  request.once("socket", (socket) => {
    if (request.reusedSocket) send();
    else socket.once(request.protocol === "https:" ? "secureConnect" : "connect", send);
  });
}

function answerTo(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    // Errors behind the answer are told by its body. A change of protocol, which nobody asked for, is only a close.
    request
      .once("response", resolve)
      .on("error", reject)
      .once("close", () => reject(new Error("no answer")));
  });
}

function discard(response: IncomingMessage, deadline: Deadline): void {
  if (response.complete) response.once("close", () => deadline.abandon()).resume();
  else deadline.abandon();
}

/** The timer runs while the registry takes a chunk, and then until it answers, which it may do before the end. */
async function* taken(content: Content, deadline: Deadline, timings: RegistryTimings): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of content.chunks()) {
      deadline.restartSending(timings.stallTimeoutMs, "no byte taken");
      yield chunk;
    }
    deadline.restartSending(timings.commitTimeoutMs, "no answer");
  } catch (error) {
    deadline.end(toStrataError(error, "Cannot read what is sent"));
    throw error;
  }
}

async function* read(
  response: IncomingMessage,
  deadline: Deadline,
  stallTimeoutMs: number,
): AsyncGenerator<Uint8Array> {
  try {
    deadline.restart(stallTimeoutMs, "no byte");
    for await (const chunk of response) {
      deadline.stop();
      yield chunk as Uint8Array;
      deadline.restart(stallTimeoutMs, "no byte");
    }
  } catch (error) {
    throw deadline.reason ?? networkError(error, deadline.host);
  } finally {
    deadline.abandon();
  }
}

/** One abort signal out of the caller's and a timer; remembers why it fired. */
class Deadline {
  readonly host: string;
  readonly #caller: AbortSignal;
  readonly #controller = new AbortController();
  readonly #onAbort = () => this.end(cancelled());
  #timer: NodeJS.Timeout | undefined;
  #sending = true;
  reason: Error | undefined;

  constructor(host: string, caller: AbortSignal) {
    this.host = host;
    this.#caller = caller;
    caller.addEventListener("abort", this.#onAbort);
    if (caller.aborted) this.#onAbort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  restart(ms: number, fact: string): void {
    this.stop();
    this.#timer = setTimeout(() => {
      this.end(transient("REGISTRY_TIMEOUT", this.host, `${fact} for ${ms} ms`));
    }, ms);
  }

  /** As `restart`, but for what is still asked for once the answer is there. */
  restartSending(ms: number, fact: string): void {
    if (this.#sending) this.restart(ms, fact);
  }

  sent(): void {
    this.#sending = false;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  /** No reason is given: whoever abandons does not wait for anything. */
  abandon(): void {
    this.stop();
    this.#caller.removeEventListener("abort", this.#onAbort);
    this.#controller.abort();
  }

  end(reason: Error): void {
    this.reason ??= reason;
    this.#controller.abort();
  }
}

/** The digest is of the bytes as stored. */
function checkedEncoding(answer: Answer): Answer {
  const encoding = answer.header("content-encoding");
  if (encoding === undefined || encoding.toLowerCase() === "identity") return answer;
  answer.discard();
  throw registryError("REGISTRY_BAD_RESPONSE", answer.url.host, `it encodes the answer as '${printable(encoding)}'`);
}

/** Where a Location leads that came from `from`: never away from TLS, never with a password. REGISTRY_BAD_RESPONSE. */
export function locationOf(location: string, from: URL): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const refuse = (fact: string) => registryError("REGISTRY_BAD_RESPONSE", from.host, fact);
  if (to === undefined || !/^https?:$/.test(to.protocol)) throw refuse("its Location is no web address");
  if (from.protocol === "https:" && to.protocol === "http:")
    throw refuse(`its Location is plain HTTP at ${printable(to.host)}`);
  if (to.username !== "" || to.password !== "") throw refuse("its Location has a password");
  return to;
}
