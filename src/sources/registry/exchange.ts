/**
 * One request over HTTP and its answer: timeouts, redirects, and bytes exactly as they were stored.
 *
 * Redirects are followed here so that Authorization never reaches another origin and TLS is never given up. Knows nothing of
 * images, of authentication or of trying again.
 */
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
  readonly headers: Headers;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  /** To be read once; a chunk must come within the stall timeout (REGISTRY_TIMEOUT). Leaving the loop ends the connection. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends the connection without reading the body. */
  discard(): void;
}

/** Whoever gets the answer reads its body or discards it. REGISTRY_UNREACHABLE, REGISTRY_TIMEOUT, REGISTRY_BAD_RESPONSE, TLS_UNTRUSTED, CANCELLED. */
export async function exchange(start: URL, request: ExchangeRequest): Promise<Answer> {
  let url = start;
  for (let hops = 0; ; hops += 1) {
    const answer = await once(url, start.origin === url.origin, request);
    if (!REDIRECTS.has(answer.status)) return checkedEncoding(answer);
    answer.discard();
    const location = answer.headers.get("location");
    if (hops === MAX_REDIRECTS) throw registryError("REGISTRY_BAD_RESPONSE", start.host, "it redirects too often");
    if (location === null || !mayFollow(answer.status, request)) {
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
export function announcedLength({ headers }: Answer): number | undefined {
  const text = headers.get("content-length") ?? "";
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** At most `limit` bytes; undefined where there are more. */
export async function readBody(answer: Answer, limit: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of answer.body) {
    length += chunk.byteLength;
    if (length > limit) return undefined;
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
    const response = await fetch(url, {
      headers: request.content === undefined ? headers : { ...headers, "content-length": `${request.content.bytes}` },
      redirect: "manual",
      signal: deadline.signal,
      ...sending(request, deadline),
    });
    deadline.stop();
    const body = read(response, deadline, timings.stallTimeoutMs);
    return { status: response.status, headers: response.headers, url, body, discard: () => deadline.abandon() };
  } catch (error) {
    deadline.abandon();
    throw deadline.reason ?? redirectOfContent(error, url) ?? networkError(error, url.host);
  } finally {
    deadline.sent();
  }
}

function sending({ method, form, content, timings }: ExchangeRequest, deadline: Deadline): RequestInit {
  if (form !== undefined) return { method: "POST", body: form };
  if (content === undefined) return method === undefined ? {} : { method };
  const body = taken(content, deadline, timings);
  // Without a window and without redirects fetch keeps no copy of all that it has sent; without credentials of its own it takes a
  // 401 to a stream for an answer (Fetch Standard, HTTP-network-or-cache fetch).
  return { method: method ?? "POST", body, duplex: "half", window: null, redirect: "error", credentials: "omit" };
}

/** fetch says only in words that it was a redirect that it did not follow. */
function redirectOfContent(error: unknown, { host }: URL): Error | undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!(cause instanceof Error && cause.message === "unexpected redirect")) return undefined;
  return registryError("REGISTRY_BAD_RESPONSE", host, "it redirects what is sent to it");
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

async function* read(response: Response, deadline: Deadline, stallTimeoutMs: number): AsyncGenerator<Uint8Array> {
  try {
    if (response.body === null) return;
    deadline.restart(stallTimeoutMs, "no byte");
    for await (const chunk of response.body) {
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

/** One abort signal out of the caller's and a timer; remembers why it fired, because fetch does not tell. */
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

/** fetch decodes in silence, and the digest is of the bytes as stored. */
function checkedEncoding(answer: Answer): Answer {
  const encoding = answer.headers.get("content-encoding");
  if (encoding === null || encoding.toLowerCase() === "identity") return answer;
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
