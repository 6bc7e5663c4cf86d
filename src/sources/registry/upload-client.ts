/**
 * The push half of distribution-spec v1.1 for one repository: is a blob there, mount it, send it; put a manifest.
 *
 * Each method is one try, and says by a TransientError that another may help; how often is the caller's. Statuses become
 * codes here.
 */
import { StrataError } from "../../errors.js";
import { PUSH_CHUNK_BYTES } from "../../limits.js";
import type { Digest } from "../../oci/digest.js";
import type { Descriptor } from "../../oci/documents.js";
import { parseJson } from "../../oci/json.js";
import { printable } from "../../printable.js";
import type { AuthOptions } from "./auth.js";
import { contentOf, type PushedBlob, withContent } from "./blob-content.js";
import { type Answer, announcedLength, locationOf, readBody } from "./exchange.js";
import { registryError, TransientError, transientStatus } from "./failures.js";
import { Requests } from "./requests.js";

/** Where the registry waits for the bytes of one blob. */
export interface UploadSession {
  readonly location: URL;
  /** What it wants in one PATCH at least; undefined: all in one PUT. */
  readonly minChunkBytes: number | undefined;
}

export interface UploadClientOptions extends Omit<AuthOptions, "scopes"> {
  /** Absent: PUSH_CHUNK_BYTES. */
  readonly chunkBytes?: number | undefined;
}

const pull = (repository: string): string => `repository:${repository}:pull`;

export class UploadClient {
  readonly #options: UploadClientOptions;
  readonly #requests: Requests;
  /** By the repository that is mounted from: a token service may refuse to let that be read, and still let us push. */
  readonly #mounting = new Map<string, Requests>();

  constructor(options: UploadClientOptions) {
    this.#options = options;
    this.#requests = new Requests({ ...options, scopes: [this.#pushScope] });
  }

  /** REGISTRY_*, AUTH_*. */
  hasBlob(blob: PushedBlob, signal: AbortSignal): Promise<boolean> {
    return this.#has(blob, { repository: this.#options.repository, requests: this.#requests }, signal);
  }

  /**
   * Makes a blob of another repository of the registry one of this one. A session where the registry would rather have the
   * bytes; undefined where the other has no such blob. REGISTRY_*, AUTH_*, DIGEST_MISMATCH.
   */
  async mount(blob: PushedBlob, from: string, signal: AbortSignal): Promise<"mounted" | UploadSession | undefined> {
    const requests = this.#mounting.get(from) ?? new Requests(this.#mountingOptions(from));
    this.#mounting.set(from, requests);
    if (!(await this.#has(blob, { repository: from, requests }, signal))) return undefined;
    const { digest } = blob;
    const target = this.#url(`blobs/uploads/?mount=${digest}&from=${encodeURIComponent(from)}`);
    const answer = await requests.ask(target, { method: "POST", headers: {} }, signal);
    if (answer.status === 202) return this.#session(answer);
    if (answer.status === 201) {
      await this.#taken(answer, digest);
      return "mounted";
    }
    throw await this.#refusal(answer, `mount blob ${digest}`);
  }

  /** REGISTRY_*, AUTH_*, PUSH_REFUSED. */
  async begin({ digest }: PushedBlob, signal: AbortSignal): Promise<UploadSession> {
    const answer = await this.#requests.ask(this.#url("blobs/uploads/"), { method: "POST", headers: {} }, signal);
    if (answer.status === 202) return this.#session(answer);
    throw await this.#refusal(answer, `push blob ${digest}`);
  }

  /**
   * The whole blob; `told` hears how far it has come. A session serves one try. REGISTRY_*, AUTH_*, PUSH_REFUSED,
   * DIGEST_MISMATCH, SIZE_MISMATCH, STORE_*.
   */
  upload(session: UploadSession, blob: PushedBlob, told: (sent: number) => void, signal: AbortSignal): Promise<void> {
    const { digest, size } = blob;
    const { chunkBytes = PUSH_CHUNK_BYTES } = this.#options;
    const { minChunkBytes } = session;
    const step = minChunkBytes === undefined ? size : Math.max(minChunkBytes, chunkBytes);
    return withContent(blob, told, async (partOf) => {
      let [location, at] = [session.location, 0];
      const headers = (bytes: number): Record<string, string> => ({
        "content-type": "application/octet-stream",
        ...(size <= step ? {} : { "content-range": `${at}-${at + bytes - 1}` }),
      });
      for (; size - at > step; at += step) {
        const request = { method: "PATCH", headers: headers(step), content: partOf(at, step) } as const;
        const answer = await this.#requests.ask(location, request, signal);
        if (answer.status !== 202) throw await this.#refusal(answer, `push blob ${digest}`, IN_SESSION);
        this.#checkRange(answer, at + step, digest);
        ({ location } = await this.#session(answer));
      }
      const rest = { method: "PUT", headers: headers(size - at), content: partOf(at, size - at) } as const;
      const answer = await this.#requests.ask(withDigest(location, digest), rest, signal);
      if (answer.status !== 201) throw await this.#refusal(answer, `push blob ${digest}`, IN_SESSION);
      await this.#taken(answer, digest);
    });
  }

  /** `name` is a tag or the digest. REGISTRY_*, AUTH_*, PUSH_REFUSED, DIGEST_MISMATCH. */
  async putManifest(manifest: Descriptor, bytes: Uint8Array, name: string, signal: AbortSignal): Promise<void> {
    const request = {
      method: "PUT",
      headers: { "content-type": manifest.mediaType },
      content: contentOf(bytes),
    } as const;
    const answer = await this.#requests.ask(this.#url(`manifests/${name}`), request, signal);
    if (answer.status !== 201) throw await this.#refusal(answer, `push manifest ${name}`);
    await this.#taken(answer, manifest.digest);
  }

  async #has(
    { digest, size }: PushedBlob,
    { repository, requests }: { readonly repository: string; readonly requests: Requests },
    signal: AbortSignal,
  ): Promise<boolean> {
    const target = new URL(`${repository}/blobs/${digest}`, this.#options.url);
    const answer = await requests.ask(target, { method: "HEAD", headers: {} }, signal);
    if (answer.status !== 200 && answer.status !== 404) throw await this.#refusal(answer, `ask for blob ${digest}`);
    const length = announcedLength(answer);
    await drained(answer);
    if (answer.status === 404) return false;
    if (length === undefined || length === size) return true;
    throw registryError(
      "REGISTRY_BAD_RESPONSE",
      answer.url.host,
      `its blob ${digest} has ${length} bytes, not ${size}`,
    );
  }

  async #session(answer: Answer): Promise<UploadSession> {
    await drained(answer);
    const { url } = answer;
    const location = answer.header("location");
    if (location === undefined)
      throw registryError("REGISTRY_BAD_RESPONSE", url.host, "it does not say where to upload to");
    const min = answer.header("oci-chunk-min-length") ?? "";
    return { location: locationOf(location, url), minChunkBytes: /^\d{1,15}$/.test(min) ? Number(min) : undefined };
  }

  /** A Range is inclusive (distribution-spec v1.1, Pushing a blob in chunks). */
  #checkRange(answer: Answer, bytes: number, digest: Digest): void {
    const end = /^(?:bytes=)?0-(\d{1,15})$/.exec(answer.header("range") ?? "")?.[1];
    if (end === undefined || Number(end) + 1 === bytes) return;
    throw this.#transient(`push blob ${digest}`, `it has ${Number(end) + 1} bytes of ${bytes}`, answer.url);
  }

  /** What the registry calls what it took, if it says so. DIGEST_MISMATCH. */
  async #taken(answer: Answer, expected: Digest): Promise<void> {
    await drained(answer);
    const actual = answer.header("docker-content-digest") ?? expected;
    if (actual === expected) return;
    const fact = `the registry calls it '${printable(actual)}'`;
    throw new StrataError("DIGEST_MISMATCH", `Cannot push ${expected} to ${this.#place}: ${fact}`, {
      details: { expected, actual: printable(actual) },
    });
  }

