/**
 * Requests to one registry as whoever we are to it: a challenge is answered once, and the answer kept for the next.
 */
import { type AuthOptions, Authorizer } from "./auth.js";
import { type Answer, type ExchangeRequest, exchange } from "./exchange.js";

export type RegistryRequest = Omit<ExchangeRequest, "timings" | "signal">;

export class Requests {
  readonly #options: AuthOptions;
  readonly #authorizer: Authorizer;

  constructor(options: AuthOptions) {
    this.#options = options;
    this.#authorizer = new Authorizer(options);
  }

  /** One 401 is answered; a second, or one from another origin (where `target` is or a redirect led), is final. Codes of `exchange`, AUTH_*. */
  async ask(target: URL, request: RegistryRequest, signal: AbortSignal): Promise<Answer> {
    const { url, userAgent, timings } = this.#options;
    const isOurs = target.origin === url.origin;
    const ask = (authorization: string | undefined) => {
      const headers = { ...request.headers, "user-agent": userAgent };
      const known = isOurs && authorization !== undefined ? { ...headers, authorization } : headers;
      return exchange(target, { ...request, headers: known, timings, signal });
    };
    const used = this.#authorizer.header;
    const first = await ask(used);
    if (first.status !== 401 || !isOurs || first.url.origin !== url.origin) return first;
    first.discard();
    await this.#authorizer.answer(first, used, signal);
    return ask(this.#authorizer.header);
  }

  /** What it means that the registry answers 401 or 403 even so. */
  refused(status: number): Error {
    return this.#authorizer.refused(status);
  }
}
