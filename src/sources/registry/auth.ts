/**
 * Who we are to one registry: answers its challenges with Basic or with a token, and remembers the token.
 *
 * Credentials go to the registry they are for and to the token service that it names, over TLS; a plain-HTTP service is
 * believed only by a plain-HTTP registry, and only on loopback or a configured host (AUTH_REALM).
 */
import { z } from "zod";
import { StrataError } from "../../errors.js";
import { parseJson } from "../../oci/json.js";
import { printable } from "../../printable.js";
import { type Challenge, parseChallenges } from "./challenge.js";
import type { Credential, CredentialSource } from "./credentials.js";
import { type Answer, exchange, readBody } from "./exchange.js";
import { registryError, transientStatus } from "./failures.js";
import { isPlainHost } from "./hosts.js";
import type { RegistryTimings } from "./timings.js";

export interface AuthOptions {
  readonly registry: string;
  readonly repository: string;
  /** What a token is asked for besides what the challenge names; absent: reading this repository, where the challenge names nothing. */
  readonly scopes?: readonly string[] | undefined;
  readonly url: URL;
  readonly credentials: CredentialSource;
  readonly insecureHosts: readonly string[];
  readonly userAgent: string;
  readonly timings: RegistryTimings;
}

/** One for each source and each push: it asks for the same scopes each time, so one token is all there is. */
export class Authorizer {
  readonly #options: AuthOptions;
  #header: string | undefined;
  #pending: Promise<void> | undefined;
  #hadCredential = false;

  constructor(options: AuthOptions) {
    this.#options = options;
  }

  /** The value of Authorization, once a challenge was answered. */
  get header(): string | undefined {
    return this.#header;
  }

  /**
   * After a 401 to a request that carried `used`: gets a new header, once for all requests that failed with the same one.
   * AUTH_REQUIRED, AUTH_DENIED, AUTH_REALM, and those of a request.
   */
  async answer(unauthorized: Answer, used: string | undefined, signal: AbortSignal): Promise<void> {
    if (this.#header !== used) return;
    const header = unauthorized.header("www-authenticate") ?? "";
    for (;;) {
      this.#pending ??= this.#renew(parseChallenges(header), signal).finally(() => {
        this.#pending = undefined;
      });
      try {
        return await this.#pending;
      } catch (error) {
        // It was another request's that we waited for, and that one was cancelled.
        if (signal.aborted || !(error instanceof StrataError && error.code === "CANCELLED")) throw error;
      }
    }
  }

  /** What it means that the registry refuses even so. */
  refused(status: number): Error {
    return this.#refusal(this.#hadCredential || status === 403, `it answered ${status}`);
  }

  async #renew(challenges: readonly Challenge[], signal: AbortSignal): Promise<void> {
    const { registry, repository } = this.#options;
    const credential = await this.#options.credentials.find(registry, repository);
    this.#hadCredential = credential !== undefined;
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    if (bearer !== undefined) {
      this.#header = `Bearer ${await this.#fetchToken(bearer, credential, signal)}`;
      return;
    }
    const basic = challenges.some(({ scheme }) => scheme === "basic");
    if (!basic) throw this.#refusal(false, "it answered 401 and offers neither Basic nor Bearer");
    if (credential?.kind !== "basic") throw this.#refusal(false, "it asks for a user and a password");
    const header = basicHeader(credential);
    if (header === this.#header) throw this.#refusal(true, "it answered 401 to the credentials");
    this.#header = header;
  }

  /** distribution-spec's token flow: GET, or OAuth2's POST where the credential is an identity token. */
  async #fetchToken(challenge: Challenge, credential: Credential | undefined, signal: AbortSignal): Promise<string> {
    const { userAgent, timings } = this.#options;
    const realm = this.#realm(challenge);
    const scopes = this.#scopes(challenge);
    const service = challenge.params.get("service");
    const query = new URLSearchParams(service === undefined ? {} : { service });
    const headers: Record<string, string> = { "user-agent": userAgent, accept: "application/json" };
    if (credential?.kind === "basic") headers.authorization = basicHeader(credential);
    let form: URLSearchParams | undefined;
    if (credential?.kind === "identity") {
      form = new URLSearchParams([...query, ["grant_type", "refresh_token"], ["client_id", "stratad"]]);
      form.set("scope", scopes.join(" "));
      form.set("refresh_token", credential.token);
    } else {
      for (const scope of scopes) query.append("scope", scope);
      for (const [name, value] of query) realm.searchParams.append(name, value);
    }
    return this.#tokenOf(await exchange(realm, { headers, form, timings, signal }));
  }

  #scopes({ params }: Challenge): readonly string[] {
    const { repository, scopes = [`repository:${repository}:pull`] } = this.#options;
    const named = params.get("scope");
    if (named === undefined) return scopes;
    return this.#options.scopes === undefined ? [named] : [...new Set([named, ...scopes])];
  }

  async #tokenOf(answer: Answer): Promise<string> {
    const { status, url } = answer;
    if (status !== 200) {
      answer.discard();
      const transient = transientStatus(status, url.host, answer.header("retry-after"));
      throw (
        transient ?? this.#refusal(this.#hadCredential, `its token service ${printable(url.host)} answered ${status}`)
      );
    }
    const body = await readBody(answer, MAX_TOKEN_BYTES);
    const parsed = body === undefined ? undefined : TokenAnswer.safeParse(jsonOf(body));
    const token = parsed?.data?.token || parsed?.data?.access_token;
    if (token) return token;
    throw registryError("REGISTRY_BAD_RESPONSE", url.host, "its token service gives no token");
  }

  #realm(challenge: Challenge): URL {
    const { url, insecureHosts } = this.#options;
    const text = challenge.params.get("realm") ?? "";
    const realm = URL.canParse(text) ? new URL(text) : undefined;
    const plain = realm?.protocol === "http:" && url.protocol === "http:" && isPlainHost(realm.host, insecureHosts);
    const bare = realm?.username === "" && realm.password === "";
    if (realm !== undefined && bare && (realm.protocol === "https:" || plain)) return realm;
    throw registryError("AUTH_REALM", url.host, `it names the token service '${printable(text)}'`);
  }

  #refusal(denied: boolean, fact: string): Error {
    return registryError(denied ? "AUTH_DENIED" : "AUTH_REQUIRED", this.#options.url.host, fact);
  }
}

/** Real ones have some kilobytes. */
const MAX_TOKEN_BYTES = 1024 * 1024;

/** Visible ASCII: it becomes a header. */
const tokenText = z.string().regex(/^[\x21-\x7e]*$/);
const TokenAnswer = z.looseObject({ token: tokenText.nullish(), access_token: tokenText.nullish() });

function basicHeader({ username, password }: Extract<Credential, { kind: "basic" }>): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

function jsonOf(body: Buffer): unknown {
  try {
    return parseJson(body, "the token");
  } catch {
    return undefined;
  }
}