  async #refusal(answer: Answer, action: string, mayPass: readonly number[] = []): Promise<Error> {
    const { status, url } = answer;
    const told = await errorCode(answer);
    const transient = transientStatus(status, url.host, answer.header("retry-after"));
    if (transient !== undefined) return transient;
    if (status === 401 || status === 403) return this.#requests.refused(status);
    const fact = `it answered ${status}${told === undefined ? "" : ` (${told})`}`;
    if (mayPass.includes(status)) return this.#transient(action, fact, url);
    return new StrataError("PUSH_REFUSED", `Cannot ${action} to ${this.#place}: ${fact}`, {
      details: { registry: printable(url.host), status, ...(told === undefined ? {} : { told }) },
    });
  }

  #transient(action: string, fact: string, { host }: URL): TransientError {
    return new TransientError("PUSH_REFUSED", `Cannot ${action} to ${this.#place}: ${fact}`, {
      details: { registry: printable(host) },
    });
  }

  #url(path: string): URL {
    return new URL(`${this.#options.repository}/${path}`, this.#options.url);
  }

  get #place(): string {
    return printable(`${this.#options.registry}/${this.#options.repository}`);
  }

  get #pushScope(): string {
    return `${pull(this.#options.repository)},push`;
  }

  #mountingOptions(from: string): AuthOptions {
    return { ...this.#options, scopes: [this.#pushScope, pull(from)] };
  }
}

/** A session that a restarted registry, or another one behind the same name, does not know, and a chunk out of order. */
const IN_SESSION = [404, 416];

/** Appended as text: what stands before it may be signed. */
function withDigest(location: URL, digest: Digest): URL {
  const { href, search, hash } = location;
  const bare = hash === "" ? href : href.slice(0, -hash.length);
  return new URL(`${bare}${search === "" ? "?" : "&"}digest=${encodeURIComponent(digest)}`);
}

/** Answers to a push have no body worth reading, errors a short one. */
const MAX_BODY_BYTES = 64 * 1024;

/** Read and not cut off, so that the connection serves the next request too. */
async function drained(answer: Answer): Promise<Buffer | undefined> {
  return readBody(answer, MAX_BODY_BYTES).catch(() => undefined);
}

/** `{"errors": [{"code": "…"}]}` (distribution-spec v1.1, Error Codes), if there is one. */
async function errorCode(answer: Answer): Promise<string | undefined> {
  try {
    const { errors } = Object(parseJson((await drained(answer)) ?? Buffer.alloc(0), "the error"));
    const code: unknown = Array.isArray(errors) ? Object(errors[0]).code : undefined;
    return typeof code === "string" && /^[A-Z_]{1,64}$/.test(code) ? code : undefined;
  } catch {
    return undefined;
  }
}
